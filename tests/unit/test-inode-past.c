/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inode-past.h and what --nfs-export promises: a nodeid that the guest has forgotten leads back to
 * its file by LOOKUP of "." alone, never to another, and as long as there is room.
 */
#include "virtiofsd/inode.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fs-many.h"
#include "tests/unit/open-fds.h"

#define ROOT FUSE_ROOT_ID

/* What is past, among all that has a record. */
static unsigned past_count(void)
{
    struct fs_inodes_usage usage;

    fs_inodes_get_usage(fs_many_fixture.share.inodes, &usage);
    return usage.n_past;
}

static void past_reset(void)
{
    fs_inodes_forget_all(fs_many_fixture.share.inodes);
    g_assert_cmpuint(past_count(), ==, 0);
    g_assert_cmpuint(fs_inodes_count(fs_many_fixture.share.inodes), ==, 1);
    fs_client_tear_down(&fs_many_fixture);
}

static int past_recall(uint64_t nodeid, struct fuse_entry_out *ret_entry)
{
    return fs_client_lookup(&fs_many_fixture, nodeid, ".", ret_entry);
}

static void test_recall(gconstpointer mode)
{
    struct fuse_entry_out entry, again;
    struct fuse_attr attr = {0};

    if (!fs_many_set_up_export((enum fs_inode_handles)GPOINTER_TO_INT(mode)))
        return;
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, ROOT, "f7", &entry), ==, 0);
    fs_client_forget(&fs_many_fixture, entry.nodeid, 1);
    g_assert_cmpuint(past_count(), ==, 1);
    g_assert_cmpint(fs_many_getattr(entry.nodeid, &attr), ==, -ESTALE);
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, entry.nodeid, "x", &again), ==, -ESTALE);
    fs_client_forget(&fs_many_fixture, entry.nodeid, 1);
    g_assert_cmpint(past_recall(entry.nodeid + (1ull << 32), &again), ==, -ESTALE);

    g_assert_cmpint(past_recall(entry.nodeid, &again), ==, 0);
    g_assert_cmpuint(again.nodeid, ==, entry.nodeid);
    g_assert_cmpuint(again.generation, ==, entry.generation);
    g_assert_cmpuint(again.attr.ino, ==, entry.attr.ino);
    g_assert_cmpint(fs_many_getattr(entry.nodeid, &attr), ==, 0);
    g_assert_cmpuint(past_count(), ==, 0);

    /* And by its name. */
    fs_client_forget(&fs_many_fixture, entry.nodeid, 1);
    g_assert_cmpint(fs_many_getattr(entry.nodeid, &attr), ==, -ESTALE);
    g_assert_cmpuint(fs_many_lookup("f7"), ==, entry.nodeid);
    g_assert_cmpint(fs_many_getattr(entry.nodeid, &attr), ==, 0);
    fs_client_forget(&fs_many_fixture, entry.nodeid, 1);

    fs_inodes_forget_all(fs_many_fixture.share.inodes);
    g_assert_cmpint(past_recall(entry.nodeid, &again), ==, -ESTALE);
    past_reset();
}

/* A directory, and the way up from one that is past. */
static void test_directories(void)
{
    g_autofree char *upper = NULL, *lower = NULL;
    struct fuse_entry_out entry, below, again;

    if (!fs_many_set_up_export(FS_INODE_HANDLES_AUTO))
        return;
    upper = fs_client_path(&fs_many_fixture, "upper");
    lower = fs_client_path(&fs_many_fixture, "upper/lower");
    g_assert_cmpint(mkdir(upper, 0700), ==, 0);
    g_assert_cmpint(mkdir(lower, 0700), ==, 0);
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, ROOT, "upper", &entry), ==, 0);
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, entry.nodeid, "lower", &below), ==, 0);
    fs_client_forget(&fs_many_fixture, entry.nodeid, 1);
    fs_client_forget(&fs_many_fixture, below.nodeid, 1);
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, below.nodeid, "..", &again), ==, 0);
    g_assert_cmpuint(again.nodeid, ==, entry.nodeid);
    g_assert_cmpint(past_recall(below.nodeid, &again), ==, 0);
    g_assert_cmpuint(again.nodeid, ==, below.nodeid);
    g_assert_cmpint(rmdir(lower), ==, 0);
    g_assert_cmpint(rmdir(upper), ==, 0);
    past_reset();
}

/* Its descriptor is closed with the FORGET, or with the last use. */
static void test_descriptors(void)
{
    struct fs_inodes *inodes;
    struct fs_inode *inode;
    uint64_t nodeid;
    unsigned n_fds;

    if (!fs_many_set_up_export(FS_INODE_HANDLES_AUTO))
        return;
    inodes = fs_many_fixture.share.inodes;
    n_fds = count_open_fds();
    nodeid = fs_many_lookup("f1");
    g_assert_cmpuint(count_open_fds(), ==, n_fds + 1);
    inode = fs_inode_get(inodes, nodeid);
    fs_client_forget(&fs_many_fixture, nodeid, 1);
    g_assert_cmpuint(count_open_fds(), ==, n_fds + 1);
    g_assert_cmpint(fcntl(fs_inode_fd(inodes, inode), F_GETFD), >=, 0);
    fs_inode_put(inodes, inode);
    g_assert_cmpuint(count_open_fds(), ==, n_fds);
    g_assert_cmpint(fs_inode_recall(inodes, nodeid, &inode), ==, 0);
    g_assert_cmpuint(count_open_fds(), ==, n_fds + 1);
    fs_inode_put(inodes, inode);
    g_assert_cmpuint(count_open_fds(), ==, n_fds);
    past_reset();
}

/* Removed while it was past, and its name and perhaps its number given to another. */
static void test_replaced(void)
{
    g_autofree char *path = NULL;
    struct fuse_entry_out entry, other;
    uint64_t old, other_old;
    struct stat st;

    if (!fs_many_set_up_export(FS_INODE_HANDLES_AUTO))
        return;
    path = fs_client_path(&fs_many_fixture, "x");
    g_assert_true(g_file_set_contents(path, "old", -1, NULL));
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, ROOT, "x", &entry), ==, 0);
    old = entry.nodeid;
    fs_client_forget(&fs_many_fixture, old, 1);
    g_assert_cmpint(unlink(path), ==, 0);
    close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_test_message("the number was%s reused", st.st_ino == entry.attr.ino ? "" : " not");
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, ROOT, "x", &other), ==, 0);
    g_assert_cmpuint(other.nodeid, !=, old);
    g_assert_cmpint(past_recall(old, &entry), ==, -ESTALE);
    g_assert_cmpuint(past_count(), ==, 0);

    other_old = other.nodeid;
    fs_client_forget(&fs_many_fixture, other_old, 1);
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_cmpuint(past_count(), ==, 1);
    g_assert_cmpint(past_recall(other_old, &entry), ==, -ESTALE);
    g_assert_cmpuint(past_count(), ==, 0);
    past_reset();
}

/* --- a bound and a table that are soon full --- */

enum { N_INODES = 20 };

static struct fs_inodes *small_inodes(uint32_t max_past)
{
    const struct fs_inodes_limits limits = {
        .n_inodes = N_INODES,
        .by_handle = true,
        .fds = {.n_fds = 100, .n_fds_aim = 100},
        .n_mounts = 2,
        .max_past = max_past,
    };
    struct fs_inodes *inodes = NULL;

    g_assert_cmpint(
        fs_inodes_create(open(fs_many_fixture.dir, O_PATH | O_CLOEXEC), &limits, &inodes), ==, 0);
    return inodes;
}

/* The nodeid of file number i, with a lookup counted; 0: no room. */
static uint64_t small_lookup(struct fs_inodes *inodes, unsigned i)
{
    g_autofree char *name = g_strdup_printf("f%u", i),
                    *path = fs_client_path(&fs_many_fixture, name);
    int fd = open(path, O_PATH | O_CLOEXEC), ret;
    struct fs_inode *inode;
    struct statx stx;
    uint64_t nodeid;

    g_assert_cmpint(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &stx), ==, 0);
    ret = fs_inode_find_or_add(inodes, &stx, &fd, 1, &inode);
    if (fd >= 0)
        close(fd);
    if (ret < 0) {
        g_assert_cmpint(ret, ==, -ENFILE);
        return 0;
    }
    nodeid = fs_inode_nodeid(inodes, inode);
    fs_inode_put(inodes, inode);
    return nodeid;
}

static bool small_knows(struct fs_inodes *inodes, uint64_t nodeid)
{
    struct fs_inode *inode;

    if (fs_inode_recall(inodes, nodeid, &inode) < 0)
        return false;
    fs_inode_put(inodes, inode);
    return true;
}

static void test_bound(void)
{
    uint64_t nodeids[N_INODES];
    struct fs_inodes *inodes;

    if (!fs_many_set_up(FS_INODE_HANDLES_AUTO))
        return;
    inodes = small_inodes(5);
    for (unsigned i = 0; i < 10; i++)
        nodeids[i] = small_lookup(inodes, i);
    for (unsigned i = 0; i < 10; i++)
        fs_inode_forget(inodes, nodeids[i], 1);
    for (unsigned i = 0; i < 10; i++)
        g_assert_cmpint(small_knows(inodes, nodeids[i]), ==, i >= 5);
    /* One that comes back from the middle is the youngest when it goes again. */
    g_assert_cmpuint(small_lookup(inodes, 6), ==, nodeids[6]);
    fs_inode_forget(inodes, nodeids[6], 1);
    for (unsigned i = 10; i < 14; i++)
        fs_inode_forget(inodes, small_lookup(inodes, i), 1);
    for (unsigned i = 5; i < 10; i++)
        g_assert_cmpint(small_knows(inodes, nodeids[i]), ==, i == 6);
    g_assert_cmpuint(fs_inodes_count(inodes), ==, 6);
    fs_inodes_destroy(inodes);
    fs_client_tear_down(&fs_many_fixture);
}

/* What is past never stands in the way of what is wanted now. */
static void test_full(void)
{
    uint64_t nodeids[2 * N_INODES];
    struct fs_inodes *inodes;

    if (!fs_many_set_up(FS_INODE_HANDLES_AUTO))
        return;
    inodes = small_inodes(N_INODES);
    for (unsigned i = 0; i < N_INODES - 1; i++)
        nodeids[i] = small_lookup(inodes, i);
    g_assert_true(fs_inodes_are_full(inodes));
    for (unsigned i = 0; i < N_INODES - 1; i++)
        fs_inode_forget(inodes, nodeids[i], 1);
    g_assert_false(fs_inodes_are_crowded(inodes));
    g_assert_false(fs_inodes_are_full(inodes));
    for (unsigned i = N_INODES; i < 2 * N_INODES - 1; i++) {
        nodeids[i] = small_lookup(inodes, i);
        g_assert_cmpuint(nodeids[i], !=, 0);
    }
    g_assert_true(fs_inodes_are_full(inodes));
    g_assert_cmpuint(small_lookup(inodes, 0), ==, 0);
    g_assert_false(small_knows(inodes, nodeids[N_INODES - 2]));
    fs_inodes_destroy(inodes);
    fs_client_tear_down(&fs_many_fixture);
}

/* --- threads --- */

static struct fs_inodes *race_inodes;

static void *race_thread(void *opaque)
{
    GRand *rand = g_rand_new_with_seed(GPOINTER_TO_UINT(opaque));

    for (unsigned i = 0; i < 4000; i++) {
        uint64_t nodeid = small_lookup(race_inodes, (unsigned)g_rand_int_range(rand, 0, 24));
        struct fs_inode *inode;

        if (!nodeid)
            continue;
        /* Our lookup is counted, so it cannot have gone. */
        inode = fs_inode_get(race_inodes, nodeid);
        g_assert_nonnull(inode);
        fs_inode_forget(race_inodes, nodeid, 1);
        g_assert_cmpint(fcntl(fs_inode_fd(race_inodes, inode), F_GETFD), >=, 0);
        fs_inode_put(race_inodes, inode);
        if (fs_inode_recall(race_inodes, nodeid, &inode) < 0)
            continue;
        g_assert_cmpint(fcntl(fs_inode_fd(race_inodes, inode), F_GETFD), >=, 0);
        fs_inode_put(race_inodes, inode);
    }
    g_rand_free(rand);
    return NULL;
}

/* More files than the bound, and than the table has room for at the worst. */
static void test_threads(void)
{
    struct fs_inodes_usage usage;
    pthread_t threads[4];

    if (!fs_many_set_up(FS_INODE_HANDLES_AUTO))
        return;
    race_inodes = small_inodes(8);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        g_assert_cmpint(pthread_create(&threads[i], NULL, race_thread, GUINT_TO_POINTER(i + 1)), ==,
                        0);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        pthread_join(threads[i], NULL);
    fs_inodes_get_usage(race_inodes, &usage);
    g_assert_cmpuint(usage.n_past, <=, 8);
    g_assert_cmpuint(usage.n_inodes, ==, usage.n_past + 1);
    g_assert_cmpuint(usage.n_fds, ==, 1);
    fs_inodes_destroy(race_inodes);
    fs_client_tear_down(&fs_many_fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/inode-past/recall/auto", GINT_TO_POINTER(FS_INODE_HANDLES_AUTO),
                         test_recall);
    g_test_add_data_func("/inode-past/recall/prefer", GINT_TO_POINTER(FS_INODE_HANDLES_PREFER),
                         test_recall);
    g_test_add_data_func("/inode-past/recall/mandatory",
                         GINT_TO_POINTER(FS_INODE_HANDLES_MANDATORY), test_recall);
    g_test_add_func("/inode-past/directories", test_directories);
    g_test_add_func("/inode-past/descriptors", test_descriptors);
    g_test_add_func("/inode-past/replaced", test_replaced);
    g_test_add_func("/inode-past/bound", test_bound);
    g_test_add_func("/inode-past/full", test_full);
    g_test_add_func("/inode-past/threads", test_threads);
    return g_test_run();
}
