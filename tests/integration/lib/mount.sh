# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A share mounted on the host by vhost-user-mount ($VHOST_USER_MOUNT), for the tests that run host programs
# through a daemon. $VIRTIOFSD_KIND says whose daemon: ours (the default, $VIRTIOFSD), rust or c.

. "$(dirname "${BASH_SOURCE[0]}")/../../guest/lib/daemon.sh"

mount_kind=${VIRTIOFSD_KIND:-ours}
mount_share=$test_work/share
mount_dir=$test_work/mnt
mount_pid=
mount_log=$test_work/mount.log
mount_as=() # a command that runs another as somebody else

# What a peer's daemon calls our options, as a program that takes ours.
mount_wrap_peer()
{
    local peer=$1
    cat >"$test_work/peer"
    chmod +x "$test_work/peer"
    VIRTIOFSD=$test_work/peer PEER=$peer
    export PEER
}

mount_use_rust()
{
    local peer
    peer=$("$(dirname "${BASH_SOURCE[0]}")/../../guest/setup-peers" 2>"$test_work/why") ||
        test_skip "no Rust virtiofsd: $(tr '\n' ' ' <"$test_work/why")"
    mount_wrap_peer "$peer" <<'PEER'
#!/bin/sh
exec "$PEER" --sandbox=none --seccomp=none --announce-submounts "$@"
PEER
}

mount_use_c()
{
    [ -x /usr/lib/qemu/virtiofsd ] || test_skip "no virtiofsd of QEMU here (qemu-system-common)"
    mount_wrap_peer /usr/lib/qemu/virtiofsd <<'PEER'
#!/bin/bash
args=()
for arg; do
    case $arg in
    --shared-dir=*) args+=(-o "source=${arg#*=}" -o sandbox=chroot) ;;
    *) args+=("$arg") ;;
    esac
done
exec "$PEER" "${args[@]}"
PEER
}

# Programs the test cannot do without.
mount_require()
{
    local program
    [ -n "${VHOST_USER_MOUNT:-}" ] || test_fail "VHOST_USER_MOUNT does not name vhost-user-mount"
    [ -w /dev/fuse ] || test_skip "/dev/fuse cannot be opened"
    command -v fusermount3 >/dev/null || test_skip "fusermount3 is missing (fuse3)"
    [ "$(id -u)" -eq 0 ] || test_skip "needs root, for files of several owners"
    for program; do
        command -v "$program" >/dev/null || test_skip "$program is missing (contrib/install-deps test)"
    done
    case $mount_kind in
    ours) ;;
    rust) mount_use_rust ;;
    c) mount_use_c ;;
    *) test_fail "VIRTIOFSD_KIND is $mount_kind: expected ours, rust or c" ;;
    esac
}

# Looked up, since an ordinary user's mount does not let root in.
mount_is_up()
{
    grep -q -F " $mount_dir fuse." /proc/self/mounts
}

# mount_attach [OPTION]...: mounts what the daemon serves on $mount_dir.
mount_attach()
{
    local polls=0
    mkdir -p "$mount_dir"
    ${mount_as[@]+"${mount_as[@]}"} "$VHOST_USER_MOUNT" "$daemon_socket" "$mount_dir" "$@" \
        >"$mount_log" 2>&1 &
    mount_pid=$!
    until mount_is_up; do
        kill -0 "$mount_pid" 2>/dev/null || mount_fail "vhost-user-mount ended at start"
        polls=$((polls + 1))
        [ $polls -lt 100 ] || mount_fail "nothing is mounted after 10 s"
        sleep 0.1
    done
}

# mount_start [OPTION]...: a daemon on an empty share, and its mount.
mount_start()
{
    mkdir -p "$mount_share"
    daemon_start "$mount_share"
    mount_attach "$@"
}

# mount_wait_end STATUS: vhost-user-mount has ended by itself with STATUS, and nothing is mounted.
mount_wait_end()
{
    local polls=0 status
    while kill -0 "$mount_pid" 2>/dev/null; do
        polls=$((polls + 1))
        [ $polls -lt 150 ] || mount_fail "vhost-user-mount does not end"
        sleep 0.1
    done
    wait "$mount_pid"
    status=$?
    mount_pid=
    [ $status -eq "$1" ] || mount_fail "vhost-user-mount ended with status $status, expected $1"
    ! mount_is_up || mount_fail "still mounted after the end"
}

# mount_stop: unmounted in order; then the daemon ends in order too. The signal is for a machine where some other
# process has taken a copy of all mounts into a namespace of its own, which keeps the file system alive.
mount_stop()
{
    umount "$mount_dir" || mount_fail "umount"
    sleep 0.2
    kill "$mount_pid" 2>/dev/null
    mount_wait_end 0
    if [ "$mount_kind" = ours ]; then
        daemon_stop
    fi
}

mount_fail()
{
    if [ -s "$mount_log" ]; then
        echo "vhost-user-mount said:"
        tail -n 20 "$mount_log"
    fi
    test_fail "$@"
}

# Nothing stays mounted, whatever happened.
mount_clean_up()
{
    if [ -n "$mount_pid" ]; then
        kill -KILL "$mount_pid" 2>/dev/null
        wait "$mount_pid" 2>/dev/null
    fi
    ! mount_is_up || umount -l "$mount_dir"
    test_clean_up
}
trap mount_clean_up EXIT
