/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places that are not what they were a moment ago: names that the host swaps for links and FIFOs
 * while the guest uses them, folders moved out of the share, other file systems below it, and the
 * magic links of /proc.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs-guest.h"

#define PLACES_RACE_MS 700

static bool places_may_mount; /* the test has a mount namespace of its own */

/* --- races --- */

/* Exchanges two names of the share as fast as it can. */
struct swapper {
    int share_fd;
    const char *a, *b;
    bool stop; /* atomic */
    pthread_t thread;
};

static void *swapper_run(void *opaque)
{
    struct swapper *swapper = opaque;

    while (!__atomic_load_n(&swapper->stop, __ATOMIC_RELAXED))
        g_assert_cmpint(renameat2(swapper->share_fd, swapper->a, swapper->share_fd, swapper->b,
                                  RENAME_EXCHANGE),
                        ==, 0);
    return NULL;
}

static void swapper_start(struct swapper *swapper, const struct fs_guest *guest, const char *a,
                          const char *b)
{
    *swapper = (struct swapper){
        .share_fd = open(guest->share, O_PATH | O_DIRECTORY | O_CLOEXEC), .a = a, .b = b};
    g_assert_cmpint(pthread_create(&swapper->thread, NULL, swapper_run, swapper), ==, 0);
}

static void swapper_stop(struct swapper *swapper)
{
    __atomic_store_n(&swapper->stop, true, __ATOMIC_RELAXED);
    pthread_join(swapper->thread, NULL);
    close(swapper->share_fd);
}

static void host_symlink(const struct fs_guest *guest, const char *target, const char *name)
{
    g_autofree char *path = fs_guest_path(guest, name);

    g_assert_cmpint(symlink(target, path), ==, 0);
}

/* Reads the nodeid if it can be opened: what is in it must be the share's. */
static void expect_inside(struct fs_guest *guest, uint64_t nodeid)
{
    char text[64] = "";
    uint64_t fh;
    int ret = fs_guest_open(guest, FUSE_OPEN, nodeid, O_RDWR, &fh);

    if (ret < 0) {
        g_assert_true(ret == -ELOOP || ret == -EOPNOTSUPP);
        return;
    }
    ret = fs_guest_read(guest, FUSE_READ, fh, text, sizeof(text) - 1);
    g_assert_cmpint(ret, >=, 0);
    g_assert_true(ret == 0 || g_str_has_prefix(text, "inside"));
    g_assert_cmpint(fs_guest_release(guest, FUSE_RELEASE, fh), ==, 0);
}

/* A file that is a link to the secret half of the time: looked up, opened, created upon. */
static void use_file(struct fs_guest *guest)
{
    struct fuse_entry_out entry;
    uint64_t fh;
    int ret = fs_guest_lookup(guest, FUSE_ROOT_ID, "name", &entry);

    g_assert_cmpint(ret, ==, 0);
    expect_inside(guest, entry.nodeid);
    fs_guest_forget(guest, entry.nodeid, 1);
    ret = fs_guest_create(guest, FUSE_ROOT_ID, "name", O_RDWR | O_TRUNC, &entry, &fh);
    g_assert_true(ret == 0 || ret == -ESTALE || ret == -EEXIST || ret == -ENOENT);
    if (ret == 0) {
        g_assert_cmphex(entry.attr.mode & S_IFMT, ==, S_IFREG);
        g_assert_cmpint(fs_guest_release(guest, FUSE_RELEASE, fh), ==, 0);
        fs_guest_forget(guest, entry.nodeid, 1);
    }
}

/* "new" in the folder goes through the operations with two names and comes to its end. */
static void use_names_below(struct fs_guest *guest, uint64_t nodeid)
{
    const struct fuse_rename_in into = {.newdir = nodeid}, out_of = {.newdir = FUSE_ROOT_ID};
    struct fuse_link_in link_in;
    struct fuse_entry_out entry;

    g_assert_cmpint(
        fs_guest_make(guest, FUSE_RENAME, nodeid, &out_of, sizeof(out_of), "new", "moved", NULL),
        ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "moved", &entry), ==, 0);
    link_in.oldnodeid = entry.nodeid;
    g_assert_cmpint(
        fs_guest_make(guest, FUSE_RENAME, FUSE_ROOT_ID, &into, sizeof(into), "moved", "new", NULL),
        ==, 0);
    g_assert_cmpint(
        fs_guest_make(guest, FUSE_LINK, nodeid, &link_in, sizeof(link_in), "again", NULL, &entry),
        ==, 0);
    fs_guest_forget(guest, entry.nodeid, 2);
    g_assert_cmpint(fs_guest_make(guest, FUSE_UNLINK, nodeid, NULL, 0, "again", NULL, NULL), ==, 0);
    g_assert_cmpint(fs_guest_make(guest, FUSE_UNLINK, nodeid, NULL, 0, "new", NULL, NULL), ==, 0);
}

/* A folder that is a link to the outside half of the time. */
static void use_folder(struct fs_guest *guest)
{
    struct fuse_entry_out folder, below;
    uint64_t fh;

    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "name", &folder), ==, 0);
    if (S_ISDIR(folder.attr.mode)) {
        g_assert_cmpint(fs_guest_lookup(guest, folder.nodeid, "secret", &below), ==, 0);
        expect_inside(guest, below.nodeid);
        fs_guest_forget(guest, below.nodeid, 1);
        g_assert_cmpint(fs_guest_create(guest, folder.nodeid, "new", O_RDWR, &below, &fh), ==, 0);
        g_assert_cmpint(fs_guest_release(guest, FUSE_RELEASE, fh), ==, 0);
        fs_guest_forget(guest, below.nodeid, 1);
        use_names_below(guest, folder.nodeid);
    } else {
        g_assert_cmpint(fs_guest_lookup(guest, folder.nodeid, "secret", &below), ==, -ENOTDIR);
        g_assert_cmpint(fs_guest_open(guest, FUSE_OPENDIR, folder.nodeid, O_RDONLY, &fh), ==,
                        -ENOTDIR);
    }
    fs_guest_forget(guest, folder.nodeid, 1);
}

static void race(struct fs_guest *guest, void (*use)(struct fs_guest *guest))
{
    gint64 end = g_get_monotonic_time() + PLACES_RACE_MS * G_TIME_SPAN_MILLISECOND;
    struct swapper swapper;
    unsigned n = 0;

    swapper_start(&swapper, guest, "name", "other");
    while (g_get_monotonic_time() < end) {
        use(guest);
        n++;
    }
    swapper_stop(&swapper);
    g_test_message("%u rounds", n);
}

static void test_race_file(struct fs_guest *guest)
{
    g_autofree char *secret = fs_guest_outside_path(guest, "secret");
    g_autofree char *other = fs_guest_path(guest, "other");

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_write_file(guest, "name", "inside\n");
    host_symlink(guest, secret, "other");
    race(guest, use_file);
    g_assert_cmpint(remove(other), ==, 0);
    g_assert_cmpint(mkfifo(other, 0666), ==, 0);
    race(guest, use_file);
}

static void test_race_folder(struct fs_guest *guest)
{
    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_make_folder(guest, "name");
    fs_guest_write_file(guest, "name/secret", "inside\n");
    host_symlink(guest, guest->outside, "other");
    race(guest, use_folder);
}

/* --- a folder that leaves --- */

/*
 * Like a process whose working directory was moved: what the guest holds stays usable, and what
 * lies below it, and no way leads up.
 */
static void test_moved_out(struct fs_guest *guest)
{
    g_autofree char *here = fs_guest_path(guest, "folder");
    g_autofree char *there = fs_guest_outside_path(guest, "moved");
    struct fuse_rename2_in exchange = {.newdir = FUSE_ROOT_ID};
    struct fuse_entry_out folder, sub, entry;
    char names[4096];
    uint64_t fh;

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_make_folder(guest, "folder");
    fs_guest_make_folder(guest, "folder/sub");
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "folder", &folder), ==, 0);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPENDIR, folder.nodeid, O_RDONLY, &fh), ==, 0);
    g_assert_cmpint(rename(here, there), ==, 0);

    g_assert_cmpint(fs_guest_read(guest, FUSE_READDIR, fh, names, sizeof(names)), >, 0);
    g_assert_cmpint(fs_guest_release(guest, FUSE_RELEASEDIR, fh), ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, folder.nodeid, "sub", &sub), ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, folder.nodeid, "..", &entry), ==, -EINVAL);
    g_assert_cmpint(fs_guest_lookup(guest, folder.nodeid, "../secret", &entry), ==, -EINVAL);
    g_assert_cmpint(fs_guest_lookup(guest, sub.nodeid, "..", &entry), ==, -EINVAL);
    g_assert_cmpint(fs_guest_lookup(guest, folder.nodeid, "secret", &entry), ==, -ENOENT);
    g_assert_cmpint(fs_guest_make(guest, FUSE_RENAME2, folder.nodeid, &exchange, sizeof(exchange),
                                  "../secret", "stolen", NULL),
                    ==, -EINVAL);
    /* What is inside can be brought back. */
    g_assert_cmpint(fs_guest_make(guest, FUSE_RENAME2, folder.nodeid, &exchange, sizeof(exchange),
                                  "sub", "sub", NULL),
                    ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "folder", &entry), ==, -ENOENT);
    fs_guest_forget(guest, folder.nodeid, 1);
    g_assert_cmpint(fs_guest_lookup(guest, folder.nodeid, "sub", &entry), ==, -ESTALE);
    g_assert_cmpint(rmdir(there), ==, 0);
}

/* --- other file systems --- */

static void test_submount(struct fs_guest *guest)
{
    struct fuse_rename_in rename_in = {.newdir = 0};
    struct fuse_link_in link_in;
    struct fuse_entry_out file, folder, entry;
    g_autofree char *path = fs_guest_path(guest, "mnt");
    uint64_t fh;

    if (!places_may_mount) {
        g_test_skip("takes root, to mount something");
        return;
    }
    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_make_folder(guest, "mnt");
    /* After the daemon has started: what the host mounts is seen all the same. */
    g_assert_cmpint(mount("none", path, "tmpfs", 0, "mode=0777"), ==, 0);
    fs_guest_write_file(guest, "file", "inside\n");
    fs_guest_write_file(guest, "mnt/other", "inside\n");
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "file", &file), ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "mnt", &folder), ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, folder.nodeid, "other", &entry), ==, 0);
    expect_inside(guest, entry.nodeid);
    link_in.oldnodeid = file.nodeid;
    g_assert_cmpint(fs_guest_make(guest, FUSE_LINK, folder.nodeid, &link_in, sizeof(link_in), "l",
                                  NULL, &entry),
                    ==, -EXDEV);
    rename_in.newdir = folder.nodeid;
    g_assert_cmpint(fs_guest_make(guest, FUSE_RENAME, FUSE_ROOT_ID, &rename_in, sizeof(rename_in),
                                  "file", "file", NULL),
                    ==, -EXDEV);
    g_assert_cmpint(fs_guest_make(guest, FUSE_RMDIR, FUSE_ROOT_ID, NULL, 0, "mnt", NULL, NULL), ==,
                    -EBUSY);
    g_assert_cmpint(fs_guest_create(guest, folder.nodeid, "new", O_RDWR, &entry, &fh), ==, 0);
    g_assert_cmpint(fs_guest_release(guest, FUSE_RELEASE, fh), ==, 0);
    fs_guest_reconnect(guest); /* lets go of all */
    g_assert_cmpint(umount2(path, MNT_DETACH), ==, 0);
}

/* Links of /proc do not hold a path but lead straight to what they stand for. */
static void test_magic_links(struct fs_guest *guest)
{
    static const char *const links[] = {"cwd", "root", "exe"};
    g_autofree char *path = fs_guest_path(guest, "proc"), *self = g_strdup_printf("%d", getpid());
    struct fuse_entry_out proc, process, fds, link, entry;
    uint64_t fh;

    if (!places_may_mount) {
        g_test_skip("takes root, to mount something");
        return;
    }
    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_make_folder(guest, "proc");
    g_assert_cmpint(mount("/proc", path, NULL, MS_BIND, NULL), ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "proc", &proc), ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, proc.nodeid, "self", &link), ==, 0);
    g_assert_cmphex(link.attr.mode & S_IFMT, ==, S_IFLNK);
    g_assert_cmpint(fs_guest_lookup(guest, proc.nodeid, self, &process), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(links); i++) {
        g_assert_cmpint(fs_guest_lookup(guest, process.nodeid, links[i], &link), ==, 0);
        g_assert_cmphex(link.attr.mode & S_IFMT, ==, S_IFLNK);
        g_assert_cmpint(fs_guest_open(guest, FUSE_OPEN, link.nodeid, O_RDONLY, &fh), ==, -ELOOP);
        g_assert_cmpint(fs_guest_open(guest, FUSE_OPENDIR, link.nodeid, O_RDONLY, &fh), ==,
                        -ENOTDIR);
        g_assert_cmpint(fs_guest_lookup(guest, link.nodeid, "etc", &entry), ==, -ENOTDIR);
        g_assert_cmpint(fs_guest_create(guest, link.nodeid, "new", O_RDWR, &entry, &fh), ==,
                        -ENOTDIR);
    }
    /* Open files of a process: 0 is whatever the test reads from. */
    if (guest->mode->uid == 0) {
        g_assert_cmpint(fs_guest_lookup(guest, process.nodeid, "fd", &fds), ==, 0);
        g_assert_cmpint(fs_guest_lookup(guest, fds.nodeid, "0", &link), ==, 0);
        g_assert_cmphex(link.attr.mode & S_IFMT, ==, S_IFLNK);
        g_assert_cmpint(fs_guest_open(guest, FUSE_OPEN, link.nodeid, O_RDONLY, &fh), ==, -ELOOP);
        g_assert_cmpint(fs_guest_create(guest, fds.nodeid, "0", O_RDWR, &entry, &fh), <, 0);
    }
    fs_guest_reconnect(guest);
    g_assert_cmpint(umount2(path, MNT_DETACH), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* Shared, so that the daemon's own namespace hears of what is mounted, and nobody else. */
    places_may_mount = unshare(CLONE_NEWNS) == 0 &&
                       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                       mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) == 0;
    fs_guest_add("escape/race-file", test_race_file);
    fs_guest_add("escape/race-folder", test_race_folder);
    fs_guest_add("escape/moved-out", test_moved_out);
    fs_guest_add("escape/submount", test_submount);
    fs_guest_add("escape/magic-links", test_magic_links);
    return g_test_run();
}
