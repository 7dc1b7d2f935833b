/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where FUSE requests go, and the room that their replies get.
 */
#include <glib.h>
#include <string.h>

#include "contrib/mount/fuse-op.h"

struct request {
    struct fuse_in_header header;
    union {
        struct fuse_read_in read;
        struct fuse_getxattr_in getxattr;
        struct fuse_ioctl_in ioctl;
    };
};

static uint64_t reply_len(uint32_t opcode, const struct request *request, uint32_t len)
{
    return fuse_op_reply_len(fuse_op_find(opcode), (const uint8_t *)request, len);
}

static void test_kinds(void)
{
    g_assert_cmpint(fuse_op_find(FUSE_LOOKUP)->kind, ==, FUSE_OP_REPLIED);
    g_assert_cmpint(fuse_op_find(FUSE_FORGET)->kind, ==, FUSE_OP_FORGET);
    g_assert_cmpint(fuse_op_find(FUSE_BATCH_FORGET)->kind, ==, FUSE_OP_FORGET);
    g_assert_cmpint(fuse_op_find(FUSE_INTERRUPT)->kind, ==, FUSE_OP_LOCAL);
    g_assert_cmpint(fuse_op_find(FUSE_INIT)->kind, ==, FUSE_OP_INIT);
    for (uint32_t opcode = 0; opcode < 5000; opcode++)
        g_assert_nonnull(fuse_op_find(opcode));
    g_assert_cmpint(fuse_op_find(UINT32_MAX)->kind, ==, FUSE_OP_REPLIED);
}

static void test_room(void)
{
    struct request request = {0};

    g_assert_cmpuint(reply_len(FUSE_LOOKUP, &request, sizeof(request)), ==, 128);
    g_assert_cmpuint(reply_len(FUSE_UNLINK, &request, sizeof(request)), ==, 0);
    g_assert_cmpuint(reply_len(1234, &request, sizeof(request)), >=, 1024);

    request.read.size = 12345; /* just what is asked for */
    g_assert_cmpuint(reply_len(FUSE_READ, &request, sizeof(request)), ==, 12345);
    g_assert_cmpuint(reply_len(FUSE_READDIRPLUS, &request, sizeof(request)), ==, 12345);
    request.read.size = UINT32_MAX;
    g_assert_cmpuint(reply_len(FUSE_READ, &request, sizeof(request)), ==, UINT32_MAX);
    g_assert_cmpuint(reply_len(FUSE_READ, &request, sizeof(request.header)), ==, 0);

    memset(&request, 0, sizeof(request)); /* asks for the size, or for the value */
    g_assert_cmpuint(reply_len(FUSE_GETXATTR, &request, sizeof(request)), ==, 8);
    request.getxattr.size = 100;
    g_assert_cmpuint(reply_len(FUSE_GETXATTR, &request, sizeof(request)), >=, 100);

    memset(&request, 0, sizeof(request));
    request.ioctl.out_size = 4;
    g_assert_cmpuint(reply_len(FUSE_IOCTL, &request, sizeof(request)), ==, 20);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fuse-op/kinds", test_kinds);
    g_test_add_func("/fuse-op/room", test_room);
    return g_test_run();
}
