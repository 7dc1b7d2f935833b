# SPDX-License-Identifier: Apache-2.0
#
# Rows "daemon workload microseconds CPU" of several rounds to a table of medians: ours, rust, and how many
# times faster and cheaper ours is.

function ratio(a, b)
{
    return a && b ? sprintf("%.2fx", a / b) : "-"
}

!($2 in seen) {
    seen[$2] = 1
    rows[++n_rows] = $2
}

{
    add($1 "\t" $2, $3)
    add($1 "\t" $2 "\tcpu", $4)
}

END {
    printf "%-18s %10s %10s %8s %10s %10s %8s\n", "workload", "ours", "rust", "faster", "ours CPU", "rust CPU", "cheaper"
    for (r = 1; r <= n_rows; r++) {
        ours = median("ours\t" rows[r])
        rust = median("rust\t" rows[r])
        ours_cpu = median("ours\t" rows[r] "\tcpu")
        rust_cpu = median("rust\t" rows[r] "\tcpu")
        printf "%-18s %10.1f %10.1f %8s %10.1f %10.1f %8s\n", rows[r], ours / 1000, rust / 1000, ratio(rust, ours),
            ours_cpu / 1000, rust_cpu / 1000, ratio(rust_cpu, ours_cpu)
    }
}
