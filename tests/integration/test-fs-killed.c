/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtiofsd with --state is killed, or told to end, with files open, and another one takes its
 * place: the guest goes on, without INIT. Drives the daemon that $VIRTIOFSD names.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "fs-guest.h"

#define ROUNDS 3

static const int killed_signals[] = {SIGKILL, SIGTERM};

static int killed_read(struct fs_guest *guest, uint64_t fh, const char *text)
{
    char buf[64] = {0};
    int ret = fs_guest_read(guest, FUSE_READ, fh, buf, (uint32_t)sizeof(buf));

    if (ret >= 0)
        g_assert_cmpstr(buf, ==, text);
    return ret;
}

/* Waits in the ring while nobody is there. */
static void killed_leave_lookup(struct fs_guest *guest, uint64_t parent, const char *name)
{
    const struct vu_sg sg[] = {
        {guest->out_gpa, (uint32_t)(sizeof(struct fuse_in_header) + strlen(name) + 1)},
        {guest->in_gpa, sizeof(struct fuse_out_header) + sizeof(struct fuse_entry_out)}};
    struct fuse_in_header header = {
        .len = (uint32_t)sg[0].len, .opcode = FUSE_LOOKUP, .unique = 4711, .nodeid = parent};

    memcpy(guest->out, &header, sizeof(header));
    strcpy((char *)guest->out + sizeof(header), name);
    g_assert_cmpint(vu_driver_add(guest->queue, sg, 1, 1, guest), ==, 0);
    vu_driver_publish(guest->queue);
}

static uint64_t killed_take_lookup(struct fs_guest *guest)
{
    struct vu_driver_used used;
    struct fuse_out_header header;
    struct fuse_entry_out entry;

    while (vu_driver_harvest(guest->queue, &used, 1) == 0)
        g_usleep(1000);
    memcpy(&header, guest->in, sizeof(header));
    g_assert_cmpint(header.error, ==, 0);
    g_assert_cmpuint(header.unique, ==, 4711);
    memcpy(&entry, guest->in + sizeof(header), sizeof(entry));
    return entry.nodeid;
}

static void test_goes_on(struct fs_guest *guest)
{
    struct fuse_entry_out folder, file, again;
    uint64_t fh, folder_fh;
    char names[1024];

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_make_folder(guest, "folder");
    fs_guest_write_file(guest, "folder/file", "words");
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "folder", &folder), ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, folder.nodeid, "file", &file), ==, 0);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPEN, file.nodeid, O_RDWR, &fh), ==, 0);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPENDIR, folder.nodeid, O_DIRECTORY, &folder_fh), ==,
                    0);
    for (unsigned i = 0; i < ROUNDS * G_N_ELEMENTS(killed_signals); i++) {
        killed_leave_lookup(guest, folder.nodeid, "file");
        fs_guest_succeed(guest, killed_signals[i % G_N_ELEMENTS(killed_signals)]);
        g_assert_cmpuint(killed_take_lookup(guest), ==, file.nodeid);
        g_assert_cmpint(killed_read(guest, fh, "words"), ==, 5);
        g_assert_cmpint(fs_guest_read(guest, FUSE_READDIR, folder_fh, names, sizeof(names)), >, 0);
        g_assert_cmpint(fs_guest_lookup(guest, folder.nodeid, "file", &again), ==, 0);
        g_assert_cmpuint(again.nodeid, ==, file.nodeid);
    }
    g_assert_cmpint(fs_guest_release(guest, FUSE_RELEASE, fh), ==, 0);
    g_assert_cmpint(fs_guest_release(guest, FUSE_RELEASEDIR, folder_fh), ==, 0);
    g_assert_cmpint(killed_read(guest, fh, ""), ==, -EBADF);
    /* A guest that begins anew has none of it. */
    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_succeed(guest, SIGKILL);
    g_assert_cmpint(fs_guest_lookup(guest, folder.nodeid, "file", &again), ==, -ESTALE);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "folder", &again), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (geteuid() != 0) {
        g_print("1..0 # SKIP takes root, for file handles\n");
        return 0;
    }
    fs_guest_add_line("namespace", "--socket-path=%s --shared-dir=%d --state=%d.state",
                      test_goes_on);
    fs_guest_add_line("none", "--socket-path=%s --shared-dir=%d --state=%d.state --sandbox=none",
                      test_goes_on);
    fs_guest_add_line("chroot",
                      "--socket-path=%s --shared-dir=%d --state=%d.state --sandbox=chroot",
                      test_goes_on);
    return g_test_run();
}
