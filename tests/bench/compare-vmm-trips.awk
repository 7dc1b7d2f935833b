# SPDX-License-Identifier: Apache-2.0
#
# From what line-times prints of payload-bench: microseconds of each thing that it measures.

BEGIN {
    names["pio"] = "exit by a port, from ring 0, us"
    names["mmio"] = "exit by a register, from ring 3, us"
    names["kick"] = "notification, us"
    names["polled"] = "trip to the back-end, polled, us"
    names["irq"] = "trip to the back-end, interrupt, us"
}

$2 in names { name = names[$2] }
$2 == "+" { begin = $1 }
$2 ~ /^- / && substr($2, 3) > 0 { print rival, name, ($1 - begin) / substr($2, 3) }
