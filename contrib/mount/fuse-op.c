/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUSE opcodes and the sizes of their replies, as one table.
 */
#include "contrib/mount/fuse-op.h"

#include <glib.h>
#include <stddef.h>
#include <string.h>

/* Newer than the headers of older distributions. */
#define FUSE_OP_TMPFILE            51
#define FUSE_OP_STATX              52
#define FUSE_OP_COPY_FILE_RANGE_64 53
#define FUSE_OP_STATX_REPLY_LEN    288

#define FUSE_OP_UNKNOWN_REPLY_LEN  3968
#define FUSE_OP_SYMLINK_LEN        4095
#define FUSE_OP_ARGS(type, field)  (sizeof(struct fuse_in_header) + offsetof(struct type, field))

static const struct fuse_op fuse_ops[] = {
    [FUSE_LOOKUP] = {.reply_len = sizeof(struct fuse_entry_out)},
    [FUSE_FORGET] = {.kind = FUSE_OP_FORGET},
    [FUSE_GETATTR] = {.reply_len = sizeof(struct fuse_attr_out)},
    [FUSE_SETATTR] = {.reply_len = sizeof(struct fuse_attr_out)},
    [FUSE_READLINK] = {.reply_len = FUSE_OP_SYMLINK_LEN},
    [FUSE_SYMLINK] = {.reply_len = sizeof(struct fuse_entry_out)},
    [FUSE_MKNOD] = {.reply_len = sizeof(struct fuse_entry_out)},
    [FUSE_MKDIR] = {.reply_len = sizeof(struct fuse_entry_out)},
    [FUSE_UNLINK] = {0},
    [FUSE_RMDIR] = {0},
    [FUSE_RENAME] = {0},
    [FUSE_LINK] = {.reply_len = sizeof(struct fuse_entry_out)},
    [FUSE_OPEN] = {.reply_len = sizeof(struct fuse_open_out)},
    [FUSE_READ] = {.size_offset = FUSE_OP_ARGS(fuse_read_in, size)},
    [FUSE_WRITE] = {.reply_len = sizeof(struct fuse_write_out)},
    [FUSE_STATFS] = {.reply_len = sizeof(struct fuse_statfs_out)},
    [FUSE_RELEASE] = {0},
    [FUSE_FSYNC] = {0},
    [FUSE_SETXATTR] = {0},
    [FUSE_GETXATTR] = {.reply_len = sizeof(struct fuse_getxattr_out),
                       .size_offset = FUSE_OP_ARGS(fuse_getxattr_in, size)},
    [FUSE_LISTXATTR] = {.reply_len = sizeof(struct fuse_getxattr_out),
                        .size_offset = FUSE_OP_ARGS(fuse_getxattr_in, size)},
    [FUSE_REMOVEXATTR] = {0},
    [FUSE_FLUSH] = {0},
    [FUSE_INIT] = {.kind = FUSE_OP_INIT, .reply_len = sizeof(struct fuse_init_out)},
    [FUSE_OPENDIR] = {.reply_len = sizeof(struct fuse_open_out)},
    [FUSE_READDIR] = {.size_offset = FUSE_OP_ARGS(fuse_read_in, size)},
    [FUSE_RELEASEDIR] = {0},
    [FUSE_FSYNCDIR] = {0},
    [FUSE_GETLK] = {.reply_len = sizeof(struct fuse_lk_out)},
    [FUSE_SETLK] = {0},
    [FUSE_SETLKW] = {0},
    [FUSE_ACCESS] = {0},
    [FUSE_CREATE] = {.reply_len = sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out)},
    [FUSE_INTERRUPT] = {.kind = FUSE_OP_LOCAL},
    [FUSE_BMAP] = {.reply_len = sizeof(struct fuse_bmap_out)},
    [FUSE_DESTROY] = {0},
    [FUSE_IOCTL] = {.reply_len = sizeof(struct fuse_ioctl_out),
                    .size_offset = FUSE_OP_ARGS(fuse_ioctl_in, out_size)},
    [FUSE_POLL] = {.reply_len = sizeof(struct fuse_poll_out)},
    [FUSE_NOTIFY_REPLY] = {.kind = FUSE_OP_LOCAL},
    [FUSE_BATCH_FORGET] = {.kind = FUSE_OP_FORGET},
    [FUSE_FALLOCATE] = {0},
    [FUSE_READDIRPLUS] = {.size_offset = FUSE_OP_ARGS(fuse_read_in, size)},
    [FUSE_RENAME2] = {0},
    [FUSE_LSEEK] = {.reply_len = sizeof(struct fuse_lseek_out)},
    [FUSE_COPY_FILE_RANGE] = {.reply_len = sizeof(struct fuse_write_out)},
    [FUSE_SETUPMAPPING] = {0},
    [FUSE_REMOVEMAPPING] = {0},
    [FUSE_SYNCFS] = {0},
    [FUSE_OP_TMPFILE] = {.reply_len = sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out)},
    [FUSE_OP_STATX] = {.reply_len = FUSE_OP_STATX_REPLY_LEN},
    [FUSE_OP_COPY_FILE_RANGE_64] = {.reply_len = sizeof(uint64_t)},
};

static const struct fuse_op fuse_op_unknown = {.reply_len = FUSE_OP_UNKNOWN_REPLY_LEN};

const struct fuse_op *fuse_op_find(uint32_t opcode)
{
    return opcode < G_N_ELEMENTS(fuse_ops) ? &fuse_ops[opcode] : &fuse_op_unknown;
}

uint64_t fuse_op_reply_len(const struct fuse_op *op, const uint8_t *head, uint32_t head_len)
{
    uint32_t size;

    if (op->size_offset == 0 || head_len < op->size_offset + sizeof(size))
        return op->reply_len;
    memcpy(&size, head + op->size_offset, sizeof(size));
    return (uint64_t)op->reply_len + size;
}
