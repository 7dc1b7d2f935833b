# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# For the tests of what is installed. Sourced by them; package_work is a folder that is removed at the end.

# From meson: the build folder, the prefix it installs to, and what there is.
: "${BUILD:?}" "${PREFIX:?}" "${SYSCONFDIR:?}" "${VERSION:?}" "${PROGRAMS:?}" "${DAEMONS:?}"

package_work=$(mktemp -d)
# shellcheck disable=SC2034 # of whoever sources this
package_status=0

# Leaves what is mounted below the folder to whoever mounted it there.
package_clean()
{
    rm -rf --one-file-system "$package_work" 2>/dev/null
}
trap package_clean EXIT

# package_skip REASON: what has failed before is not forgotten.
package_skip()
{
    [ "$package_status" -eq 0 ] || exit 1
    echo "skip: $1"
    exit 77
}

# package_require PROGRAM
package_require()
{
    command -v "$1" >/dev/null || package_skip "$1 is missing (contrib/install-deps test)"
}

package_fail()
{
    echo "FAILED: $*"
    # shellcheck disable=SC2034
    package_status=1
}

# package_complain TEXT: what standard input holds is wrong, if it holds anything. Needs lastpipe.
package_complain()
{
    local lines
    lines=$(cat)
    [ -z "$lines" ] || package_fail "$1:"$'\n'"$(head -n 20 <<<"$lines")"
}

# Installs into $package_root, as the package builder of a distribution does.
package_install()
{
    package_root=$package_work/root
    DESTDIR=$package_root meson install -C "$BUILD" --no-rebuild --quiet ||
        { echo "FAILED: meson install" && exit 1; }
}
