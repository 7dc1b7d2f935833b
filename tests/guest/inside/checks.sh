# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Checks inside a guest, for any POSIX shell: each prints one line, and checks_finish ends the script
# with 1 if one failed. Sourced by the scripts beside it.

checks_passed=0
checks_failed=0

# check NAME COMMAND...: COMMAND succeeds. What it prints is shown only when it does not.
check()
{
    check_name=$1
    shift
    if check_output=$("$@" 2>&1); then
        checks_passed=$((checks_passed + 1))
        echo "ok - $check_name"
    else
        checks_failed=$((checks_failed + 1))
        echo "NOT OK - $check_name: $(echo "$check_output" | grep -v ': OK$' | tail -n 5)"
    fi
}

# check_fails NAME COMMAND...: COMMAND fails.
check_fails()
{
    check_name=$1
    shift
    check "$check_name" check_not "$@"
}

check_not()
{
    ! "$@"
}

# check_equal NAME EXPECTED ACTUAL
check_equal()
{
    check "$1" check_same "$2" "$3"
}

check_same()
{
    [ "$1" = "$2" ] || {
        echo "expected '$1', found '$2'"
        return 1
    }
}

# attributes FORMAT FILE: what stat says of the file itself.
attributes()
{
    stat -c "$1" "$2"
}

checks_finish()
{
    echo "guest checks: $checks_passed passed, $checks_failed failed"
    [ "$checks_failed" -eq 0 ]
    exit
}
