# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The daemons that are compared, each serving $work/share on $work/socket. Whoever sources this sets $here; it gets
# $ours, $c_peer, $rust_peer and $bench, and a folder of its own in $work.

build=${OUTBOARD_BUILD:-$here/../../build}
ours=${VIRTIOFSD:-$build/virtiofsd/virtiofsd}
bench=${VU_BENCH:-$build/tests/bench/vu-bench}
c_peer=/usr/lib/qemu/virtiofsd
rust_peer=${VIRTIOFSD_RUST:-}
for path in /usr/libexec/virtiofsd /usr/lib/virtiofsd; do
    [ -z "$rust_peer" ] && [ -x "$path" ] && rust_peer=$path
done
for program in "$ours" "$bench"; do
    [ -x "$program" ] || { echo "${0##*/}: no $program: build first, or set VIRTIOFSD and VU_BENCH" >&2; exit 1; }
done

daemon=
bench_cleanup()
{
    [ -n "$daemon" ] && kill "$daemon" 2>/dev/null
    rm -rf "$work"
}

# bench_work_in DIR: makes $work there
bench_work_in()
{
    work=$(mktemp -d "$1/vu-bench.XXXXXX") || exit 1
    trap bench_cleanup EXIT
}

# bench_start NAME CACHE [OPTION of ours...]: runs that daemon in the background; $daemon is its pid, which exec keeps
bench_start()
{
    local name=$1 cache=$2
    shift 2
    mkdir -p "$work/share"
    rm -f "$work/socket"
    case $name in
    ours) exec "$ours" --socket-path="$work/socket" --shared-dir="$work/share" --tag=bench --cache="$cache" "$@" ;;
    c) exec "$c_peer" -f --socket-path="$work/socket" -o source="$work/share" -o cache="$cache" ;;
    rust) exec "$rust_peer" --sandbox none --seccomp none --socket-path "$work/socket" --shared-dir "$work/share" --tag bench --cache "$cache" ;;
    esac >"$work/$name.log" 2>&1 &
    daemon=$!
    for _ in $(seq 100); do
        [ -S "$work/socket" ] && return 0
        sleep 0.05
    done
    echo "${0##*/}: $name does not start:" >&2
    tail -3 "$work/$name.log" >&2
    return 1
}

bench_stop()
{
    kill "$daemon" 2>/dev/null
    wait "$daemon" 2>/dev/null
    daemon=
    rm -rf "$work/share"
}
