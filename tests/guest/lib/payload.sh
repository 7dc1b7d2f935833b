# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Bare-metal guests of tests/payload under vmm. $VMM names the program, $PAYLOAD the guest. Used together with
# daemon.sh.
# shellcheck disable=SC2154

payload_output=$test_work/payload.out

payload_require()
{
    [ -x "${VMM:-}" ] || test_fail "VMM does not name the vmm to test"
    [ -r "${PAYLOAD:-}" ] || test_fail "PAYLOAD does not name a guest"
    if [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; then
        test_skip "no /dev/kvm that can be opened"
    fi
}

# payload_run [OPTION]...: runs it to its end; what it prints goes to $payload_output.
payload_run()
{
    timeout -k 5 240 "$VMM" -kernel "$PAYLOAD" -serial "file:$payload_output" "$@" \
        </dev/null >>"$test_work/daemon.log" 2>&1
}

# Whether it went through all of its checks, and none failed.
payload_verdict()
{
    cat "$payload_output"
    grep -q '^1\.\.[1-9]' "$payload_output" || test_fail "the guest did not come to its end"
    ! grep -q '^not ok' "$payload_output" || test_fail "checks failed"
}
