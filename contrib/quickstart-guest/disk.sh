# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# The disk of a quickstart guest, /dev/vda: made ready and mounted on /mnt/disk. A disk that the user brought
# is only read; nothing here writes to it.

disk=/dev/vda
disk_dir=/mnt/disk
disk_busybox=/run/guest/busybox

# One partition over the whole disk; sets disk to it, where the kernel shows it.
disk_partition()
{
    printf 'n\np\n1\n\n\nw\n' | "$disk_busybox" fdisk "$disk" >/dev/null 2>&1
    [ -b "${disk}1" ] && disk=${disk}1
}

# An initrd has busybox's mke2fs alone, whose ext2 the ext4 driver takes as well.
disk_format()
{
    if command -v mkfs.ext4 >/dev/null; then
        mkfs.ext4 -q -F "$disk"
    else
        "$disk_busybox" mke2fs "$disk" >/dev/null
    fi
}

# disk_open fresh|named: mounts the disk, a fresh one after it was partitioned and formatted, unless the host has
# done that. Of a named one the first file system that can be read is mounted, if there is any.
disk_open()
{
    mkdir -p "$disk_dir"
    if [ "$1" = fresh ]; then
        mount -t ext4 "$disk" "$disk_dir" 2>/dev/null && return
        disk_partition
        disk_format && mount -t ext4 "$disk" "$disk_dir"
        return
    fi
    for disk_part in "$disk"*; do
        mount -o ro "$disk_part" "$disk_dir" 2>/dev/null && return 0
        mount -t ext4 -o ro,noload "$disk_part" "$disk_dir" 2>/dev/null && return 0
    done
    echo "guest: no file system on $disk that this kernel can mount"
}

disk_close()
{
    ! grep -q " $disk_dir " /proc/mounts || umount "$disk_dir"
}
