/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STATX: attributes with the time of birth. Linux asks by GETATTR where it does not need that.
 * Workers.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "virtiofsd/entry.h"
#include "virtiofsd/request.h"

/* What the wire has room for; a mount id would mean nothing to the guest. */
#define STATX_WIRE_MASK (STATX_BASIC_STATS | STATX_BTIME)

static struct fs_wire_statx_time statx_time(const struct statx_timestamp *time)
{
    return (struct fs_wire_statx_time){.sec = time->tv_sec, .nsec = time->tv_nsec};
}

static void statx_to_wire(const struct fs_share *share, const struct statx *stx,
                          struct fs_wire_statx *ret_wire)
{
    *ret_wire = (struct fs_wire_statx){
        .mask = stx->stx_mask & STATX_WIRE_MASK,
        .blksize = stx->stx_blksize,
        .attributes = stx->stx_attributes,
        .nlink = stx->stx_nlink,
        .uid = fs_idmap_to_guest(&share->options->translate_uid, stx->stx_uid),
        .gid = fs_idmap_to_guest(&share->options->translate_gid, stx->stx_gid),
        .mode = stx->stx_mode,
        .ino = stx->stx_ino,
        .size = stx->stx_size,
        .blocks = stx->stx_blocks,
        .attributes_mask = stx->stx_attributes_mask,
        .atime = statx_time(&stx->stx_atime),
        .btime = statx_time(&stx->stx_btime),
        .ctime = statx_time(&stx->stx_ctime),
        .mtime = statx_time(&stx->stx_mtime),
        .rdev_major = stx->stx_rdev_major,
        .rdev_minor = stx->stx_rdev_minor,
        .dev_major = stx->stx_dev_major,
        .dev_minor = stx->stx_dev_minor,
    };
}

/* 0 or -errno. */
static int statx_ask(struct fs_request *request, struct statx *ret_stx)
{
    const struct fs_wire_statx_in *in = &request->args.statx;
    int flags = AT_EMPTY_PATH | ((int)in->sx_flags & AT_STATX_SYNC_TYPE);
    struct fs_share *share = request->share;
    struct fs_handle *handle = NULL;
    struct fs_inode *inode = NULL;
    int fd, ret;

    if (in->getattr_flags & FUSE_GETATTR_FH) {
        handle = fs_handle_get(share->handles, in->fh, FS_HANDLE_FILE);
        if (!handle)
            return -EBADF;
        fd = handle->fd;
    } else {
        fd = fs_inode_get_fd(share->inodes, request->header.nodeid, &inode);
        if (fd < 0)
            return fd;
    }
    ret = statx(fd, "", flags, in->sx_mask & STATX_WIRE_MASK, ret_stx);
    ret = ret < 0 ? -errno : 0;
    if (handle)
        fs_handle_put(share->handles, handle);
    if (inode)
        fs_inode_put(share->inodes, inode);
    return ret;
}

int fs_do_statx(struct fs_request *request)
{
    struct fs_wire_statx_out *out = &request->reply.statx;
    struct timespec timeout;
    struct statx stx;
    int ret = statx_ask(request, &stx);

    if (ret < 0)
        return ret;
    timeout = fs_attr_timeout(request->share, stx.stx_mode);
    *out = (struct fs_wire_statx_out){
        .attr_valid = (uint64_t)timeout.tv_sec,
        .attr_valid_nsec = (uint32_t)timeout.tv_nsec,
    };
    statx_to_wire(request->share, &stx, &out->stat);
    return sizeof(*out);
}
