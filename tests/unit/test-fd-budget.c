/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fd-budget.h: a guest that looks up and opens all it can gets ENFILE and EMFILE, the daemon keeps
 * descriptors of its own, and what the guest gives back it can have again.
 */
#include "virtiofsd/fd-budget.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/fs-client.h"

enum { N_FDS = 256, N_FILES = 300 };

static struct fs_fixture fixture;

/* As many descriptors as the daemon itself may still need at a time. */
static void assert_room(void)
{
    int fds[64];

    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        g_assert_cmpint(fds[i], >=, 0);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
}

/* How many of the files the guest comes to know, until it is refused. */
static unsigned look_up_all(uint64_t *nodeids)
{
    struct fuse_entry_out entry;
    char name[16];

    for (unsigned i = 0; i < N_FILES; i++) {
        int ret;

        g_snprintf(name, sizeof(name), "%u", i);
        ret = fs_client_lookup(&fixture, FUSE_ROOT_ID, name, &entry);
        if (ret < 0) {
            g_assert_cmpint(ret, ==, -ENFILE);
            return i;
        }
        nodeids[i] = entry.nodeid;
    }
    return N_FILES;
}

static void test_exhaustion(void)
{
    struct fuse_open_out opened[N_FDS], more;
    unsigned n_known, n_open, n_again;
    uint64_t nodeids[N_FILES];
    int ret = 0;

    n_known = look_up_all(nodeids);
    g_assert_cmpuint(n_known, >=, N_FDS / 4);
    g_assert_cmpuint(n_known, <, N_FDS);
    for (n_open = 0; n_open < N_FDS; n_open++) {
        ret = fs_client_open(&fixture, nodeids[0], O_RDONLY, &opened[n_open]);
        if (ret < 0)
            break;
    }
    g_assert_cmpint(ret, ==, -EMFILE);
    g_assert_cmpuint(n_open, >=, N_FDS / 16);
    assert_room();
    /* A known name is still found, and an open file read. */
    g_assert_cmpint(fs_client_lookup(&fixture, FUSE_ROOT_ID, "0", &(struct fuse_entry_out){0}), ==,
                    0);
    g_assert_cmpint(fs_client_read(&fixture, opened[0].fh, 0, &(char){0}, 1), ==, 0);

    g_assert_cmpint(fs_client_release(&fixture, nodeids[0], opened[0].fh), ==, 0);
    g_assert_cmpint(fs_client_open(&fixture, nodeids[0], O_RDONLY, &more), ==, 0);
    for (unsigned i = 1; i < n_open; i++)
        fs_client_release(&fixture, nodeids[0], opened[i].fh);
    fs_client_release(&fixture, nodeids[0], more.fh);
    for (unsigned i = 0; i < n_known; i++)
        fs_client_forget(&fixture, nodeids[i], 2);
    n_again = look_up_all(nodeids);
    g_assert_cmpuint(n_again, ==, n_known);
}

static void test_limits(void)
{
    struct fs_fd_budget budget;
    struct rlimit limit;
    GError *error = NULL;

    g_assert_true(fs_fd_budget_take(0, &budget, &error));
    getrlimit(RLIMIT_NOFILE, &limit);
    g_assert_cmpuint(limit.rlim_cur, ==, N_FDS);
    g_assert_cmpuint(budget.max_inode_fds + budget.max_handles, <=, N_FDS * 3 / 4);
    g_assert_false(fs_fd_budget_take(20, &budget, &error));
    g_assert_nonnull(strstr(error->message, "--rlimit-nofile"));
    g_clear_error(&error);
    g_assert_true(fs_fd_budget_take(FS_NOFILE_MAX, &budget, &error));
    getrlimit(RLIMIT_NOFILE, &limit);
    g_assert_cmpuint(limit.rlim_cur, >, N_FDS);
    g_assert_cmpuint(budget.max_inode_fds, >, budget.max_handles);
    g_assert_cmpuint(budget.max_inode_fds + budget.max_handles, <, limit.rlim_cur);
}

int main(int argc, char **argv)
{
    struct fuse_init_out out;
    int status;

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fd-budget/exhaustion", test_exhaustion);
    g_test_add_func("/fd-budget/limits", test_limits);
    fs_fixture_init(&fixture);
    fixture.options.rlimit_nofile = N_FDS;
    fixture.options.inode_handles = FS_INODE_HANDLES_NEVER;
    for (unsigned i = 0; i < N_FILES; i++) {
        g_autofree char *name = g_strdup_printf("%u", i), *path = fs_client_path(&fixture, name);

        g_assert_true(g_file_set_contents(path, "", 0, NULL));
    }
    fs_fixture_open(&fixture);
    fs_fixture_send_init(&fixture, &out);
    status = g_test_run();
    fs_fixture_finish(&fixture);
    return status;
}
