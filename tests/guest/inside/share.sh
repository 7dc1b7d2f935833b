# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# The share myfs inside a guest, mounted at $share.

share=/mnt/share

mount_share()
{
    mkdir -p $share && mount -t virtiofs myfs $share
}

remount_share()
{
    umount $share && mount_share
}

# sums_match FILE: the sums listed in FILE, itself in the share, are right.
sums_match()
{
    (cd $share && sha256sum -c "$1")
}

# run_as_daemon COMMAND: a shell command run by the user daemon, 1:1 everywhere.
run_as_daemon()
{
    /run/guest/busybox su -s /bin/sh -c "$1" daemon
}
