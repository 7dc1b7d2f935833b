/* SPDX-License-Identifier: Apache-2.0 */
/* See fs-succession.h. */
#include "tests/unit/fs-succession.h"

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>

#include "vhost-user/cleanup.h"

struct fs_fixture fs_succession;
char *fs_succession_path;

void fs_succession_open_file(void)
{
    GError *error = NULL;

    fs_succession.state = fs_state_file_open(fs_succession_path, &error);
    g_assert_no_error(error);
}

void fs_succession_open(void)
{
    fs_succession_open_file();
    fs_fixture_open(&fs_succession);
}

void fs_succession_close(void)
{
    fs_share_close(&fs_succession.share);
    fs_state_file_close(fs_succession.state);
}

bool fs_succession_set_up(void)
{
    vu_autofd int dir_fd = -1;
    struct fuse_init_out out;

    fs_fixture_init(&fs_succession);
    dir_fd = open(fs_succession.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fs_file_handle_probe(dir_fd) < 0) {
        g_test_skip("file handles cannot be opened here");
        fs_fixture_open(&fs_succession);
        fs_fixture_finish(&fs_succession);
        return false;
    }
    fs_succession_path = g_strconcat(fs_succession.dir, ".state", NULL);
    fs_succession_open();
    fs_fixture_send_init(&fs_succession, &out);
    return true;
}

void fs_succession_tear_down(void)
{
    fs_fixture_finish(&fs_succession);
    fs_state_file_close(fs_succession.state);
    g_unlink(fs_succession_path);
    g_clear_pointer(&fs_succession_path, g_free);
}

void fs_succession_kill(void)
{
    g_autofree char *copy = g_strconcat(fs_succession_path, "-copy", NULL);
    const char *const argv[] = {"cp", "--sparse=always", fs_succession_path, copy, NULL};
    GError *error = NULL;
    int status;

    g_spawn_sync(NULL, (char **)(uintptr_t)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                 &status, &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
    fs_succession_close();
    g_assert_cmpint(g_rename(copy, fs_succession_path), ==, 0);
    fs_succession_open();
}

void fs_succession_end(void)
{
    fs_share_leave(&fs_succession.share);
    fs_succession_close();
    fs_succession_open();
}

int fs_succession_get_size(uint64_t nodeid, uint64_t *ret_size)
{
    struct fuse_getattr_in in = {.getattr_flags = 0};
    struct fuse_attr_out out;
    int ret = fs_fixture_call(&fs_succession, FUSE_GETATTR, nodeid, &in, sizeof(in), NULL, 0, &out,
                              sizeof(out));

    if (ret > 0)
        *ret_size = out.attr.size;
    return ret < 0 ? ret : 0;
}
