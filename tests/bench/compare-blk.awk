# SPDX-License-Identifier: Apache-2.0
#
# Rows "who how format workload depth ops/s p50 p99 cpu rss calls" of several rounds to a table of medians; then, for
# each workload and depth, the ratios that matter.

BEGIN {
    FS = "\t"
    split("ops p50 p99 cpu rss calls", fields, " ")
}

function value(who, how, format, row, field)
{
    return median(who SUBSEP how SUBSEP format SUBSEP row SUBSEP field)
}

# The setting of who's that does most operations a second; "": not measured.
function best(who, format, row,   i, found, ops, most)
{
    for (i = 1; i <= n_hows; i++) {
        if (!count[who, hows[i], format, row, "ops"])
            continue
        ops = value(who, hows[i], format, row, "ops")
        if (ops > most) {
            most = ops
            found = hows[i]
        }
    }
    return found
}

function print_number(n, format)
{
    if (n < 0)
        printf "%10s", "-"
    else
        printf format, n
}

function print_row(who, how, format, row)
{
    printf "%-5s %-7s %-6s", who, how, format
    print_number(value(who, how, format, row, "ops"), "%10.0f")
    print_number(value(who, how, format, row, "p50"), "%10.1f")
    print_number(value(who, how, format, row, "p99"), "%10.1f")
    print_number(value(who, how, format, row, "cpu"), "%10.2f")
    print_number(value(who, how, format, row, "calls"), "%10.2f")
    print_number(value(who, how, format, row, "rss"), "%10.0f")
    printf "\n"
}

# Of ours to theirs: more operations are better, less of everything else. Nothing where one is not known.
function print_part(name, field, who, how, format, other, other_how, other_format, row,   n, m)
{
    n = value(who, how, format, row, field)
    m = value(other, other_how, other_format, row, field)
    if (n >= 0 && m > 0)
        printf "   %s %5.2f", name, n / m
}

function print_ratio(text, who, how, format, other, other_how, other_format, row)
{
    printf "  %-52s", text
    print_part("ops/s", "ops", who, how, format, other, other_how, other_format, row)
    print_part("p50", "p50", who, how, format, other, other_how, other_format, row)
    print_part("CPU", "cpu", who, how, format, other, other_how, other_format, row)
    print_part("calls", "calls", who, how, format, other, other_how, other_format, row)
    printf "\n"
}

# At depth 1: to what the file does where somebody else has to be woken for each request, and wakes in turn.
function print_woken(how, row,   file, wake, part)
{
    split(row, part, "\t")
    wake = value("wake", "-", "raw", "wake" "\t" 1, "ops")
    if (part[2] != 1 || wake <= 0)
        return
    file = value("file", how, "raw", row, "ops")
    printf "  %-52s   ops/s %5.2f\n", "ours to the file and two wake-ups, " how, value("ours", how, "raw", row, "ops") * (1 / file + 1 / wake)
}

function print_ratios(row,   i, f, a, b, format)
{
    for (f = 1; f <= n_formats; f++) {
        format = formats[f]
        a = best("ours", format, row)
        b = best("qsd", format, row)
        if (a && b)
            print_ratio("ours (" a ") to qemu-storage-daemon (" b "), " format, "ours", a, format, "qsd", b, format, row)
    }
    for (i = 1; i <= n_hows; i++)
        if (count["ours", hows[i], "raw", row, "ops"] && count["file", hows[i], "raw", row, "ops"]) {
            print_ratio("ours to the file, " hows[i], "ours", hows[i], "raw", "file", hows[i], "raw", row)
            print_woken(hows[i], row)
        }
    for (i = 1; i <= n_hows; i++)
        if (count["ours", hows[i], "raw", row, "ops"] && count["ours", hows[i], "qcow2", row, "ops"])
            print_ratio("qcow2 to raw, " hows[i], "ours", hows[i], "qcow2", "ours", hows[i], "raw", row)
}

function learn(list, n, item,   i)
{
    for (i = 1; i <= n; i++)
        if (list[i] == item)
            return n
    list[n + 1] = item
    return n + 1
}

{
    row = $4 "\t" $5
    n_rows = learn(rows, n_rows + 0, row)
    n_whos = learn(whos, n_whos + 0, $1)
    n_hows = learn(hows, n_hows + 0, $2)
    n_formats = learn(formats, n_formats + 0, $3)
    for (i = 1; i <= 6; i++)
        add($1 SUBSEP $2 SUBSEP $3 SUBSEP row SUBSEP fields[i], $(5 + i))
}

END {
    for (r = 1; r <= n_rows; r++) {
        split(rows[r], part, "\t")
        printf "\n%s, depth %s\n%-20s%10s%10s%10s%10s%10s%10s\n", part[1], part[2], "", "ops/s", "p50 us", "p99 us", "CPU us", \
            "calls", "KiB"
        for (f = 1; f <= n_formats; f++)
            for (w = 1; w <= n_whos; w++)
                for (h = 1; h <= n_hows; h++)
                    if (count[whos[w], hows[h], formats[f], rows[r], "ops"])
                        print_row(whos[w], hows[h], formats[f], rows[r])
        print_ratios(rows[r])
    }
}
