# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What run-uml, run-qemu and run-vmm share: their command line, the folder that becomes /run/guest inside, and
# the watch over a guest that runs. A guest is always bounded in time, and only its own process is ever
# killed. The guest says how its script ended by a last line on the console: guest-status: N.

runner_timeout=120
runner_memory=512
runner_cpus=2
runner_fs=()
runner_blk=()
runner_rng=()
runner_kernel_args=()
runner_pid_file=
runner_interactive=
runner_accel=tcg
runner_work=
runner_ram=
runner_terminal=

runner_usage()
{
    cat <<USAGE
Usage: ${0##*/} [OPTION]... SCRIPT [ARG]...
Boots a guest, runs SCRIPT in it as root, prints what it printed and exits with its status
(125: the guest ended without one).
  --fs=SOCKET[,TAG]   plug in a vhost-user-fs device (TAG, myfs by default, only means something to
                      QEMU and vmm: a UML guest takes the tag that the daemon serves)
  --blk=SOCKET[,PROPERTY=VALUE]...
                      plug in a vhost-user-blk device, under QEMU with these properties
  --rng=SOCKET        plug in a vhost-user-rng device (not UML), SOCKET,PROPERTY=VALUE under QEMU;
                      egd:SOCKET: one of QEMU's own, a client of an EGD server there
  --timeout=SECONDS   kill the guest after that long ($runner_timeout)
  --memory=MIB        memory of the guest ($runner_memory)
  --cpus=N            its processors, an even number ($runner_cpus; a UML guest has one)
  --kernel-arg=ARG    one more argument for the guest's kernel
  --pid-file=FILE     write the guest's process id into FILE, to kill it by
  --accel=ACCEL       kvm or tcg ($runner_accel; QEMU only)
  --interactive       give SCRIPT this terminal, without a bound in time
Devices appear in the order given. The files beside SCRIPT that end in .sh or .py are there for it too.
USAGE
}

# runner_parse ARG...: sets the variables above, and runner_command, the script and its arguments.
runner_parse()
{
    while [ $# -gt 0 ]; do
        case $1 in
        --fs=*) runner_fs+=("${1#*=}") ;;
        --blk=*) runner_blk+=("${1#*=}") ;;
        --rng=*) runner_rng+=("${1#*=}") ;;
        --timeout=*) runner_timeout=${1#*=} ;;
        --memory=*) runner_memory=${1#*=} ;;
        --cpus=*) runner_cpus=${1#*=} ;;
        --kernel-arg=*) runner_kernel_args+=("${1#*=}") ;;
        --pid-file=*) runner_pid_file=${1#*=} ;;
        --accel=*) runner_accel=${1#*=} ;;
        --interactive) runner_interactive=1 ;;
        --help)
            runner_usage
            exit 0
            ;;
        -*)
            echo "${0##*/}: unknown option $1 (see --help)" >&2
            exit 2
            ;;
        *) break ;;
        esac
        shift
    done
    if [ $# -eq 0 ] || [ ! -f "$1" ]; then
        echo "${0##*/}: no script to run: ${1:-none named} (see --help)" >&2
        exit 2
    fi
    runner_command=("$@")
}

# runner_pick_folder: sets runner_ram to a fresh folder, in memory if there is one, else on disk, that has
# room for the guest's memory as a file and lets programs be mapped from it.
runner_pick_folder()
{
    local need=$((runner_memory + 64)) folder options room
    for folder in ${OUTBOARD_TMPDIR:+"$OUTBOARD_TMPDIR"} /dev/shm "${TMPDIR:-/tmp}" /var/tmp; do
        [ -w "$folder" ] || continue
        options=$(findmnt -n -o OPTIONS -T "$folder" 2>/dev/null)
        case ,$options, in *,noexec,*) continue ;; esac
        room=$(df --output=avail -m "$folder" | tail -n 1)
        if [ "$room" -ge "$need" ]; then
            runner_ram=$(mktemp -d "$folder/outboard-ram.XXXXXX") && return 0
        fi
    done
    echo "${0##*/}: no folder with $need MiB of room for the guest's memory" >&2
    return 1
}

runner_quote()
{
    printf "'%s' " "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}

# runner_prepare: makes runner_work, a folder of this run, with runner_work/guest for the guest. It is
# under /tmp because a UML guest must find it by its host path, in a tree that has its own /dev and /run.
runner_prepare()
{
    local here arg
    here=$(dirname "${BASH_SOURCE[0]}")
    runner_work=$(mktemp -d /tmp/outboard-guest.XXXXXX) || exit 125
    trap runner_clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    mkdir "$runner_work/guest"
    cp "$here/../inside/init" "$runner_work/guest/"
    cp "${runner_command[0]}" "$runner_work/guest/script"
    cp "$(dirname "${runner_command[0]}")"/*.{sh,py} "$runner_work/guest/" 2>/dev/null
    {
        echo '#!/bin/sh'
        echo 'cd /run/guest || exit 125'
        if [ -n "$runner_interactive" ] && [ -t 0 ]; then
            echo "export TERM=$(runner_quote "${TERM:-linux}")"
            echo "stty $(stty size | sed 's/\([0-9]*\) \([0-9]*\)/rows \1 cols \2/') 2>/dev/null"
        fi
        printf 'exec ./script '
        for arg in "${runner_command[@]:1}"; do
            runner_quote "$arg"
        done
        echo
    } >"$runner_work/guest/command"
    [ -n "$runner_interactive" ] && : >"$runner_work/guest/interactive"
    chmod -R a+rX "$runner_work/guest"
    chmod +x "$runner_work"/guest/{init,script,command}
}

# runner_make_initrd [COMMAND...]: what setup-qemu has made, through COMMAND (cat), and runner_work/guest in its
# /run/guest, as runner_work/initrd.
runner_make_initrd()
{
    [ $# -gt 0 ] || set -- cat
    mkdir "$runner_work/tree" "$runner_work/tree/run"
    mv "$runner_work/guest" "$runner_work/tree/run/"
    {
        # shellcheck disable=SC2154 # of cache.sh
        "$@" <"$guest_cache/qemu/initrd.gz"
        (cd "$runner_work/tree" && find . | cpio -o -H newc -R 0:0 2>/dev/null)
    } >"$runner_work/initrd"
}

runner_clean_up()
{
    runner_kill_guest
    [ -n "$runner_terminal" ] && stty "$runner_terminal"
    rm -rf ${runner_work:+"$runner_work"} ${runner_ram:+"$runner_ram"}
}

# The guest itself, not the timeout round it: a UML guest leaves its process group. The helpers of a UML
# guest end with it.
runner_kill_guest()
{
    local pid
    pid=$(cat "$runner_work/pid" 2>/dev/null) && kill -KILL "$pid" 2>/dev/null
}

# runner_boot COMMAND...: runs the guest and exits with the status of the script inside.
runner_boot()
{
    local bound printer status ended
    if [ -n "$runner_interactive" ]; then
        runner_boot_interactive "$@"
    fi
    : >"$runner_work/console"
    # shellcheck disable=SC2016 # expanded by the inner shell
    timeout -k 5 "$runner_timeout" \
        sh -c 'echo $$ >"$0" && exec "$@"' "$runner_work/pid" "$@" \
        </dev/null >>"$runner_work/console" 2>&1 &
    bound=$!
    tail -n +1 -s 0.1 --pid="$bound" -f "$runner_work/console" 2>/dev/null |
        sed -u -e 's/\r$//' -e '/^guest-status: /,$d' &
    printer=$!
    # The shell says on stderr when a job of its dies of a signal; we say it better.
    exec 9>&2 2>/dev/null
    runner_watch "$bound"
    wait "$bound"
    ended=$?
    exec 2>&9 9>&-
    rm -f "$runner_work/pid"
    wait "$printer"
    status=$(tr -d '\r' <"$runner_work/console" | sed -n 's/^guest-status: //p' | tail -n 1)
    [ -n "$status" ] && exit "$status"
    if [ $ended -eq 124 ] || [ $ended -eq 137 ]; then
        echo "${0##*/}: the guest was killed, or did not end within $runner_timeout s" >&2
    else
        echo "${0##*/}: the guest ended without a result (status $ended)" >&2
    fi
    exit 125
}

# runner_watch BOUND: returns when the process BOUND has ended. A guest that stays on after its result (a
# file system of its that hangs keeps it from powering off) is given five seconds.
runner_watch()
{
    local polls=0
    while kill -0 "$1" 2>/dev/null; do
        if [ -n "$runner_pid_file" ] && [ -s "$runner_work/pid" ]; then
            cp "$runner_work/pid" "$runner_pid_file"
            runner_pid_file=
        fi
        if grep -q '^guest-status: ' "$runner_work/console"; then
            polls=$((polls + 1))
            [ $polls -lt 50 ] || runner_kill_guest
        fi
        sleep 0.1
    done
}

# The guest has the terminal and takes the keys that would make signals; it ends when its script does. It
# runs in the background of this shell so that a signal sent to us is seen at once.
runner_boot_interactive()
{
    local guest
    [ -t 0 ] && runner_terminal=$(stty -g)
    "$@" <&0 &
    guest=$!
    echo "$guest" >"$runner_work/pid"
    wait "$guest"
    guest=$?
    rm -f "$runner_work/pid"
    exit "$guest"
}
