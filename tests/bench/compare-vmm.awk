# SPDX-License-Identifier: Apache-2.0
#
# The table of compare-vmm, from rows of rival, what, value; goes after median.awk.

{
    if (!($2 in seen)) {
        seen[$2] = 1
        whats[++n_whats] = $2
    }
    key = $1 SUBSEP $2
    if (!($1 in known)) {
        known[$1] = 1
        rivals[++n_rivals] = $1
    }
    if (!(key in least) || $3 < least[key])
        least[key] = $3
    add(key, $3)
}

END {
    printf "%-44s", ""
    for (i = 1; i <= n_rivals; i++)
        printf " %10s %10s%s", rivals[i], "(least)", (i > 1 ? "  ratio" : "")
    printf "\n"
    for (w = 1; w <= n_whats; w++) {
        printf "%-44s", whats[w]
        ours = median("ours" SUBSEP whats[w])
        for (i = 1; i <= n_rivals; i++) {
            key = rivals[i] SUBSEP whats[w]
            if (!count[key]) {
                printf " %10s %10s%s", "-", "-", (i > 1 ? "      -" : "")
                continue
            }
            printf " %10.1f %10.1f", median(key), least[key]
            if (i > 1)
                printf " %6.2f", (ours ? median(key) / ours : 0)
        }
        printf "\n"
    }
}
