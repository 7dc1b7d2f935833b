# SPDX-License-Identifier: Apache-2.0
#
# Rows "who case elapsed cpu" of several rounds to a table of medians and ratios.

function median(who, name, field,   key, n, i, j, v, t)
{
    key = who SUBSEP name SUBSEP field
    n = count[key]
    for (i = 1; i <= n; i++)
        v[i] = values[key, i]
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && v[j - 1] > v[j]; j--) {
            t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
        }
    return n == 0 ? 0 : n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}

function note(field, value,   key)
{
    key = $1 SUBSEP $2 SUBSEP field
    values[key, ++count[key]] = value
}

!($2 in seen) { seen[$2] = 1; names[++n_names] = $2 }
{ note("elapsed", $3); note("cpu", $4) }

function ratio(a, b)
{
    return b > 0 ? sprintf("%.2f", a / b) : "-"
}

END {
    printf "%-20s %9s %9s %7s %9s %9s %7s\n", "case", "ours", "qemu-img", "ratio", "ours cpu", "theirs", "ratio"
    for (i = 1; i <= n_names; i++) {
        name = names[i]
        a = median("ours", name, "elapsed"); b = median("peer", name, "elapsed")
        c = median("ours", name, "cpu"); d = median("peer", name, "cpu")
        printf "%-20s %9.3f %9.3f %7s %9.3f %9.3f %7s\n", name, a, b, ratio(a, b), c, d, ratio(c, d)
    }
}
