# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# An overlayfs whose upper and work directories lie in a mounted share, used as containers use it: whiteouts,
# opaque directories, redirects of renamed directories, copies up, sockets and FIFOs. Whoever sources this sets the
# variables below and defines overlay_fail.

overlay_share= # where the share is mounted
overlay_upper= # its folder `upper`, as the one who checks the marks sees it
overlay_prefix= # of overlayfs's attributes, as seen there
overlay_options= # of the mount
redirects= # yes: a lower directory is moved by a redirect
kind= # for messages
lower= # the lower layer, made anew
merged= # where the overlay is mounted

expect()
{
    [ "$2" = "$3" ] || overlay_fail "$kind: $1: expected '$2', found '$3'"
}

fill_lower()
{
    mkdir -p "$lower"/{etc,usr/bin,var/cache/deep,moved/below} "$merged"
    echo one >"$lower/etc/one"
    echo two >"$lower/etc/two"
    echo tool >"$lower/usr/bin/tool"
    chmod 4755 "$lower/usr/bin/tool"
    ln "$lower/usr/bin/tool" "$lower/usr/bin/alias"
    echo cached >"$lower/var/cache/deep/file"
    echo below >"$lower/moved/below/file"
}

overlay_mount()
{
    mount -t overlay overlay "$merged" \
        -o "lowerdir=$lower,upperdir=$overlay_share/upper,workdir=$overlay_share/work,$overlay_options" ||
        overlay_fail "$kind: overlayfs does not mount: $(dmesg 2>/dev/null | grep overlayfs | tail -n 3)"
}

# What an image build does: changes, removals, replacements, moves.
change_merged()
{
    echo changed >>"$merged/etc/one"
    rm "$merged/etc/two"
    rm -r "$merged/var/cache"
    mkdir "$merged/var/cache"
    echo fresh >"$merged/var/cache/fresh"
    chown 12:34 "$merged/usr/bin/tool"
    mkfifo "$merged/fifo"
    python3 -c 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$merged/socket"
    mknod "$merged/null" c 1 3
    if [ "$redirects" = yes ]; then
        mv "$merged/moved" "$merged/elsewhere" || overlay_fail "$kind: rename of a lower directory"
    else
        # Without redirects a directory of the lower layer is copied by mv.
        cp -r "$merged/moved" "$merged/elsewhere" && rm -r "$merged/moved"
    fi
    mv "$merged/usr/bin/alias" "$merged/usr/alias"
    python3 - "$merged" <<'PROGRAM' || overlay_fail "$kind: O_TMPFILE"
import ctypes, errno, os, sys
try:
    fd = os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR, 0o600)
except OSError as error:
    sys.exit(error.errno != errno.EOPNOTSUPP)
os.write(fd, b"unnamed")
libc = ctypes.CDLL(None, use_errno=True)
sys.exit(libc.linkat(-100, b"/proc/self/fd/%d" % fd, -100, os.path.join(sys.argv[1], "linked").encode(), 0x400))
PROGRAM
}

check_merged()
{
    expect "a file copied up" "one changed" "$(tr '\n' ' ' <"$merged/etc/one" | sed 's/ $//')"
    expect "a removed file" "one" "$(ls "$merged/etc")"
    expect "a directory replaced" "fresh" "$(ls "$merged/var/cache")"
    expect "an owner" 12:34:755 "$(stat -c %u:%g:%a "$merged/usr/bin/tool")"
    expect "a FIFO" fifo "$(stat -c %F "$merged/fifo")"
    expect "a socket" socket "$(stat -c %F "$merged/socket")"
    expect "a device" 1:3 "$(stat -c %t:%T "$merged/null")"
    expect "a directory moved" below "$(cat "$merged/elsewhere/below/file")"
    [ ! -e "$merged/moved" ] || overlay_fail "$kind: the old name of the directory is still there"
    expect "a file moved" tool "$(cat "$merged/usr/alias")"
}

check_upper()
{
    local upper=$overlay_upper
    expect "a whiteout" "character special file:0:0" "$(stat -c %F:%t:%T "$upper/etc/two")"
    getfattr -h -m - -d "$upper/var/cache" 2>/dev/null | grep -q "$overlay_prefix"'opaque="y"' ||
        overlay_fail "$kind: no opaque mark: $(getfattr -h -m - -d "$upper/var/cache" 2>&1)"
    [ "$redirects" = no ] ||
        getfattr -h -m - -d "$upper/elsewhere" 2>/dev/null | grep -q "$overlay_prefix"redirect= ||
        overlay_fail "$kind: no redirect: $(getfattr -h -m - -d "$upper/elsewhere" 2>&1)"
}

# overlay_use: all of it, in a fresh share; leaves what change_merged makes in upper.
overlay_use()
{
    rm -rf "$lower"
    fill_lower
    overlay_mount
    change_merged
    check_merged
    umount "$merged" || overlay_fail "$kind: umount"
    overlay_mount
    check_merged
    rm -r "${merged:?}"/* || overlay_fail "$kind: removing everything"
    expect "all gone" "" "$(ls "$merged")"
    umount "$merged"
    overlay_mount
    expect "all still gone" "" "$(ls -A "$merged")"
    umount "$merged"
    rm -r "${overlay_share:?}/upper"
    mkdir "$overlay_share/upper"
    overlay_mount
    change_merged
    umount "$merged"
    check_upper
}
