# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the tests on the host's side share: a folder of the test, skipping and failing with a reason, and
# the daemon under test, started and stopped. $VIRTIOFSD names it; $VIRTIOFSD_ARGS may add options.

test_work=$(mktemp -d "${TMPDIR:-/tmp}/outboard-test.XXXXXX") || exit 99
daemon_pid=
daemon_socket=$test_work/socket

# The reason is read by tests/run.
test_skip()
{
    echo "skip: $*"
    exit 77
}

test_fail()
{
    echo "FAILED: $*"
    if [ -s "$test_work/daemon.log" ]; then
        echo "The daemon said:"
        tail -n 30 "$test_work/daemon.log"
    fi
    exit 1
}

# Children of the test that it left running, started by test_background.
test_children=()

test_background()
{
    "$@" &
    test_children+=($!)
}

test_clean_up()
{
    local pid
    for pid in ${test_children[@]+"${test_children[@]}"}; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    if [ -n "$daemon_pid" ]; then
        kill -KILL "$daemon_pid" 2>/dev/null
        wait "$daemon_pid" 2>/dev/null
    fi
    rm -rf "$test_work"
}
trap test_clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# daemon_start DIR [OPTION]...: serves DIR on $daemon_socket.
daemon_start()
{
    local dir=$1
    shift
    [ -n "${VIRTIOFSD:-}" ] || test_fail "VIRTIOFSD does not name the virtiofsd to test"
    # shellcheck disable=SC2086 # a list of options
    daemon_launch "$VIRTIOFSD" --shared-dir="$dir" "$@" ${VIRTIOFSD_ARGS:-}
}

# daemon_start_disk IMAGE [OPTION]...: vblkd serves IMAGE there. $VBLKD names it.
daemon_start_disk()
{
    local image=$1
    shift
    [ -n "${VBLKD:-}" ] || test_fail "VBLKD does not name the vblkd to test"
    daemon_launch "$VBLKD" --blk-file="$image" "$@"
}

# socket_listens PATH: a moment after the file is there, connections are taken.
socket_listens()
{
    [ -S "$1" ] || return 1
    [ ! -r /proc/net/unix ] ||
        awk -v path="$1" '$4 == "00010000" && $8 == path {found = 1} END {exit !found}' /proc/net/unix
}

# daemon_launch PROGRAM [OPTION]...: until its socket is there.
daemon_launch()
{
    local polls=0
    "$1" --socket-path="$daemon_socket" "${@:2}" >>"$test_work/daemon.log" 2>&1 &
    daemon_pid=$!
    until socket_listens "$daemon_socket"; do
        daemon_alive || test_fail "the daemon ended at start"
        polls=$((polls + 1))
        [ $polls -lt 100 ] || test_fail "no socket after 10 s"
        sleep 0.1
    done
}

daemon_alive()
{
    kill -0 "$daemon_pid" 2>/dev/null
}

# daemon_signal SIGNAL: to the daemon as a whole. In a sandbox it is a child of the process that was started,
# which cannot pass every signal on.
daemon_signal()
{
    local pids
    mapfile -t pids < <(pgrep -P "$daemon_pid")
    kill -s "$1" "$daemon_pid" ${pids[@]+"${pids[@]}"}
}

# Prints how many descriptors the process has that serves.
daemon_count_descriptors()
{
    local pids
    mapfile -t pids < <(pgrep -P "$daemon_pid")
    find "/proc/${pids[0]:-$daemon_pid}/fd" -type l | wc -l
}

# daemon_is_idle_at COUNT: the guest has gone, and so have the descriptors that were held for it.
daemon_is_idle_at()
{
    local polls=0 count
    daemon_alive || test_fail "the daemon has died"
    until count=$(daemon_count_descriptors) && [ "$count" -le "$1" ]; do
        polls=$((polls + 1))
        [ $polls -lt 100 ] || test_fail "$count descriptors are left, there were $1 at the start"
        sleep 0.1
    done
}

# daemon_stop: SIGTERM ends it within 5 seconds, with status 0.
daemon_stop()
{
    local polls=0 status
    daemon_alive || test_fail "the daemon has died"
    kill -TERM "$daemon_pid"
    while daemon_alive; do
        polls=$((polls + 1))
        [ $polls -lt 50 ] || test_fail "the daemon does not end at SIGTERM"
        sleep 0.1
    done
    wait "$daemon_pid"
    status=$?
    daemon_pid=
    [ $status -eq 0 ] || test_fail "the daemon ended with status $status at SIGTERM"
}

# guest_require uml|qemu: boots a guest that does nothing, so that a machine which cannot is told apart from a daemon
# that is broken. Once for all tests: what it booted is noted beside the kernel.
guest_require()
{
    local here kind=$1 noted why
    here=$(dirname "${BASH_SOURCE[0]}")
    if ! why=$("$here/../setup-$kind" 2>&1); then
        test_skip "no $kind guest: $(tr '\n' ' ' <<<"$why")"
    fi
    noted=${OUTBOARD_CACHE:-$here/../cache}/$kind/.booted-by-$(id -u)
    cmp -s /proc/sys/kernel/random/boot_id "$noted" && return
    printf '#!/bin/sh\necho up\n' >"$test_work/up"
    if ! why=$("$here/../run-$kind" --timeout=240 "$test_work/up" 2>&1); then
        test_skip "a $kind guest does not run on this machine: ${why##*$'\n'}"
    fi
    cat /proc/sys/kernel/random/boot_id 2>/dev/null >"$noted"
}
