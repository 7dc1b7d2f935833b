/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that walks a tree of a million files, remembers all of them, and asks again for any: with
 * 1,024 descriptors, a bounded number of bytes for each, in every way of isolating the daemon.
 * Where files cannot be opened by handles, or must not be, it is refused at some point, and no
 * more.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fs-guest.h"

#define MANY_N_FDS      1024
#define MANY_PER_FOLDER 1000
#define MANY_BYTES_MAX  128 /* of the daemon's memory, for each inode */
#define MANY_SHM        "/dev/shm"

/* What the guest knows. */
struct many {
    struct fs_guest *guest;
    unsigned n_made, n_known, n_refused;
    uint64_t *nodeids, *inos;
    unsigned max_fds; /* most descriptors that the daemon was seen to have */
};

/* --- the daemon, from outside --- */

/* The process that serves: in a sandbox it is a child, or a child's child. */
static int daemon_pid(int pid)
{
    for (;;) {
        g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", pid, pid),
                        *text = NULL;

        if (!g_file_get_contents(path, &text, NULL, NULL) || !text[0])
            return pid;
        pid = (int)g_ascii_strtoll(text, NULL, 10);
    }
}

static unsigned daemon_n_fds(int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    unsigned n = 0;

    if (!dir)
        return 0; /* nobody's business but its own */
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

static uint64_t daemon_resident(int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", pid), *text = NULL;
    const char *line;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    line = strstr(text, "VmRSS:");
    g_assert_nonnull(line);
    return g_ascii_strtoull(line + 6, NULL, 10) * 1024;
}

/* --- the share --- */

/* Whether this process could do without descriptors: then so can a daemon of root's. */
static bool handles_work(const struct fs_guest *guest)
{
    union {
        struct file_handle head;
        char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } handle = {.head.handle_bytes = MAX_HANDLE_SZ};
    int dir = open(guest->share, O_RDONLY | O_DIRECTORY | O_CLOEXEC), mount_id, fd;

    if (name_to_handle_at(dir, "", &handle.head, &mount_id, AT_EMPTY_PATH) < 0)
        fd = -1;
    else
        fd = open_by_handle_at(dir, &handle.head, O_PATH | O_CLOEXEC);
    close(dir);
    if (fd >= 0)
        close(fd);
    return fd >= 0 && guest->mode->uid == 0;
}

/* Empty files, as many as the file system takes. */
static void make_tree(struct many *many, unsigned n)
{
    int share = open(many->guest->share, O_PATH | O_DIRECTORY | O_CLOEXEC), folder = -1;

    for (unsigned i = 0; i < n; i++, many->n_made++) {
        char name[16];
        int fd;

        g_snprintf(name, sizeof(name), "%u", i);
        if (i % MANY_PER_FOLDER == 0) {
            close(folder);
            g_assert_cmpint(mkdirat(share, name, 0755), ==, 0);
            folder = openat(share, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        }
        fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0 && errno == ENOSPC)
            break;
        g_assert_cmpint(fd, >=, 0);
        close(fd);
    }
    close(folder);
    close(share);
}

/* --- the guest --- */

/* Takes what a READDIRPLUS said. Returns the last offset. */
static uint64_t take_entries(struct many *many, const char *buf, size_t len)
{
    struct fuse_direntplus entry;
    uint64_t offset = 0;

    for (size_t at = 0; at < len; at += FUSE_DIRENTPLUS_SIZE(&entry)) {
        memcpy(&entry, buf + at, sizeof(entry));
        offset = entry.dirent.off;
        if (buf[at + sizeof(entry)] == '.')
            continue;
        if (entry.entry_out.nodeid == 0) {
            many->n_refused++;
            continue;
        }
        g_assert_cmpuint(entry.entry_out.attr.ino, ==, entry.dirent.ino);
        many->nodeids[many->n_known] = entry.entry_out.nodeid;
        many->inos[many->n_known++] = entry.dirent.ino;
    }
    return offset;
}

/* READDIRPLUS from front to end; the guest does not forget anything. 0 or -errno. */
static int walk_folder(struct many *many, uint64_t nodeid)
{
    struct fuse_read_in in = {.size = FS_GUEST_BUF - 4096};
    g_autofree char *buf = g_malloc(in.size);
    const struct fs_guest_call call = {.opcode = FUSE_READDIRPLUS,
                                       .nodeid = nodeid,
                                       .args = &in,
                                       .args_len = sizeof(in),
                                       .reply = buf,
                                       .room = in.size};
    int ret = fs_guest_open(many->guest, FUSE_OPENDIR, nodeid, O_RDONLY, &in.fh);

    if (ret < 0)
        return ret;
    while ((ret = fs_guest_call(many->guest, &call)) > 0)
        in.offset = take_entries(many, buf, (size_t)ret);
    g_assert_cmpint(fs_guest_release(many->guest, FUSE_RELEASEDIR, in.fh), ==, 0);
    return ret;
}

static void walk_tree(struct many *many)
{
    int pid = daemon_pid(many->guest->pid);
    unsigned n_folders;

    many->nodeids = g_new(uint64_t, many->n_made + many->n_made / MANY_PER_FOLDER + 1);
    many->inos = g_new(uint64_t, many->n_made + many->n_made / MANY_PER_FOLDER + 1);
    g_assert_cmpint(walk_folder(many, FUSE_ROOT_ID), ==, 0);
    n_folders = many->n_known;
    for (unsigned i = 0; i < n_folders; i++) {
        unsigned n_fds;

        g_assert_cmpint(walk_folder(many, many->nodeids[i]), ==, 0);
        n_fds = daemon_n_fds(pid);
        many->max_fds = MAX(many->max_fds, n_fds);
    }
}

/* Some of those that are known, in no order: each is what it was. */
static void ask_again(struct many *many, unsigned n)
{
    struct fuse_getattr_in in = {0};
    struct fuse_attr_out out;

    for (unsigned i = 0; i < n; i++) {
        unsigned at = (unsigned)g_test_rand_int_range(0, (gint32)many->n_known);
        const struct fs_guest_call call = {.opcode = FUSE_GETATTR,
                                           .nodeid = many->nodeids[at],
                                           .args = &in,
                                           .args_len = sizeof(in),
                                           .reply = &out,
                                           .room = sizeof(out)};

        g_assert_cmpint(fs_guest_call(many->guest, &call), ==, sizeof(out));
        g_assert_cmpuint(out.attr.ino, ==, many->inos[at]);
    }
}

static void many_clear(struct many *many)
{
    g_free(many->nodeids);
    g_free(many->inos);
}

/* --- tests --- */

static void walk(struct fs_guest *guest, unsigned n, unsigned n_again)
{
    struct many many = {.guest = guest};
    int pid = daemon_pid(guest->pid);
    bool by_handle = handles_work(guest);
    uint64_t before, bytes;

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    make_tree(&many, by_handle ? n : MIN(n, 2000));
    before = daemon_resident(pid);
    walk_tree(&many);
    ask_again(&many, n_again);
    bytes = daemon_resident(pid) - before;
    g_test_message("%u files, %u known, %u refused; at most %u descriptors, %.0f bytes for each",
                   many.n_made, many.n_known, many.n_refused, many.max_fds,
                   (double)bytes / many.n_known);
    g_assert_cmpuint(many.max_fds, <, MANY_N_FDS);
    if (by_handle) {
        g_assert_cmpuint(many.n_refused, ==, 0);
        g_assert_cmpuint(many.n_known, >=, many.n_made);
        if (many.n_made >= 100000)
            g_assert_cmpuint(bytes / many.n_known, <=, MANY_BYTES_MAX);
    } else {
        g_assert_cmpuint(many.n_refused, >, 0);
        g_assert_cmpuint(many.n_known, >, MANY_N_FDS / 8);
    }
    many_clear(&many);
}

static void test_million(struct fs_guest *guest)
{
    walk(guest, g_str_equal(guest->mode->name, "namespace") ? 1000000 : 20000, 20000);
}

static void test_thousands(struct fs_guest *guest)
{
    walk(guest, 20000, 5000);
}

/* As a C virtiofsd: what does not fit is refused, what is known stays. */
static void test_never(struct fs_guest *guest)
{
    struct many many = {.guest = guest};
    struct fuse_entry_out entry;

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    make_tree(&many, 3000);
    walk_tree(&many);
    g_assert_cmpuint(many.n_refused, >, 0);
    g_assert_cmpuint(many.max_fds, <, MANY_N_FDS);
    g_assert_cmpint(fs_guest_lookup(guest, many.nodeids[0], "no-such-name", &entry), ==, -ENOENT);
    ask_again(&many, 1000);
    for (unsigned i = 0; i < many.n_known; i++)
        fs_guest_forget(guest, many.nodeids[i], 1);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "0", &entry), ==, 0);
    many_clear(&many);
}

int main(int argc, char **argv)
{
    const char *asked = g_getenv("OUTBOARD_TMPDIR"), *memory = asked ? asked : MANY_SHM;
    struct statfs st;

    /* Files cost nothing there. */
    if (statfs(memory, &st) == 0 && access(memory, W_OK) == 0)
        g_setenv("TMPDIR", memory, TRUE);
    g_test_init(&argc, &argv, NULL);
    fs_guest_add_with("many-inodes/default", "--rlimit-nofile=1024", test_million);
    fs_guest_add_with("many-inodes/prefer", "--rlimit-nofile=1024 --inode-file-handles=prefer",
                      test_thousands);
    fs_guest_add_with("many-inodes/mandatory",
                      "--rlimit-nofile=1024 --inode-file-handles=mandatory", test_thousands);
    fs_guest_add_with("many-inodes/never", "--rlimit-nofile=1024 --inode-file-handles=never",
                      test_never);
    return g_test_run();
}
