/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inode-adopt.c, handle.c, share.c: what a predecessor has left is found again by whatever name the
 * mount of the directory goes, time after time; and a start that fails leaves it for the next one.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fs-succession.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

#define ROOT FUSE_ROOT_ID

static void assert_has(uint64_t dir, uint64_t file, uint64_t fh)
{
    struct fuse_entry_out entry;
    uint64_t size = 0;
    char buf[8];

    g_assert_cmpint(fs_succession_get_size(file, &size), ==, 0);
    g_assert_cmpuint(size, ==, 5);
    g_assert_cmpint(fs_client_read(&fs_succession, fh, 0, buf, sizeof(buf)), ==, 5);
    g_assert_cmpint(memcmp(buf, "words", 5), ==, 0);
    g_assert_cmpint(fs_client_lookup(&fs_succession, dir, "f", &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, ==, file);
}

static void make_file(uint64_t *ret_dir, uint64_t *ret_file, uint64_t *ret_fh)
{
    g_assert_cmpint(fs_client_mkdir(&fs_succession, ROOT, "d", ret_dir), ==, 0);
    g_assert_cmpint(fs_client_create(&fs_succession, *ret_dir, "f", O_RDWR, ret_file, ret_fh), ==,
                    0);
    g_assert_cmpint(fs_client_write(&fs_succession, *ret_fh, 0, "words", 5, O_RDWR), ==, 5);
}

/* Each sandbox has a mount of its own; here there are two, and one takes the other's place. */
static void test_mounts(gconstpointer data)
{
    void (*const succeed)(void) = GPOINTER_TO_INT(data) ? fs_succession_end : fs_succession_kill;
    g_autofree char *other = NULL;
    uint64_t dir, file, fh;

    if (!fs_succession_set_up())
        return;
    other = g_strconcat(fs_succession.dir, ".mount", NULL);
    g_assert_cmpint(g_mkdir(other, 0700), ==, 0);
    if (mount(fs_succession.dir, other, NULL, MS_BIND, NULL) == 0) {
        char *dirs[] = {fs_succession.dir, other};

        make_file(&dir, &file, &fh);
        for (unsigned i = 1; i <= 6; i++) {
            fs_succession.dir = dirs[i % 2];
            succeed();
            assert_has(dir, file, fh);
        }
        g_assert_cmpint(umount2(other, MNT_DETACH), ==, 0);
    } else {
        g_test_skip("no mounts here");
    }
    fs_succession_tear_down();
    g_assert_cmpint(g_rmdir(other), ==, 0);
}

static uint32_t count_mounts(void)
{
    struct fs_inodes_usage usage;

    fs_inodes_get_usage(fs_succession.share.inodes, &usage);
    return usage.n_mounts;
}

/* As two threads that look up the same at once. */
static void look_up_again(const char *path, uint64_t nodeid)
{
    vu_autofd int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct fs_inodes *inodes = fs_succession.share.inodes;
    struct fs_inode *inode;
    struct statx stx;

    g_assert_cmpint(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &stx), ==, 0);
    g_assert_cmpint(fs_inode_find_or_add(inodes, &stx, &fd, 1, &inode), ==, 0);
    g_assert_cmpuint(fs_inode_nodeid(inodes, inode), ==, nodeid);
    fs_inode_put(inodes, inode);
}

/* Of a file system that is mounted below the directory: its mount has another number each time. */
static void test_submount(void)
{
    g_autofree char *path = NULL;
    struct fuse_entry_out entry;
    uint64_t dir, file, fh, size;

    if (!fs_succession_set_up())
        return;
    make_file(&dir, &file, &fh);
    path = fs_client_path(&fs_succession, "d");
    if (mount("tmpfs", path, "tmpfs", 0, NULL) == 0) {
        g_assert_cmpint(fs_client_lookup(&fs_succession, ROOT, "d", &entry), ==, 0);
        g_assert_cmpuint(entry.nodeid, !=, dir);
        g_assert_cmpuint(fs_inodes_count(fs_succession.share.inodes), ==, 4);
        look_up_again(path, entry.nodeid);
        g_assert_cmpuint(count_mounts(), ==, 2);
        fs_client_forget(&fs_succession, entry.nodeid, 2);
        g_assert_cmpuint(count_mounts(), ==, 1);
        g_assert_cmpint(fs_client_lookup(&fs_succession, ROOT, "d", &entry), ==, 0);
        fs_succession_kill();
        g_assert_cmpuint(fs_inodes_count(fs_succession.share.inodes), ==, 3);
        g_assert_cmpint(fs_succession_get_size(entry.nodeid, &size), ==, -ESTALE);
        g_assert_cmpint(umount2(path, MNT_DETACH), ==, 0);
        assert_has(dir, file, fh);
    } else {
        g_test_skip("no mounts here");
    }
    fs_succession_tear_down();
}

/* One more descriptor each time, until there are enough; by two mounts in turns. How often there
 * were not. */
static unsigned open_with_few(struct fs_share_place *place, const int *root_fds)
{
    int lowest = fcntl(root_fds[0], F_DUPFD_CLOEXEC, 0);
    struct rlimit all, few;
    bool is_open = false;
    unsigned n = 0;

    close(lowest);
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &all), ==, 0);
    while (!is_open) {
        GError *error = NULL;

        place->root_fd = root_fds[n % 2];
        few = (struct rlimit){(rlim_t)lowest + n, all.rlim_max};
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &few), ==, 0);
        is_open = fs_share_open(&fs_succession.share, &fs_succession.options, place, &error);
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &all), ==, 0);
        g_assert_cmpint(error == NULL, ==, is_open);
        g_clear_error(&error);
        n += !is_open;
    }
    return n;
}

static int open_folder(const char *path)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static void test_few_descriptors(void)
{
    struct fs_share_place place = {.proc_fds = -1};
    g_autofree char *other = NULL;
    uint64_t dir, file, fh;
    GError *error = NULL;
    int root_fds[2];

    if (!fs_succession_set_up())
        return;
    other = g_strconcat(fs_succession.dir, ".mount", NULL);
    g_assert_cmpint(g_mkdir(other, 0700), ==, 0);
    make_file(&dir, &file, &fh);
    fs_share_leave(&fs_succession.share);
    fs_succession_close();
    fs_succession_open_file();
    root_fds[0] = open_folder(fs_succession.dir);
    /* Where there are no mounts, the same again. */
    root_fds[1] = open_folder(
        mount(fs_succession.dir, other, NULL, MS_BIND, NULL) == 0 ? other : fs_succession.dir);
    place.proc_fds = open_folder("/proc/self/fd");
    place.state = fs_succession.state;
    g_assert_true(fs_fd_budget_take(fs_succession.options.rlimit_nofile, &place.budget, &error));
    g_assert_cmpuint(open_with_few(&place, root_fds), >, 5);
    g_assert_true(fs_share_is_initialised(&fs_succession.share));
    assert_has(dir, file, fh);
    umount2(other, MNT_DETACH);
    fs_succession_tear_down();
    g_assert_cmpint(g_rmdir(other), ==, 0);
    close(root_fds[0]);
    close(root_fds[1]);
    close(place.proc_fds);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    /* A world of its own; where that is not to be had, there are no mounts either. */
    if (unshare(CLONE_NEWNS) == 0)
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    g_test_add_data_func("/fs-adoption/mounts/killed", GINT_TO_POINTER(0), test_mounts);
    g_test_add_data_func("/fs-adoption/mounts/ended", GINT_TO_POINTER(1), test_mounts);
    g_test_add_func("/fs-adoption/submount", test_submount);
    g_test_add_func("/fs-adoption/few-descriptors", test_few_descriptors);
    return g_test_run();
}
