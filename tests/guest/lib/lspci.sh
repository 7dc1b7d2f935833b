# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The host's lspci in a guest's share, and what it says of devices of vmm beside those of QEMU's q35. Used together with
# cache.sh and daemon.sh.
# shellcheck disable=SC2154

lspci_require()
{
    PATH=$PATH:/usr/bin:/usr/sbin:/sbin
    command -v lspci >/dev/null || test_skip "lspci is missing (contrib/install-deps test)"
}

# lspci_copy_to DIR: lspci, its libraries, and ld.so to start it with.
lspci_copy_to()
{
    local program library
    program=$(command -v lspci)
    mkdir "$1"
    cp -L "$program" "$1/"
    for library in $(ldd "$program" | grep -o '/[^ ]*'); do
        cp -L "$library" "$1/"
    done
    mv "$1"/ld-linux-*.so.* "$1/ld.so"
}

# lspci_print FILE ID: the device VENDOR:DEVICE, without what is a matter of place (its slot, its interrupt line, where
# its BARs are), and of firmware, which under QEMU has set two bits of the command register that Linux leaves alone.
lspci_print()
{
    awk -v id="$2" 'BEGIN { RS = ""; FS = "\n" } index($1, id)' "$1" |
        sed -e 's/^[0-9a-f:]*\.[0-7] //' -e '/^\tInterrupt:/s/routed to IRQ.*//' -e '/^\tNUMA node:/d' \
            -e '/^\tPhysical Slot:/d' -e '/^\tControl:/s/I\/O[+-]\|SERR[+-]//g' -e 's/Memory at [0-9a-f]*/Memory/'
}

# lspci_compare FILE ID...: FILE is what lspci -nvv said under vmm. QEMU's guest uses the same daemons, which are idle.
lspci_compare()
{
    local file=$1 id
    shift
    command -v qemu-system-x86_64 >/dev/null || return 0
    "$guest_dir/run-qemu" --fs="$test_work/share.socket" --blk="$test_work/disk.socket,disable-legacy=on" \
        "$guest_dir/inside/lspci-show" >"$test_work/lspci.log" 2>&1 ||
        test_fail "lspci under QEMU: $(tail -n 5 "$test_work/lspci.log")"
    for id; do
        lspci_print "$file" "$id" >"$test_work/lspci.vmm"
        lspci_print "$test_work/share/lspci.qemu" "$id" >"$test_work/lspci.qemu"
        cat "$test_work/lspci.vmm"
        [ -s "$test_work/lspci.vmm" ] || test_fail "no device $id"
        diff "$test_work/lspci.qemu" "$test_work/lspci.vmm" || test_fail "lspci says it otherwise than under QEMU"
    done
}
