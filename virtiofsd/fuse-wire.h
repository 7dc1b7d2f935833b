/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FUSE wire format: <linux/fuse.h>, and our own definitions of what headers before 7.45 lack.
 */
#pragma once

#include <assert.h>
#include <linux/fuse.h>

#ifndef FUSE_CREATE_SUPP_GROUP
#define FUSE_CREATE_SUPP_GROUP (1ULL << 34)
#endif
#ifndef FUSE_DIRECT_IO_ALLOW_MMAP
#define FUSE_DIRECT_IO_ALLOW_MMAP (1ULL << 36)
#endif
#ifndef FUSE_PASSTHROUGH
#define FUSE_PASSTHROUGH (1ULL << 37)
#endif
#ifndef FUSE_NO_EXPORT_SUPPORT
#define FUSE_NO_EXPORT_SUPPORT (1ULL << 38)
#endif
#ifndef FUSE_HAS_RESEND
#define FUSE_HAS_RESEND (1ULL << 39)
#endif
#ifndef FUSE_ALLOW_IDMAP
#define FUSE_ALLOW_IDMAP (1ULL << 40)
#endif

/* Opcodes since 7.39. FUSE_STATX and the like would be macros where later headers have an enum. */
#define FS_OPCODE_STATX              52
#define FS_OPCODE_COPY_FILE_RANGE_64 53

struct fs_wire_statx_in {
    uint32_t getattr_flags;
    uint32_t reserved;
    uint64_t fh;
    uint32_t sx_flags; /* AT_STATX_*SYNC* */
    uint32_t sx_mask;
};
static_assert(sizeof(struct fs_wire_statx_in) == 24, "STATX, as asked");

struct fs_wire_statx_time {
    int64_t sec;
    uint32_t nsec;
    int32_t reserved;
};

/*
 *   offset size
 *        0    8  mask, blksize
 *        8    8  attributes
 *       16   16  nlink, uid, gid, mode
 *       32   32  ino, size, blocks, attributes_mask
 *       64   64  atime, btime, ctime, mtime
 *      128   16  rdev, dev
 *      144  112  spare
 */
struct fs_wire_statx {
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, spare0;
    uint64_t ino, size, blocks, attributes_mask;
    struct fs_wire_statx_time atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t spare[14];
};
static_assert(sizeof(struct fs_wire_statx) == 256, "attributes");

struct fs_wire_statx_out {
    uint64_t attr_valid;
    uint32_t attr_valid_nsec;
    uint32_t flags;
    uint64_t spare[2];
    struct fs_wire_statx stat;
};
static_assert(sizeof(struct fs_wire_statx_out) == 288, "STATX, as answered");
/* Types of struct fuse_ext_header beyond FUSE_MAX_NR_SECCTX. */
#define FS_EXT_GROUPS 32u
