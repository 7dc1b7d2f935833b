/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that uses up what there is: descriptors of the process itself, owners of locks, waits for
 * locks. It is told, others are served, and with the connection everything is given back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs-guest.h"

#define LIMITS_PATIENCE_MS 20000
#define LIMITS_WAITS       20

/* The process that serves: in a sandbox, a child of the one that was started. */
static int daemon_pid(const struct fs_guest *guest)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", guest->pid, guest->pid);
    g_autofree char *text = NULL;
    int child = 0;

    if (g_file_get_contents(path, &text, NULL, NULL) && text[0] != '\0')
        child = (int)g_ascii_strtoll(text, NULL, 10);
    return child > 0 ? child : guest->pid;
}

/* How many descriptors the daemon has open; ret_top: the largest, and 1. */
static unsigned count_descriptors(const struct fs_guest *guest, unsigned *ret_top)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", daemon_pid(guest));
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    unsigned n = 0;

    g_assert_nonnull(dir);
    *ret_top = 0;
    while ((name = g_dir_read_name(dir))) {
        *ret_top = MAX(*ret_top, (unsigned)g_ascii_strtoull(name, NULL, 10) + 1);
        n++;
    }
    return n;
}

/* After a new connection the daemon has what it had: it may take its time to let go. */
static void check_returned(struct fs_guest *guest, unsigned n_before)
{
    gint64 end = g_get_monotonic_time() + LIMITS_PATIENCE_MS * G_TIME_SPAN_MILLISECOND;
    unsigned top;

    fs_guest_reconnect(guest);
    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    while (count_descriptors(guest, &top) > n_before) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(10000);
    }
}

static int lock(struct fs_guest *guest, uint32_t opcode, uint64_t fh, uint64_t owner)
{
    const struct fuse_lk_in in = {.fh = fh, .owner = owner, .lk = {owner, owner, F_WRLCK, 1}};
    const struct fs_guest_call call = {.opcode = opcode, .args = &in, .args_len = sizeof(in)};

    return fs_guest_call(guest, &call);
}

/* --- descriptors --- */

/* Whatever takes one is told that there is none. */
static void try_without_descriptors(struct fs_guest *guest, uint64_t nodeid, uint64_t fh)
{
    struct fuse_mkdir_in folder = {.mode = 0755};
    struct fuse_setattr_in size = {.valid = FATTR_SIZE, .size = 5};
    struct fuse_attr_out attr;
    const struct fs_guest_call truncate = {.opcode = FUSE_SETATTR,
                                           .nodeid = nodeid,
                                           .args = &size,
                                           .args_len = sizeof(size),
                                           .reply = &attr,
                                           .room = sizeof(attr)};
    struct fuse_entry_out entry;
    uint64_t other;
    char buf[16];

    g_assert_cmpint(fs_guest_open(guest, FUSE_OPEN, nodeid, O_RDONLY, &other), ==, -EMFILE);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPENDIR, FUSE_ROOT_ID, O_RDONLY, &other), ==,
                    -EMFILE);
    g_assert_cmpint(fs_guest_create(guest, FUSE_ROOT_ID, "file", O_RDWR, &entry, &other), ==,
                    -EMFILE);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "unknown", &entry), ==, -EMFILE);
    g_assert_cmpint(fs_guest_make(guest, FUSE_MKDIR, FUSE_ROOT_ID, &folder, sizeof(folder),
                                  "unknown", NULL, &entry),
                    ==, -EEXIST);
    g_assert_cmpint(fs_guest_call(guest, &truncate), ==, -EMFILE);
    g_assert_cmpint(lock(guest, FUSE_SETLK, fh, 7), ==, -ENOLCK);
    /* What takes none goes on. */
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "file", &entry), ==, 0);
    g_assert_cmpint(fs_guest_read(guest, FUSE_READ, fh, buf, sizeof(buf)), ==, 7);
    g_assert_cmpint(lock(guest, FUSE_SETLK, fh, 1), ==, 0);
}

static void test_descriptors(struct fs_guest *guest)
{
    struct rlimit before, none;
    struct fuse_entry_out entry;
    unsigned n_before, top;
    uint64_t fh, other;

    g_assert_cmpint(fs_guest_init_with(guest, FUSE_POSIX_LOCKS), ==, 0);
    n_before = count_descriptors(guest, &top);
    fs_guest_write_file(guest, "file", "inside\n");
    fs_guest_make_folder(guest, "unknown");
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "file", &entry), ==, 0);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPEN, entry.nodeid, O_RDWR, &fh), ==, 0);
    g_assert_cmpint(lock(guest, FUSE_SETLK, fh, 1), ==, 0);
    /* No number below the limit is free: holes are filled first. */
    while (count_descriptors(guest, &top) < top)
        g_assert_cmpint(fs_guest_open(guest, FUSE_OPEN, entry.nodeid, O_RDONLY, &other), ==, 0);
    if (prlimit(daemon_pid(guest), RLIMIT_NOFILE, NULL, &before) < 0) {
        g_test_skip("the limits of another user's daemon cannot be set");
        return;
    }
    none = (struct rlimit){top, before.rlim_max};
    g_assert_cmpint(prlimit(daemon_pid(guest), RLIMIT_NOFILE, &none, NULL), ==, 0);
    try_without_descriptors(guest, entry.nodeid, fh);
    g_assert_cmpint(prlimit(daemon_pid(guest), RLIMIT_NOFILE, &before, NULL), ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "unknown", &entry), ==, 0);
    check_returned(guest, n_before);
}

/* --- locks --- */

static void test_lock_owners(struct fs_guest *guest)
{
    struct fuse_entry_out entry;
    unsigned n_before, top, n = 0;
    uint64_t fh;
    int ret;

    g_assert_cmpint(fs_guest_init_with(guest, FUSE_POSIX_LOCKS), ==, 0);
    n_before = count_descriptors(guest, &top);
    g_assert_cmpint(fs_guest_create(guest, FUSE_ROOT_ID, "file", O_RDWR, &entry, &fh), ==, 0);
    while ((ret = lock(guest, FUSE_SETLK, fh, n)) == 0)
        g_assert_cmpuint(++n, <, 256);
    g_assert_cmpint(ret, ==, -ENOLCK);
    g_assert_cmpuint(n, >, 4);
    g_assert_cmpint(lock(guest, FUSE_SETLKW, fh, n), ==, -ENOLCK);
    g_assert_cmpint(lock(guest, FUSE_SETLK, fh, n - 1), ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "file", &entry), ==, 0);
    check_returned(guest, n_before);
}

/* Sends a wait for a byte of the file, and does not wait for its answer. */
static void begin_wait(struct fs_guest *guest, uint64_t fh, unsigned index)
{
    const struct {
        struct fuse_in_header header;
        struct fuse_lk_in in;
    } request = {
        {.len = sizeof(request), .opcode = FUSE_SETLKW, .unique = 1000 + index},
        {.fh = fh, .owner = index, .lk = {index, index, F_WRLCK, 1}},
    };
    const uint32_t out_at = 1024 + index * (uint32_t)sizeof(request), in_at = 1024 + index * 16;
    const struct vu_sg sg[] = {{guest->out_gpa + out_at, sizeof(request)},
                               {guest->in_gpa + in_at, sizeof(struct fuse_out_header)}};

    memcpy(guest->out + out_at, &request, sizeof(request));
    g_assert_cmpint(vu_driver_add(guest->queue, sg, 1, 1, guest), ==, 0);
    vu_driver_kick(guest->queue);
}

/* Requests that wait for ever when the guest is gone: they end with it, and hold nothing. */
static void test_waits(struct fs_guest *guest)
{
    g_autofree char *path = fs_guest_path(guest, "file");
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct fuse_entry_out entry;
    unsigned n_before, top;
    uint64_t fh;
    int fd;

    g_assert_cmpint(fs_guest_init_with(guest, FUSE_POSIX_LOCKS), ==, 0);
    n_before = count_descriptors(guest, &top);
    g_assert_cmpint(fs_guest_create(guest, FUSE_ROOT_ID, "file", O_RDWR, &entry, &fh), ==, 0);
    fd = open(path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(fcntl(fd, F_OFD_SETLK, &all), ==, 0);
    for (unsigned i = 0; i < LIMITS_WAITS; i++)
        begin_wait(guest, fh, i);
    g_usleep(20000);
    check_returned(guest, n_before);
    all.l_type = F_UNLCK;
    g_assert_cmpint(fcntl(fd, F_OFD_SETLK, &all), ==, 0);
    all.l_type = F_WRLCK;
    g_assert_cmpint(fcntl(fd, F_OFD_SETLK, &all), ==, 0);
    close(fd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fs_guest_add_with("hostile-limits/descriptors", "--posix-lock --inode-file-handles=never",
                      test_descriptors);
    fs_guest_add_with("hostile-limits/lock-owners", "--posix-lock --rlimit-nofile=256",
                      test_lock_owners);
    fs_guest_add_with("hostile-limits/waits", "--posix-lock", test_waits);
    return g_test_run();
}
