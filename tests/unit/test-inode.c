/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inode.h: lookup counts, identity, hostile nodeids; prints what an inode costs, and sees that
 * FORGET gives back records, memory and descriptors.
 */
#include "virtiofsd/inode.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/open-fds.h"

static struct fs_inodes *test_inodes(uint32_t max)
{
    const struct fs_inodes_limits limits = {.n_inodes = max};
    struct fs_inodes *inodes = NULL;

    g_assert_cmpint(fs_inodes_create(open("/", O_PATH), &limits, &inodes), ==, 0);
    return inodes;
}

static struct statx test_stx(uint64_t ino)
{
    return (struct statx){.stx_mask = STATX_BASIC_STATS | STATX_MNT_ID,
                          .stx_mode = S_IFREG | 0644,
                          .stx_ino = ino,
                          .stx_mnt_id = 77,
                          .stx_dev_major = 8,
                          .stx_dev_minor = 1};
}

/* Looks an identity up as a request does; its nodeid, 0 when the table is full. */
static uint64_t test_lookup(struct fs_inodes *inodes, const struct statx *stx)
{
    bool doubtful;
    struct fs_inode *inode = fs_inode_find(inodes, stx, NULL, 1, &doubtful);
    uint64_t nodeid;

    if (!inode) {
        int fd = open("/", O_PATH | O_CLOEXEC);
        int ret = fs_inode_find_or_add(inodes, stx, &fd, 1, &inode);

        if (fd >= 0)
            close(fd); /* another thread was quicker, or the table is full */
        if (ret < 0) {
            g_assert_cmpint(ret, ==, -ENFILE);
            return 0;
        }
    }
    nodeid = fs_inode_nodeid(inodes, inode);
    fs_inode_put(inodes, inode);
    return nodeid;
}

static bool test_knows(struct fs_inodes *inodes, uint64_t nodeid)
{
    struct fs_inode *inode = fs_inode_get(inodes, nodeid);

    if (inode)
        fs_inode_put(inodes, inode);
    return inode != NULL;
}

static void test_counts(void)
{
    struct fs_inodes *inodes = test_inodes(100);
    struct statx stx = test_stx(5);
    uint64_t nodeid = test_lookup(inodes, &stx), again;

    g_assert_cmpuint(test_lookup(inodes, &stx), ==, nodeid);
    g_assert_cmpuint(test_lookup(inodes, &stx), ==, nodeid);
    g_assert_cmpuint(fs_inodes_count(inodes), ==, 2);
    fs_inode_forget(inodes, nodeid, 2);
    g_assert_true(test_knows(inodes, nodeid));
    fs_inode_forget(inodes, nodeid, 0);
    g_assert_true(test_knows(inodes, nodeid));
    fs_inode_forget(inodes, nodeid, 1);
    g_assert_false(test_knows(inodes, nodeid));
    again = test_lookup(inodes, &stx);
    g_assert_cmpuint(again, !=, nodeid);
    g_assert_false(test_knows(inodes, nodeid));
    fs_inodes_destroy(inodes);
}

/* A guest that outlives the daemon holds nodeids of the old one: the new one refuses them. */
static void test_predecessor(void)
{
    struct fs_inodes *old = test_inodes(100), *new = test_inodes(100);
    struct statx a = test_stx(5), b = test_stx(6);
    uint64_t nodeid = test_lookup(old, &a);

    test_lookup(new, &b);
    g_assert_false(test_knows(new, nodeid));
    g_assert_true(test_knows(new, FUSE_ROOT_ID));
    fs_inodes_destroy(old);
    fs_inodes_destroy(new);
}

static void test_hostile_forgets(void)
{
    struct fs_inodes *inodes = test_inodes(100);
    struct statx stx = test_stx(5);
    uint64_t nodeid = test_lookup(inodes, &stx);
    struct fs_inode *pinned = fs_inode_get(inodes, nodeid);

    fs_inode_forget(inodes, 0, 1);
    fs_inode_forget(inodes, UINT64_MAX, UINT64_MAX);
    fs_inode_forget(inodes, nodeid + (1ull << 32), 1);
    fs_inode_forget(inodes, FUSE_ROOT_ID, UINT64_MAX);
    g_assert_true(test_knows(inodes, FUSE_ROOT_ID));
    g_assert_true(test_knows(inodes, nodeid));
    fs_inode_forget(inodes, nodeid, UINT64_MAX);
    fs_inode_forget(inodes, nodeid, UINT64_MAX);
    g_assert_false(test_knows(inodes, nodeid));
    /* A request still at work keeps its descriptor. */
    g_assert_cmpint(fcntl(fs_inode_fd(inodes, pinned), F_GETFD), >=, 0);
    fs_inode_put(inodes, pinned);
    g_assert_cmpuint(fs_inodes_count(inodes), ==, 1);
    fs_inodes_destroy(inodes);
}

static void test_identity(void)
{
    struct fs_inodes *inodes = test_inodes(100);
    struct statx a = test_stx(5), dev = a, mount = a, type = a;
    uint64_t nodeid = test_lookup(inodes, &a);

    dev.stx_dev_minor++;
    mount.stx_mnt_id++;
    type.stx_mode = S_IFDIR | 0755;
    g_assert_cmpuint(test_lookup(inodes, &dev), !=, nodeid);
    g_assert_cmpuint(test_lookup(inodes, &mount), !=, nodeid);
    g_assert_cmpuint(test_lookup(inodes, &type), !=, nodeid);
    a.stx_mode = S_IFREG | 0600;
    g_assert_cmpuint(test_lookup(inodes, &a), ==, nodeid);
    fs_inodes_destroy(inodes);
}

static void test_full(void)
{
    unsigned n_fds = count_open_fds();
    struct fs_inodes *inodes = test_inodes(10);

    for (uint64_t ino = 100; ino < 109; ino++) {
        struct statx stx = test_stx(ino);

        g_assert_cmpuint(test_lookup(inodes, &stx), !=, 0);
    }
    for (uint64_t ino = 200; ino < 205; ino++) {
        struct statx stx = test_stx(ino);

        g_assert_cmpuint(test_lookup(inodes, &stx), ==, 0);
    }
    fs_inodes_forget_all(inodes);
    g_assert_cmpuint(fs_inodes_count(inodes), ==, 1);
    fs_inodes_destroy(inodes);
    g_assert_cmpuint(count_open_fds(), ==, n_fds);
}

static size_t test_bytes(struct fs_inodes *inodes)
{
    struct fs_inodes_usage usage;

    fs_inodes_get_usage(inodes, &usage);
    return usage.bytes;
}

/* Each holds a descriptor of its own as far as the limit goes, and none beyond. */
static void test_memory(void)
{
    const unsigned n = 100000;
    unsigned n_fds = count_open_fds();
    struct rlimit limit;
    struct fs_inodes *inodes;
    g_autofree uint64_t *nodeids = NULL;
    size_t empty, full, after;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    nodeids = g_new(uint64_t, n);
    inodes = test_inodes(200000);
    empty = test_bytes(inodes);
    for (unsigned i = 0; i < n; i++) {
        struct statx stx = test_stx(1000 + i * 13u);

        nodeids[i] = test_lookup(inodes, &stx);
        g_assert_cmpuint(nodeids[i], !=, 0);
    }
    full = test_bytes(inodes);
    for (unsigned i = 0; i < n; i++)
        fs_inode_forget(inodes, nodeids[i], 1);
    after = test_bytes(inodes);
    g_test_message("%u inodes: %.1f bytes each; %zu KiB empty, %zu KiB full, %zu KiB after FORGET",
                   n, (double)(full - empty) / n, empty / 1024, full / 1024, after / 1024);
    g_assert_cmpuint((full - empty) / n, <=, 90);
    g_assert_cmpuint(after, <=, empty + 256 * 1024);
    g_assert_cmpuint(fs_inodes_count(inodes), ==, 1);
    fs_inodes_destroy(inodes);
    g_assert_cmpuint(count_open_fds(), ==, n_fds);
}

static void *test_race_thread(void *opaque)
{
    struct fs_inodes *inodes = opaque;
    unsigned seed = (unsigned)(uintptr_t)&seed >> 8;

    for (unsigned i = 0; i < 20000; i++) {
        struct statx stx = test_stx(1 + (seed = seed * 1103515245u + 12345u) % 8);
        uint64_t nodeid = test_lookup(inodes, &stx);
        struct fs_inode *inode = fs_inode_get(inodes, nodeid);

        /* Our lookup is counted, so it cannot have gone. */
        g_assert_nonnull(inode);
        g_assert_cmpuint(inode->ino, ==, stx.stx_ino);
        fs_inode_forget(inodes, nodeid, 1);
        g_assert_cmpint(fcntl(fs_inode_fd(inodes, inode), F_GETFD), >=, 0);
        fs_inode_put(inodes, inode);
    }
    return NULL;
}

static void test_threads(void)
{
    struct fs_inodes *inodes = test_inodes(100);
    unsigned n_fds = count_open_fds();
    pthread_t threads[4];

    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        g_assert_cmpint(pthread_create(&threads[i], NULL, test_race_thread, inodes), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        pthread_join(threads[i], NULL);
    g_assert_cmpuint(fs_inodes_count(inodes), ==, 1);
    g_assert_cmpuint(count_open_fds(), ==, n_fds);
    fs_inodes_destroy(inodes);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/inode/counts", test_counts);
    g_test_add_func("/inode/hostile-forgets", test_hostile_forgets);
    g_test_add_func("/inode/predecessor", test_predecessor);
    g_test_add_func("/inode/identity", test_identity);
    g_test_add_func("/inode/full", test_full);
    g_test_add_func("/inode/memory", test_memory);
    g_test_add_func("/inode/threads", test_threads);
    return g_test_run();
}
