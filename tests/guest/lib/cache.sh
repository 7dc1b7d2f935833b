# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Where fetched kernels and programs are kept, and how they get there: each set-up script fills one
# folder of the cache, once, whole or not at all, also when several tests ask for it at the same time.

guest_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
guest_cache=${OUTBOARD_CACHE:-$guest_dir/cache}

# cache_fill NAME VERSION: makes sure that $guest_cache/NAME holds what this script, called again as
# `SCRIPT --fill FOLDER`, puts into an empty folder. VERSION is a word that changes when the recipe does.
# 0, or 1 with a message.
cache_fill()
{
    local name=$1 version=$2 status=0
    local folder=$guest_cache/$1
    [ "$(cat "$folder/.version" 2>/dev/null)" = "$version" ] && return 0
    if ! mkdir -p "$guest_cache" 2>/dev/null || [ ! -w "$guest_cache" ]; then
        echo "cannot write to $guest_cache (OUTBOARD_CACHE names another folder)" >&2
        return 1
    fi
    exec 8>"$guest_cache/.$name.lock"
    flock 8
    if [ "$(cat "$folder/.version" 2>/dev/null)" != "$version" ]; then
        cache_fill_locked "$folder" "$version" || status=1
    fi
    exec 8>&-
    return $status
}

cache_fill_locked()
{
    local folder=$1 version=$2
    local fresh=$1.new
    rm -rf "$fresh"
    mkdir "$fresh"
    if ! "$0" --fill "$fresh"; then
        rm -rf "$fresh"
        echo "${0##*/}: cannot make $folder" >&2
        return 1
    fi
    echo "$version" >"$fresh/.version"
    rm -rf "$folder"
    mv "$fresh" "$folder"
}
