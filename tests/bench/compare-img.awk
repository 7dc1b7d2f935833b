# SPDX-License-Identifier: Apache-2.0
#
# Rows "who case elapsed cpu" of several rounds to a table of medians and ratios.

!($2 in seen) { seen[$2] = 1; names[++n_names] = $2 }
{ add($1 SUBSEP $2, $3); add($1 SUBSEP $2 SUBSEP "cpu", $4) }

function ratio(a, b)
{
    return b > 0 ? sprintf("%.2f", a / b) : "-"
}

END {
    printf "%-20s %9s %9s %7s %9s %9s %7s\n", "case", "ours", "qemu-img", "ratio", "ours cpu", "theirs", "ratio"
    for (i = 1; i <= n_names; i++) {
        name = names[i]
        a = median("ours" SUBSEP name); b = median("peer" SUBSEP name)
        c = median("ours" SUBSEP name SUBSEP "cpu"); d = median("peer" SUBSEP name SUBSEP "cpu")
        printf "%-20s %9.3f %9.3f %7s %9.3f %9.3f %7s\n", name, a, b, ratio(a, b), c, d, ratio(c, d)
    }
}
