# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# All processors at once, each with pages of its own memory node, write and read a part of the disk called parts.
# Used together with checks.sh and disks.sh.

# part CPU MIB: writes the part, and reads it back past the page cache.
part()
{
    part_disk=$(disk_find parts)
    taskset -c "$1" dd if=/dev/urandom of="/tmp/part$1" bs=1M count="$2" 2>/dev/null &&
        taskset -c "$1" dd if="/tmp/part$1" of="$part_disk" bs=64k seek=$(($1 * $2 * 16)) oflag=direct conv=notrunc \
            2>/dev/null &&
        taskset -c "$1" dd if="$part_disk" bs=64k skip=$(($1 * $2 * 16)) count=$(($2 * 16)) iflag=direct \
            2>/dev/null | cmp - "/tmp/part$1"
}

parts_all()
{
    pids=
    for cpu in 0 1 2 3; do
        part "$cpu" "$1" &
        pids="$pids $!"
    done
    for pid in $pids; do
        wait "$pid" || return 1
    done
}

# parts_check MIB: prints the sums of what was written.
parts_check()
{
    parts_device=$(disk_find parts)
    check_equal "two memory nodes" '0-1' "$(cat /sys/devices/system/node/has_memory)"
    check_equal "a queue for each processor" 4 \
        "$(find "/sys/block/${parts_device#/dev/}/mq" -mindepth 1 -maxdepth 1 | wc -l)"
    check "all processors write and read" parts_all "$1"
    for i in 0 1 2 3; do
        echo "part$i $(md5sum <"/tmp/part$i")"
        rm "/tmp/part$i"
    done
}
