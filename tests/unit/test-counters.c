/* SPDX-License-Identifier: Apache-2.0 */
/* counters.h: each request counts once, whatever becomes of it. */
#include "virtiofsd/counters.h"

#include <errno.h>
#include <glib.h>

#include "tests/unit/fs-client.h"
#include "vhost-user/log.h"

static void test_counts(void)
{
    struct fs_fixture fixture;
    struct fs_counters *counters = &fixture.share.counters;
    struct fs_call unknown = {.opcode = 4000}, failing = {.opcode = FUSE_RENAME};
    struct fuse_entry_out entry;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 1);
    g_assert_cmpuint(counters->n[FUSE_INIT], ==, 1);
    for (unsigned i = 0; i < 3; i++)
        g_assert_cmpint(fs_client_lookup(&fixture, FUSE_ROOT_ID, "none", &entry), ==, -ENOENT);
    g_assert_cmpint(fs_client_call(&fixture, &unknown), ==, -ENOSYS);
    g_assert_cmpint(fs_client_call(&fixture, &failing), ==, -EINVAL);
    g_assert_cmpuint(counters->n[FUSE_LOOKUP], ==, 3);
    g_assert_cmpuint(counters->n[FUSE_RENAME], ==, 1);
    g_assert_cmpuint(counters->n[0], ==, 1);
    g_assert_cmpuint(counters->n_failed[FUSE_RENAME], ==, 1);
    g_assert_cmpuint(counters->n_failed[FUSE_INIT], ==, 0);
    fs_counters_log(counters);
    for (unsigned i = 0; i < FS_N_COUNTERS; i++)
        g_assert_cmpuint(counters->n[i], ==, counters->n_logged[i]);
    g_assert_cmpuint(counters->n[FUSE_LOOKUP], ==, 3);
    fs_client_tear_down(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/counters/counts", test_counts);
    return g_test_run();
}
