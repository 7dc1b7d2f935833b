# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Programs of the host's for a guest that has busybox alone: a virtiofs share of the host's whole tree, tagged
# hosttree, becomes the root of the script.

# host_tree_enter ARG...: runs the script again with these arguments in that root, if there is one.
host_tree_enter()
{
    [ -z "${host_tree:-}" ] || return 0
    mount -t virtiofs hosttree /mnt 2>/dev/null || return 0
    for host_tree_dir in dev proc sys run; do
        mount -o rbind "/$host_tree_dir" "/mnt/$host_tree_dir" || exit 1
    done
    mount -t tmpfs tmpfs /mnt/tmp
    mount -t tmpfs tmpfs /mnt/mnt
    # shellcheck disable=SC2016 # expanded by the inner shell
    host_tree=1 exec chroot /mnt /bin/sh -c 'cd /run/guest && exec ./script "$@"' sh "$@"
}
