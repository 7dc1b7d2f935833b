# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Packages of any Debian suite, unpacked into a folder of ours: a private apt root on the mirror that
# the machine's apt already uses. Nothing is installed, no root needed, the system's lists are not touched.

# Prints the archive that holds the base suite of this machine, as apt's own configuration names it.
# Asked by `update --print-uris`, which answers on a machine that has never run `apt-get update` too.
apt_print_mirror()
{
    local release
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    apt-get update --print-uris 2>/dev/null |
        sed -n "s,^'\(.*\)/dists/$release/InRelease'.*,\1,p" | head -n 1
}

# apt_open_root ROOT SUITE: makes an apt root for SUITE under ROOT and fetches its package list.
# Sets apt_opts, the options with which every apt command below looks there. 0, or 1 with a message.
apt_open_root()
{
    local root=$1 suite=$2 mirror
    mirror=$(apt_print_mirror)
    if [ -z "$mirror" ]; then
        echo "apt has no source for the base suite of this release" >&2
        return 1
    fi
    mkdir -p "$root"/etc/preferences.d "$root"/state/lists/partial "$root"/cache/archives/partial
    : >"$root/status"
    : >"$root/etc/preferences"
    cat >"$root/etc/outboard.sources" <<SOURCES
Types: deb
URIs: $mirror
Suites: $suite
Components: main
Architectures: $(dpkg --print-architecture)
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
    apt_opts=(
        -q
        -o "Dir::Etc::sourcelist=$root/etc/outboard.sources"
        -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::Etc::preferences=$root/etc/preferences"
        -o "Dir::Etc::preferencesparts=$root/etc/preferences.d"
        -o "Dir::State=$root/state"
        -o "Dir::State::status=$root/status"
        -o "Dir::State::extended_states=$root/state/extended"
        -o "Dir::Cache=$root/cache"
        -o APT::Default-Release=
        -o APT::Sandbox::User=
        -o APT::Update::Error-Mode=any
        -o Acquire::Languages=none
        -o Acquire::Retries=2
        -o Acquire::http::Timeout=20
        -o Acquire::https::Timeout=20
        -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
        -o Debug::NoLocking=1
    )
    timeout 300 apt-get "${apt_opts[@]}" update >"$root/update.log" 2>&1 && return 0
    echo "apt cannot fetch the package list of $suite: $(grep -m 1 '^[EW]:' "$root/update.log")" >&2
    return 1
}

# apt_unpack DEST PACKAGE...: downloads the packages named and unpacks them over one another in DEST.
apt_unpack()
{
    apt_unpack_by "$1" "download" "${@:2}"
}

# apt_unpack_whole DEST PACKAGE...: the same, with all that they depend on.
apt_unpack_whole()
{
    apt_unpack_by "$1" "install -y --download-only --no-install-recommends" "${@:2}"
}

# apt_unpack_by DEST COMMAND PACKAGE...: by what this command of apt-get downloads.
apt_unpack_by()
{
    local dest=$1 debs deb
    debs=$(mktemp -d "${dest%/*}/debs.XXXXXX") || return 1
    mkdir -p "$dest" "$debs/partial"
    # shellcheck disable=SC2086 # a command and its options
    if ! (cd "$debs" && timeout 600 apt-get "${apt_opts[@]}" -o "Dir::Cache::archives=$debs" \
        $2 "${@:3}" >download.log 2>&1); then
        echo "apt cannot download ${*:3}: $(grep -m 1 '^E:' "$debs/download.log")" >&2
        rm -rf "$debs"
        return 1
    fi
    for deb in "$debs"/*.deb; do
        dpkg-deb -x "$deb" "$dest" || return 1
    done
    rm -rf "$debs"
}
