/* SPDX-License-Identifier: Apache-2.0 */
/* unchanged.h: the guest keeps the data of a file from one open to the next where nothing changed.
 */
#include "virtiofsd/unchanged.h"

#include <fcntl.h>
#include <glib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fs-client.h"
#include "virtiofsd/fs-kind.h"

static struct fs_fixture fixture;

/* Opens the file as a guest does; whether its pages may stay. */
static bool test_keeps(uint64_t nodeid)
{
    struct fuse_open_out open;

    g_assert_cmpint(fs_client_open(&fixture, nodeid, O_RDONLY, &open), ==, 0);
    g_assert_cmpint(fs_client_release(&fixture, nodeid, open.fh), ==, 0);
    return open.open_flags & FOPEN_KEEP_CACHE;
}

static void test_fresh(void)
{
    uint64_t nodeid, fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 1);
    g_assert_cmpint(fs_client_create(&fixture, FUSE_ROOT_ID, "f", O_RDWR, &nodeid, &fh), ==, 0);
    g_assert_cmpint(fs_client_release(&fixture, nodeid, fh), ==, 0);
    /* A change that falls into the same tick would not be told apart. */
    g_assert_false(test_keeps(nodeid));
    g_assert_false(test_keeps(nodeid));
    fs_client_tear_down(&fixture);
}

/* A version is compared, not only remembered. */
static void test_rested(void)
{
    struct fs_share share = {0};
    struct fs_inode inode = {0};
    struct stat st;
    int fd = open("/bin/true", O_RDONLY);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    share.versioned_dev = inode.dev = 7;
    if (time(NULL) - st.st_ctim.tv_sec < 120) {
        g_test_skip("no file of this machine has rested");
    } else {
        g_assert_false(fs_unchanged_since_open(&share, &inode, fd)); /* the first open */
        g_assert_true(fs_unchanged_since_open(&share, &inode, fd));
        inode.version ^= 1; /* it was another one */
        g_assert_false(fs_unchanged_since_open(&share, &inode, fd));
        g_assert_true(fs_unchanged_since_open(&share, &inode, fd));
        inode.dev++; /* on a file system of which we know nothing */
        g_assert_false(fs_unchanged_since_open(&share, &inode, fd));
    }
    close(fd);
}

/* Only in the mode that asks for it, and where it can be relied on. */
static void test_where(void)
{
    int proc = open("/proc", O_PATH);

    for (int cache = FS_CACHE_NEVER; cache <= FS_CACHE_ALWAYS; cache++) {
        fs_client_set_up(&fixture, (enum fs_cache)cache, 1);
        if (cache != FS_CACHE_AUTO)
            g_assert_cmpuint(fixture.share.versioned_dev, ==, 0);
        fs_client_tear_down(&fixture);
    }
    g_assert_false(fs_kind_is_written_back(proc));
    g_assert_cmpuint(fs_unchanged_find_dev(proc), ==, 0);
    close(proc);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/unchanged/fresh", test_fresh);
    g_test_add_func("/unchanged/rested", test_rested);
    g_test_add_func("/unchanged/where", test_where);
    return g_test_run();
}
