/* SPDX-License-Identifier: Apache-2.0 */
/* virtiofsd/counters.h: each request counts once, whatever becomes of it and whoever ends it. */
#include "virtiofsd/counters.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>

#include "tests/unit/fs-client.h"
#include "vhost-user/log.h"

static struct fs_fixture fixture;

/* What has been counted of an opcode, over all queues. */
static struct vu_counter counted(uint32_t opcode)
{
    g_autofree struct vu_counter *sums = fs_counters_sum(&fixture.share.counters);
    uint64_t n_durations = 0;

    for (unsigned i = 0; i < VU_HISTOGRAM_BUCKETS; i++)
        n_durations += sums[opcode].latency[i];
    g_assert_cmpuint(n_durations, ==, sums[opcode].n);
    g_assert_cmpuint(sums[opcode].max_ns, <=, sums[opcode].total_ns);
    g_assert_cmpuint(sums[opcode].n_helped + sums[opcode].n_errors, <=, 2 * sums[opcode].n);
    return sums[opcode];
}

static void test_counts(void)
{
    struct fs_call unknown = {.opcode = 4000}, failing = {.opcode = FUSE_RENAME};
    struct fuse_entry_out entry;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 1);
    g_assert_cmpuint(counted(FUSE_INIT).n, ==, 1);
    for (unsigned i = 0; i < 3; i++)
        g_assert_cmpint(fs_client_lookup(&fixture, FUSE_ROOT_ID, "none", &entry), ==, -ENOENT);
    g_assert_cmpint(fs_client_call(&fixture, &unknown), ==, -ENOSYS);
    g_assert_cmpint(fs_client_call(&fixture, &failing), ==, -EINVAL);
    g_assert_cmpuint(counted(FUSE_LOOKUP).n, ==, 3);
    g_assert_cmpuint(counted(FUSE_LOOKUP).total_ns, >, 0);
    g_assert_cmpuint(counted(FUSE_RENAME).n, ==, 1);
    g_assert_cmpuint(counted(0).n, ==, 1);
    g_assert_cmpuint(counted(FUSE_RENAME).n_errors, ==, 1);
    g_assert_cmpuint(counted(FUSE_INIT).n_errors, ==, 0);
    fs_counters_log(&fixture.share.counters, 0);
    for (unsigned i = 0; i < FS_N_COUNTERS; i++)
        g_assert_cmpuint(counted(i).n, ==, fixture.share.counters.n_logged[i]);
    g_assert_cmpuint(counted(FUSE_LOOKUP).n, ==, 3);
    fs_client_tear_down(&fixture);
}

/* Bytes are those that were moved, and what always goes to a helper is counted as helped. */
static void test_bytes(void)
{
    char data[100] = "", back[4096];
    struct fuse_fsync_in sync;
    struct fs_call fsync = {.opcode = FUSE_FSYNC, .args = &sync, .args_len = sizeof(sync)};
    uint64_t nodeid, fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 1);
    g_assert_cmpint(
        fs_client_create(&fixture, FUSE_ROOT_ID, "file", O_RDWR | O_CREAT, &nodeid, &fh), ==, 0);
    g_assert_cmpint(fs_client_write(&fixture, fh, 0, data, sizeof(data), O_RDWR), ==, sizeof(data));
    g_assert_cmpint(fs_client_read(&fixture, fh, 40, back, sizeof(back)), ==, 60);
    g_assert_cmpint(fs_client_read(&fixture, fh + 1, 0, back, sizeof(back)), ==, -EBADF);
    fsync.nodeid = nodeid;
    sync = (struct fuse_fsync_in){.fh = fh};
    g_assert_cmpint(fs_client_call(&fixture, &fsync), ==, 0);
    g_assert_cmpuint(counted(FUSE_WRITE).n_bytes, ==, sizeof(data));
    g_assert_cmpuint(counted(FUSE_READ).n_bytes, ==, 60);
    g_assert_cmpuint(counted(FUSE_READ).n_errors, ==, 1);
    g_assert_cmpuint(counted(FUSE_CREATE).n_bytes, ==, 0);
    g_assert_cmpuint(counted(FUSE_FSYNC).n, ==, 1);
    g_assert_cmpuint(counted(FUSE_FSYNC).n_helped, ==, 1);
    g_assert_cmpuint(counted(FUSE_LOOKUP).n_helped, ==, 0);
    g_assert_cmpint(fs_client_release(&fixture, nodeid, fh), ==, 0);
    fs_client_tear_down(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/counters/counts", test_counts);
    g_test_add_func("/counters/bytes", test_bytes);
    return g_test_run();
}
