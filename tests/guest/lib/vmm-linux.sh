# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A Linux guest of vmm ($VMM) whose /init is $GUEST_INIT: its initrd, the wait for what it says on its serial port, and
# vmm's QMP. Used together with cache.sh and daemon.sh.
# shellcheck disable=SC2154

linux_serial=$test_work/serial
linux_guest=
# Where KVM emulates the guest's kernel, on a busy machine.
linux_patience=${VMM_BOOT_SECONDS:-1500}

linux_require()
{
    local tool
    [ -x "${VMM:-}" ] || test_fail "VMM does not name the vmm to test"
    if [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; then
        test_skip "no /dev/kvm that can be opened"
    fi
    for tool in cpio objcopy python3; do
        command -v $tool >/dev/null || test_skip "$tool is missing (contrib/install-deps test)"
    done
    "$guest_dir/setup-qemu" || test_skip "no kernel to boot"
}

# linux_make_initrd MODULE...: these without their type information, which an emulated kernel takes long to read, and
# our init; not compressed.
linux_make_initrd()
{
    local from=$test_work/from to=$test_work/to module
    mkdir -p "$from" "$to/modules" "$to/dev"
    gzip -dc "$guest_cache/qemu/initrd.gz" | (cd "$from" && cpio -i --quiet 2>/dev/null)
    for module; do
        [ -e "$from/run/guest/modules/$module.ko" ] || continue # built in
        objcopy -R .BTF -R .BTF_ids "$from/run/guest/modules/$module.ko" "$to/modules/$module.ko" 2>/dev/null
        echo "$module.ko" >>"$to/modules/order"
    done
    cp "$GUEST_INIT" "$to/init"
    (cd "$to" && find . | cpio -o -H newc -R 0:0 2>/dev/null) >"$test_work/initrd"
}

# linux_start N WORDS [OPTION]...: boots with two nodes, and N (1 or 2) processors, the second one on the second node;
# WORDS go to the kernel.
linux_start()
{
    local n_cpus=$1 words=$2
    shift 2
    timeout -k 10 "$linux_patience" "$VMM" -m 256M -smp "$n_cpus" \
        -object "memory-backend-memfd,id=m0,size=128M,share=on" -object "memory-backend-memfd,id=m1,size=128M,share=on" \
        -numa "node,nodeid=0,cpus=0,memdev=m0" -numa "node,nodeid=1$([ "$n_cpus" = 1 ] || echo ,cpus=1),memdev=m1" \
        -numa "dist,src=0,dst=1,val=21" \
        -kernel "$guest_cache/qemu/vmlinuz" -initrd "$test_work/initrd" \
        -append "console=ttyS0 loglevel=4 panic=-1 $words ${VMM_BOOT_ARGS:-}" -serial "file:$linux_serial" \
        -qmp "unix:$test_work/qmp" "$@" </dev/null >>"$test_work/daemon.log" 2>&1 &
    linux_guest=$!
    test_children+=("$linux_guest")
    coproc linux_qmp { exec python3 "$guest_dir/lib/qmp-shell.py" "$test_work/qmp" 2>&1; }
}

# qmp LINE: see qmp-shell.py; prints the answer.
qmp()
{
    local answer
    echo "$*" >&"${linux_qmp[1]}"
    read -r -t "$linux_patience" answer <&"${linux_qmp[0]}" || test_fail "no answer to $*"
    case $answer in error:*) test_fail "$*: $answer" ;; esac
    echo "$answer"
}

linux_has_said()
{
    [ -e "$linux_serial" ] && tr -d '\r' <"$linux_serial" | grep -q -x "guest: $1"
}

# await NAME [VALUE]: until the guest says so.
await()
{
    until linux_has_said "$1: ${2:-.*}"; do
        kill -0 "$linux_guest" 2>/dev/null || linux_fail "the guest ended before it said '$1: ${2:-}'"
        ! grep -q -s 'Kernel panic' "$linux_serial" || linux_fail "the guest's kernel does not go on"
        sleep 0.2
    done
}

# said NAME VALUE: the guest has said so.
said()
{
    linux_has_said "$1: $2" || linux_fail "expected 'guest: $1: $2'"
}

# said_twice NAME VALUE: a guest has said so, and again when it came up anew.
said_twice()
{
    local n
    n=$(tr -d '\r' <"$linux_serial" | grep -c -x "guest: $1: $2")
    [ "$n" -ge 2 ] || linux_fail "expected 'guest: $1: $2' twice, and it was $n times"
}

linux_fail()
{
    tail -n 60 "$linux_serial"
    test_fail "$*"
}

# linux_end: it switches itself off.
linux_end()
{
    local status
    wait "$linux_guest"
    status=$?
    [ $status -eq 0 ] || linux_fail "vmm ended with $status"
}
