# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Disks of a guest, by their serial numbers. Used together with checks.sh.

# Prints the device of the disk with that serial number.
disk_find()
{
    for disk_folder in /sys/block/vd*; do
        [ "$(cat "$disk_folder/serial")" != "$1" ] || echo "/dev/${disk_folder##*/}"
    done
}

# disk_read_back NAME: the file system is whole, and so are the files in it.
disk_read_back()
{
    disk_part=$(disk_find "$1")2
    disk_dir=/mnt/$1
    mkdir -p "$disk_dir"
    check "$1: the file system is whole" e2fsck -f -n "$disk_part"
    check "$1: mounting anew" mount "$disk_part" "$disk_dir"
    check "$1: everything reads back" disk_sums_match "$disk_dir"
    check "$1: unmounting again" umount "$disk_dir"
}

disk_sums_match()
{
    (cd "$1" && sha256sum --quiet -c sums)
}
