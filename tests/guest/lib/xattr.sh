# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the tests of extended attributes share on the host's side. Used together with daemon.sh, whose
# $test_work it writes to.
# shellcheck disable=SC2154

# All names but access lists out of the way, on files of every kind.
# shellcheck disable=SC2034
xattr_map=':ok:all:system.posix_acl_:system.posix_acl_: :map::trusted.guest.:'

# The programs that they take, and a file system under $test_work that has it all.
xattr_require()
{
    local program
    [ "$(id -u)" -eq 0 ] || test_skip "needs root, for attributes that are root's"
    for program in getfattr setfattr getfacl setfacl getcap setcap setpriv python3; do
        command -v "$program" >/dev/null || test_skip "$program is missing (contrib/install-deps test)"
    done
    : >"$test_work/try"
    if ! setfattr -n user.try -v x "$test_work/try" 2>/dev/null ||
        ! setfattr -n trusted.try -v x "$test_work/try" 2>/dev/null ||
        ! setfacl -m u:1:r "$test_work/try" 2>/dev/null; then
        test_skip "no extended attributes, or no access lists, in $test_work"
    fi
}

# xattr_check_plain DIR: what xattr-walk.sh left there has its names on the host.
xattr_check_plain()
{
    [ "$(getfattr --absolute-names --only-values -n user.text "$1/attributes/moved")" = hello ] ||
        test_fail "the host does not see a user's attribute"
    [ "$(getfattr --absolute-names -h --only-values -n trusted.mark "$1/attributes/symlink")" = symlink ] ||
        test_fail "the host does not see the attribute of a symbolic link"
    [ "$(getfattr --absolute-names --only-values -n trusted.mark "$1/attributes/moved")" = file ] ||
        test_fail "an attribute went through a symbolic link"
    getfacl -n "$1/defaults/full027/file" 2>/dev/null | grep -q '^user:1234:rwx' ||
        test_fail "the host does not see an inherited access list"
}

# xattr_check_mapped DIR: and here they have other ones, but for access lists.
xattr_check_mapped()
{
    [ "$(getfattr --absolute-names --only-values -n trusted.guest.user.text "$1/attributes/moved")" = hello ] ||
        test_fail "the host does not see a user's attribute by its mapped name"
    [ "$(getfattr --absolute-names -h --only-values -n trusted.guest.trusted.mark "$1/attributes/symlink")" = symlink ] ||
        test_fail "the host does not see the attribute of a symbolic link by its mapped name"
    if getfattr --absolute-names -R -h -d -m - "$1" 2>/dev/null | grep -E '^(user|security)\.'; then
        test_fail "attributes of the guest are on the host by their own names"
    fi
    getfacl -n "$1/defaults/full027/file" 2>/dev/null | grep -q '^user:1234:rwx' ||
        test_fail "the host does not see an inherited access list"
}
