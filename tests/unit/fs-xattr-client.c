/* SPDX-License-Identifier: Apache-2.0 */
/* See fs-xattr-client.h. */
#include "tests/unit/fs-xattr-client.h"

#include <glib.h>
#include <string.h>
#include <sys/stat.h>

void fs_xattr_set_up(struct fs_fixture *fixture, const struct fs_xattr_setup *setup)
{
    struct fuse_init_out out;
    GError *error = NULL;

    umask(0);
    fs_fixture_init(fixture);
    g_assert_cmpint(chmod(fixture->dir, 0755), ==, 0);
    fixture->options.max_helpers = 0; /* what a thread keeps for itself is looked at here */
    fixture->options.xattr = 1;
    fixture->options.posix_acl = setup->posix_acl;
    fixture->options.security_label = setup->security_label;
    if (setup->map) {
        fixture->options.xattrmap = fs_xattrmap_parse(setup->map, &error);
        g_assert_no_error(error);
    }
    fs_fixture_open(fixture);
    fs_fixture_send_init(fixture, &out);
}

int fs_xattr_get_sized(struct fs_fixture *fixture, uint64_t nodeid, const char *name, void *value,
                       uint32_t size, size_t room, size_t piece)
{
    struct fuse_getxattr_in in = {.size = size};
    struct fuse_getxattr_out out;
    struct fs_call call = {.opcode = FUSE_GETXATTR,
                           .nodeid = nodeid,
                           .args = &in,
                           .args_len = sizeof(in),
                           .name = name,
                           .reply = size ? value : &out,
                           .room = size ? room : sizeof(out),
                           .piece = piece};
    int ret = fs_client_call(fixture, &call);

    if (ret < 0 || size > 0)
        return ret;
    g_assert_cmpint(ret, ==, sizeof(out));
    return (int)out.size;
}

int fs_xattr_get_value(struct fs_fixture *fixture, uint64_t nodeid, const char *name, void *value,
                       uint32_t size)
{
    return fs_xattr_get_sized(fixture, nodeid, name, value, size, size, 0);
}

int fs_xattr_list_names(struct fs_fixture *fixture, uint64_t nodeid, uint32_t user, char *names,
                        uint32_t size)
{
    struct fuse_getxattr_in in = {.size = size};
    struct fuse_getxattr_out out;
    struct fs_call call = {.opcode = FUSE_LISTXATTR,
                           .nodeid = nodeid,
                           .uid = user,
                           .gid = user,
                           .args = &in,
                           .args_len = sizeof(in),
                           .reply = size ? (void *)names : &out,
                           .room = size ? size : sizeof(out)};
    int ret = fs_client_call(fixture, &call);

    if (ret < 0 || size > 0)
        return ret;
    g_assert_cmpint(ret, ==, sizeof(out));
    return (int)out.size;
}

int fs_xattr_set_value(struct fs_fixture *fixture, uint64_t nodeid, const char *name,
                       const void *value, uint32_t size, uint32_t flags)
{
    struct fuse_setxattr_in in = {.size = size, .flags = flags};
    struct fs_call call = {
        .opcode = FUSE_SETXATTR,
        .nodeid = nodeid,
        .args = &in,
        .args_len = fs_share_negotiated(&fixture->share, FUSE_SETXATTR_EXT)
                        ? sizeof(in)
                        : FUSE_COMPAT_SETXATTR_IN_SIZE,
        .name = name,
        .data = value,
        .data_len = size,
    };

    return fs_client_call(fixture, &call);
}

int fs_xattr_remove_name(struct fs_fixture *fixture, uint64_t nodeid, const char *name)
{
    struct fs_call call = {.opcode = FUSE_REMOVEXATTR, .nodeid = nodeid, .name = name};

    return fs_client_call(fixture, &call);
}

bool fs_xattr_list_has(const char *names, int len, const char *name)
{
    for (const char *at = names; at < names + len; at += strlen(at) + 1)
        if (strcmp(at, name) == 0)
            return true;
    return false;
}
