# SPDX-License-Identifier: Apache-2.0
#
# Rows "daemon-engine workload depth ops/s MiB/s p50 p99 cpu rss" of several rounds to a table of medians, with the
# ratio of our best operations per second to the peer's best, and of the CPU time of these two.

function median(key,   n, i, j, v, t)
{
    n = count[key]
    for (i = 1; i <= n; i++)
        v[i] = values[key, i]
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && v[j - 1] > v[j]; j--) {
            t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
        }
    return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}

function add(key, value)
{
    values[key, ++count[key]] = value
}

# The name among ours, or the peer's, with the most operations per second.
function best(who, row,   i, found, ops, most)
{
    for (i = 1; i <= n_names; i++) {
        if (index(names[i], who) != 1 || !count[names[i], row, "ops"])
            continue
        ops = median(names[i] SUBSEP row SUBSEP "ops")
        if (ops > most) {
            most = ops
            found = names[i]
        }
    }
    return found
}

{
    row = $2 "\t" $3
    if (!(row in seen)) {
        seen[row] = 1
        rows[++n_rows] = row
    }
    if (!($1 in known)) {
        known[$1] = 1
        names[++n_names] = $1
    }
    add($1 SUBSEP row SUBSEP "ops", $4)
    add($1 SUBSEP row SUBSEP "p50", $6)
    add($1 SUBSEP row SUBSEP "p99", $7)
    add($1 SUBSEP row SUBSEP "cpu", $8)
    add($1 SUBSEP row SUBSEP "rss", $9)
}

END {
    printf "%-14s %5s %-12s %9s %9s %9s %8s %9s\n", "workload", "depth", "daemon", "ops/s", "p50 us", "p99 us", \
        "CPU us", "KiB"
    for (r = 1; r <= n_rows; r++) {
        split(rows[r], part, "\t")
        for (i = 1; i <= n_names; i++) {
            key = names[i] SUBSEP rows[r] SUBSEP
            if (count[key "ops"])
                printf "%-14s %5s %-12s %9.0f %9.1f %9.1f %8.2f %9.0f\n", part[1], part[2], names[i], \
                    median(key "ops"), median(key "p50"), median(key "p99"), median(key "cpu"), median(key "rss")
        }
        a = best("ours", rows[r])
        b = best("qsd", rows[r])
        if (a && b)
            printf "%-14s %5s %-12s %9.2f %28s %8.2f\n", part[1], part[2], "ratio", \
                median(a SUBSEP rows[r] SUBSEP "ops") / median(b SUBSEP rows[r] SUBSEP "ops"), "", \
                median(a SUBSEP rows[r] SUBSEP "cpu") / median(b SUBSEP rows[r] SUBSEP "cpu")
    }
}
