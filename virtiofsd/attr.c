/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes of a file and of the file system: GETATTR, SETATTR, ACCESS, STATFS, SYNCFS.
 *
 * An inode's O_PATH descriptor serves for nearly everything by AT_EMPTY_PATH; only a new mode goes
 * through /proc/self/fd, and a new size through a descriptor opened for writing. Workers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/entry.h"
#include "virtiofsd/kill-privileges.h"
#include "virtiofsd/open.h"

#define ATTR_NSEC_PER_SEC 1000000000u

/* What a request is about: an open file where it names one, else the inode. */
struct attr_target {
    struct fs_inode *inode;   /* pinned, NULL where a handle is used */
    struct fs_handle *handle; /* pinned, or NULL */
    int fd;
};

static int attr_target_get(struct fs_request *request, bool by_handle, uint64_t fh,
                           struct attr_target *ret_target)
{
    struct attr_target target = {0};

    if (by_handle) {
        target.handle = fs_handle_get(request->share->handles, fh, FS_HANDLE_FILE);
        if (!target.handle)
            return -EBADF;
        target.fd = target.handle->fd;
    } else {
        target.fd = fs_inode_get_fd(request->share->inodes, request->header.nodeid, &target.inode);
        if (target.fd < 0)
            return target.fd;
    }
    *ret_target = target;
    return 0;
}

static void attr_target_put(struct fs_request *request, struct attr_target *target)
{
    if (target->handle)
        fs_handle_put(request->share->handles, target->handle);
    if (target->inode)
        fs_inode_put(request->share->inodes, target->inode);
}

/* Reply bytes, or -errno. */
static int attr_answer(struct fs_request *request, int fd)
{
    struct fuse_attr_out *out = &request->reply.attr;
    struct timespec timeout;
    struct statx stx;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx) < 0)
        return -errno;
    memset(out, 0, sizeof(*out));
    timeout = fs_attr_timeout(request->share, stx.stx_mode);
    out->attr_valid = (uint64_t)timeout.tv_sec;
    out->attr_valid_nsec = (uint32_t)timeout.tv_nsec;
    fs_attr_from_statx(request->share, &stx, &out->attr);
    return sizeof(*out);
}

int fs_do_getattr(struct fs_request *request)
{
    const struct fuse_getattr_in *arg = &request->args.getattr;
    struct attr_target target;
    int ret = attr_target_get(request, arg->getattr_flags & FUSE_GETATTR_FH, arg->fh, &target);

    if (ret < 0)
        return ret;
    ret = attr_answer(request, target.fd);
    attr_target_put(request, &target);
    return ret;
}

/* chown clears setuid and setgid bits, so the mode is set after it. */
static int attr_set_owner(const struct fs_share *share, const struct fuse_setattr_in *arg,
                          const struct attr_target *target)
{
    uid_t uid = arg->valid & FATTR_UID ? arg->uid : (uid_t)-1;
    gid_t gid = arg->valid & FATTR_GID ? arg->gid : (gid_t)-1;

    if (target->handle || S_ISREG(fs_inode_type(target->inode)))
        return fs_kill_by_owner(share, target->fd, uid, gid);
    return fchownat(target->fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int attr_set_mode(const struct fs_share *share, const struct fuse_setattr_in *arg,
                         const struct attr_target *target)
{
    char name[16];

    if (target->handle)
        return fchmod(target->fd, arg->mode & 07777) < 0 ? -errno : 0;
    if (S_ISLNK(fs_inode_type(target->inode)))
        return -EOPNOTSUPP;
    snprintf(name, sizeof(name), "%d", target->fd);
    return fchmodat(share->proc_fds, name, arg->mode & 07777, 0) < 0 ? -errno : 0;
}

static int attr_set_size(const struct fs_share *share, const struct fuse_setattr_in *arg,
                         const struct attr_target *target)
{
    vu_autofd int opened = -1;
    int fd = target->fd, ret;

    if (arg->size > INT64_MAX)
        return -EFBIG;
    if (!target->handle) {
        /* Nothing but a regular file is ever opened: devices and FIFOs do things when they are. */
        fd = opened = fs_open_inode(share, target->inode, O_WRONLY | O_NONBLOCK);
        if (fd < 0)
            return fd;
    }
    ret = fs_kill_privileges(share, fd, arg->valid & FATTR_KILL_SUIDGID);
    if (ret < 0)
        return ret;
    return ftruncate(fd, (off_t)arg->size) < 0 ? -errno : 0;
}

static struct timespec attr_time(uint32_t valid, uint32_t set_bit, uint32_t now_bit, uint64_t sec,
                                 uint32_t nsec)
{
    if (valid & now_bit)
        return (struct timespec){.tv_nsec = UTIME_NOW};
    if (valid & set_bit)
        return (struct timespec){.tv_sec = (time_t)sec, .tv_nsec = (long)nsec};
    return (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int attr_set_times(const struct fuse_setattr_in *arg, const struct attr_target *target)
{
    struct timespec times[2] = {
        attr_time(arg->valid, FATTR_ATIME, FATTR_ATIME_NOW, arg->atime, arg->atimensec),
        attr_time(arg->valid, FATTR_MTIME, FATTR_MTIME_NOW, arg->mtime, arg->mtimensec),
    };

    /* UTIME_NOW and UTIME_OMIT hide among larger numbers of nanoseconds. */
    if ((arg->valid & FATTR_ATIME && arg->atimensec >= ATTR_NSEC_PER_SEC) ||
        (arg->valid & FATTR_MTIME && arg->mtimensec >= ATTR_NSEC_PER_SEC))
        return -EINVAL;
    return utimensat(target->fd, "", times, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int fs_do_setattr(struct fs_request *request)
{
    const struct fuse_setattr_in *arg = &request->args.setattr;
    struct fs_share *share = request->share;
    struct attr_target target;
    int ret = attr_target_get(request, arg->valid & FATTR_FH, arg->fh, &target);

    if (ret < 0)
        return ret;
    if (arg->valid & (FATTR_UID | FATTR_GID))
        ret = attr_set_owner(share, arg, &target);
    if (ret == 0 && arg->valid & FATTR_SIZE)
        ret = attr_set_size(share, arg, &target);
    if (ret == 0 && arg->valid & FATTR_MODE)
        ret = attr_set_mode(share, arg, &target);
    if (ret == 0 && arg->valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW))
        ret = attr_set_times(arg, &target);
    if (ret == 0)
        ret = attr_answer(request, target.fd);
    attr_target_put(request, &target);
    return ret;
}

/* Owner, group, others; groups beyond the first are the guest's to know, and it checks by itself
 * unless it was told otherwise. */
static int attr_check_access(const struct fuse_in_header *header, const struct statx *stx,
                             uint32_t mask)
{
    unsigned shift = 0, granted;

    if (header->uid == 0) {
        bool may_execute = S_ISDIR(stx->stx_mode) || stx->stx_mode & 0111;

        return mask & X_OK && !may_execute ? -EACCES : 0;
    }
    if (header->uid == stx->stx_uid)
        shift = 6;
    else if (header->gid == stx->stx_gid)
        shift = 3;
    granted = (unsigned)stx->stx_mode >> shift & 7;
    return (mask & 7 & ~granted) != 0 ? -EACCES : 0;
}

int fs_do_access(struct fs_request *request)
{
    struct fs_share *share = request->share;
    struct fs_inode *inode;
    int fd = fs_inode_get_fd(share->inodes, request->header.nodeid, &inode), ret;
    struct statx stx;

    if (fd < 0)
        return fd;
    ret = statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx) < 0 ? -errno : 0;
    fs_inode_put(share->inodes, inode);
    if (ret < 0)
        return ret;
    return attr_check_access(&request->header, &stx, request->args.access.mask);
}

int fs_do_statfs(struct fs_request *request)
{
    struct fs_share *share = request->share;
    struct fs_inode *inode;
    int fd = fs_inode_get_fd(share->inodes, request->header.nodeid, &inode), ret;
    struct statvfs st;

    if (fd < 0)
        return fd;
    ret = fstatvfs(fd, &st) < 0 ? -errno : 0;
    fs_inode_put(share->inodes, inode);
    if (ret < 0)
        return ret;
    request->reply.statfs = (struct fuse_statfs_out){
        .st.blocks = st.f_blocks,
        .st.bfree = st.f_bfree,
        .st.bavail = st.f_bavail,
        .st.files = st.f_files,
        .st.ffree = st.f_ffree,
        .st.bsize = (uint32_t)st.f_bsize,
        .st.namelen = (uint32_t)MIN(st.f_namemax, NAME_MAX),
        .st.frsize = (uint32_t)st.f_frsize,
    };
    return sizeof(request->reply.statfs);
}

/* nodeid is the root of the share or of a submount. */
int fs_do_syncfs(struct fs_request *request)
{
    struct fs_share *share = request->share;
    struct fs_inode *inode;
    int inode_fd = fs_inode_get_fd(share->inodes, request->header.nodeid, &inode);
    vu_autofd int fd = -1;

    if (inode_fd < 0)
        return inode_fd;
    fd = S_ISDIR(fs_inode_type(inode)) ? openat(inode_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                                       : (errno = EINVAL, -1);
    fs_inode_put(share->inodes, inode);
    if (fd < 0 || syncfs(fd) < 0)
        return -errno;
    return 0;
}
