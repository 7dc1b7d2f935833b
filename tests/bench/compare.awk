# SPDX-License-Identifier: Apache-2.0
#
# Rows "daemon workload depth ops/s MiB/s p50 p99 cpu rss calls" of several rounds to one table of medians with ratios to
# the best peer. Columns of each daemon: operations per second, CPU microseconds and
# system calls per operation.

{
    row = $2 "\t" $3
    if (!(row in seen)) {
        seen[row] = 1
        rows[++n_rows] = row
    }
    if (!($1 in known)) {
        known[$1] = 1
        daemons[++n_daemons] = $1
    }
    add($1 "\t" row "\tops", $4)
    add($1 "\t" row "\tcpu", $8)
    add($1 "\t" row "\tcalls", $10)
    if ($9 > rss[$1])
        rss[$1] = $9
}

END {
    printf "%-16s %5s", "workload", "depth"
    for (d = 1; d <= n_daemons; d++)
        printf " %12s %8s %7s", daemons[d] " ops/s", "us CPU", "calls"
    printf " %8s %8s %8s\n", "ops", "CPU", "calls"
    for (r = 1; r <= n_rows; r++) {
        split(rows[r], field, "\t")
        printf "%-16s %5s", field[1], field[2]
        best = 0
        least = 0
        fewest = 0
        for (d = 1; d <= n_daemons; d++) {
            ops = median(daemons[d] "\t" rows[r] "\tops")
            cpu = median(daemons[d] "\t" rows[r] "\tcpu")
            calls = median(daemons[d] "\t" rows[r] "\tcalls")
            printf " %12.0f %8.2f %7.2f", ops, cpu, calls
            if (daemons[d] == "ours") {
                our_ops = ops
                our_cpu = cpu
                our_calls = calls
            } else {
                if (ops > best)
                    best = ops
                if (!least || cpu < least)
                    least = cpu
                if (!fewest || calls < fewest)
                    fewest = calls
            }
        }
        printf " %8s %8s %8s\n", best ? sprintf("%.2fx", our_ops / best) : "-", \
            (least > 0) ? sprintf("%.2fx", our_cpu / least) : "-", (fewest > 0) ? sprintf("%.2fx", our_calls / fewest) : "-"
    }
    for (d = 1; d <= n_daemons; d++)
        printf "resident size, %s: %d KiB\n", daemons[d], rss[daemons[d]]
}
