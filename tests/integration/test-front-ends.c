/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon as front-ends and their users start it, in their words: it serves. What is told by the
 * words alone is in test-fs-spellings.c.
 */
#include <glib.h>
#include <string.h>

#include "fs-guest.h"

static const struct {
    const char *name, *line;
} front_ends[] = {
    {"qemu-documentation", "--socket-path=%s -o source=%d"},
    {"qemu-all-defaults", "--socket-path=%s -o source=%d,cache=auto,no_flock,no_posix_lock,"
                          "no_xattr,no_writeback,sandbox=namespace,log_level=warn"},
    {"libvirt-6", "--fd=3 -o source=%d,cache=always,sandbox=namespace,xattr,flock,no_posix_lock "
                  "--thread-pool-size=16"},
    {"libvirt-10", "--fd=3 --shared-dir=%d --cache=always --sandbox=namespace --xattr "
                   "--thread-pool-size=16 --log-level=debug"},
    {"libvirt-chroot", "--fd=3 --shared-dir=%d --sandbox=chroot --readonly"},
    {"kata-2", "--syslog -o cache=auto -o no_posix_lock -o source=%d --fd=3 -f "
               "--thread-pool-size=1 -o announce_submounts"},
    {"kata-3", "--syslog --cache=auto --shared-dir=%d --fd=3 --inode-file-handles=prefer "
               "--thread-pool-size=1 --announce-submounts"},
    {"kata-runtime-rs",
     "--socket-path %s --shared-dir %d --cache auto --sandbox none --seccomp none "
     "--inode-file-handles prefer --thread-pool-size=1 --announce-submounts --xattr"},
    {"cloud-hypervisor",
     "--log-level error --socket-path=%s --shared-dir=%d --cache=never --thread-pool-size=4"},
    {"cloud-hypervisor-old", "-o vhost_user_socket=%s -o source=%d -o cache=none"},
    {"systemd-vmspawn", "LISTEN_FDS=1 --shared-dir %d --xattr --fd 3 --no-announce-submounts "
                        "--translate-uid map:0:1000:1 --translate-gid map:0:1000:1"},
    {"systemd-socket", "LISTEN_FDS=1 --shared-dir=%d --tag=--fd"},
    {"mkosi", "--shared-dir %d --xattr --no-announce-submounts --sandbox=chroot "
              "--inode-file-handles=never --security-label=auto --fd=3"},
    {"incus", "--fd=3 --cache=never -o source=%d"},
    {"runcvm", "-o cache=always -o announce_submounts -o xattr --socket-path=%s -o source=%d "
               "-o sandbox=chroot"},
    {"microvm.nix", "--socket-path=%s --socket-group=0 --shared-dir=%d --rlimit-nofile 8192 "
                    "--thread-pool-size 4 --posix-acl=auto --xattr --allow-mmap --cache=auto"},
};

static void test_serves(struct fs_guest *guest)
{
    struct fuse_entry_out entry;

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_write_file(guest, "file", "words of the host");
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "file", &entry), ==, 0);
    g_assert_cmpuint(entry.attr.size, ==, strlen("words of the host"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(front_ends); i++)
        fs_guest_add_line(front_ends[i].name, front_ends[i].line, test_serves);
    return g_test_run();
}
