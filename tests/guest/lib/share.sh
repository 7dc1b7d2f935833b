# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The two halves of a share's test on the host: what the guest finds there, and the comparison of what
# the guest left with what the guest believed it left. Used together with daemon.sh, whose $test_work it
# writes to.
# shellcheck disable=SC2154

# share_fill DIR LARGE_MIB: files for inside/virtiofs-checks to read, and their sums.
share_fill()
{
    local dir=$1 large_mib=$2 i
    mkdir -p "$dir/host/many" "$dir/host/a/b/c"
    for i in $(seq 1000); do
        echo "$i" >"$dir/host/many/file$i"
    done
    for i in 0 1 511 4095 4096 4097 65536 1048577; do
        head -c "$i" /dev/urandom >"$dir/host/a/b/c/of-$i-bytes"
    done
    head -c "${large_mib}M" /dev/urandom >"$dir/host/large"
    ln -s many "$dir/host/symlink"
    (cd "$dir" && find host -type f -exec sha256sum {} +) >"$test_work/host.sums"
    cp "$test_work/host.sums" "$dir/host.sums"
}

# share_compare DIR: contents, modes, links, owners, sizes and times are what the guest recorded.
share_compare()
{
    local dir=$1
    [ -s "$dir/guest.sums" ] || test_fail "the guest left no sums"
    (cd "$dir" && sha256sum --quiet -c guest.sums) || test_fail "contents differ on the host"
    (cd "$dir" && find guest ! -name guest.list -exec stat -c '%n|%f|%h|%u|%g|%s|%Y' {} + |
        sed 's/^\(.*|4[0-9a-f]*|[0-9]*|[0-9]*|[0-9]*|\)[0-9]*|/\1dir|/' |
        LC_ALL=C sort) >"$test_work/host.list"
    LC_ALL=C sort "$dir/guest.list" | diff "$test_work/host.list" - ||
        test_fail "attributes differ (< host, > guest)"
    echo "host: $(wc -l <"$dir/guest.sums") files and $(wc -l <"$dir/guest.list") names compared"
}
