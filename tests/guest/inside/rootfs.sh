# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A tree with everything in it that the root of a distribution has, and what archives find hard: devices, hard
# links, setuid bits, capabilities, access lists, attributes, holes, owners and times of all kinds.

# rootfs_make DIR OWNERS: with OWNERS no, only what an ordinary user's files can be.
rootfs_make()
{
    local dir=$1
    mkdir -p "$dir"/{bin,dev,etc,tmp,var/log,srv/user,usr/share/doc}
    rootfs_fill_files "$dir"
    [ "$2" = no ] || rootfs_fill_owned "$dir"
    rootfs_fill_times "$dir"
}

rootfs_fill_files()
{
    local dir=$1 i
    for i in $(seq 200); do
        mkdir -p "$dir/usr/share/doc/package$i"
        head -c $((i * 61)) /dev/urandom >"$dir/usr/share/doc/package$i/copyright"
        ln -s "../package$i/copyright" "$dir/usr/share/doc/package$i/COPYING"
    done
    cp /bin/true "$dir/bin/true"
    for i in $(seq 20); do
        ln "$dir/bin/true" "$dir/bin/applet$i"
    done
    ln -s /nowhere/at/all "$dir/etc/dangling"
    ln -s "$(printf '%04000d' 7)" "$dir/etc/long-link"
    : >"$dir/etc/$(printf '%0255d' 7)"
    echo odd >"$dir/etc/"$'odd\nname "quoted" \\ ünïcode '
    mkfifo "$dir/tmp/fifo"
    truncate -s 20M "$dir/var/log/sparse"
    printf 'data' | dd of="$dir/var/log/sparse" bs=1 seek=7000000 conv=notrunc 2>/dev/null
    printf 'end' >>"$dir/var/log/sparse"
    truncate -s 1M "$dir/var/log/empty"
    chmod 600 "$dir/var/log/empty"
    chmod 1777 "$dir/tmp"
    setfattr -n user.comment -v "hello" "$dir/etc"
    setfattr -n user.binary -v 0x00ff00 "$dir/bin/true"
}

rootfs_fill_owned()
{
    local dir=$1
    mknod "$dir/dev/null" c 1 3
    mknod "$dir/dev/sda" b 8 0
    mknod -m 600 "$dir/dev/large" b 4000 1000000
    cp "$dir/bin/true" "$dir/bin/setuid"
    chmod 4755 "$dir/bin/setuid"
    cp "$dir/bin/true" "$dir/bin/setgid"
    chown 0:42 "$dir/bin/setgid"
    chmod 2755 "$dir/bin/setgid"
    cp "$dir/bin/true" "$dir/bin/ping"
    setcap cap_net_raw+ep "$dir/bin/ping"
    chown -R 1000:1000 "$dir/srv/user"
    echo mine >"$dir/srv/user/file"
    chown 100000:65534 "$dir/srv/user/file"
    chown -h 12:34 "$dir/etc/dangling"
    chmod 2775 "$dir/var/log"
    setfacl -m u:1234:rw,g:56:r,m::rw "$dir/srv/user/file"
    setfacl -d -m u:1234:rwx "$dir/srv/user"
}

rootfs_fill_times()
{
    local dir=$1
    touch -h -d '1970-01-01 00:00:01.000000001 UTC' "$dir/etc/dangling"
    touch -d '2001-02-03 04:05:06.789012345 UTC' "$dir/bin/true"
    touch -d '2037-12-31 23:59:59.999999999 UTC' "$dir/usr/share/doc"
}
