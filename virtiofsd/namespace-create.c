/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that come into being: SYMLINK, MKNOD, MKDIR, LINK; and READLINK. New objects belong to the
 * guest's user (creds.h). Names were checked at decoding.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/beneath.h"
#include "virtiofsd/creation.h"
#include "virtiofsd/entry.h"
#include "virtiofsd/request.h"

/* Makes request->name in the directory. 0, or -1 with errno. */
typedef int (*create_call)(const struct fs_request *request, int dir_fd, mode_t mode,
                           const char *target);

/* Labels what was just made and counts a lookup of it. One openat2 and one statx. */
static int create_reply(struct fs_request *request, int dir_fd, const struct fs_creation *creation)
{
    vu_autofd int fd = fs_open_beneath(dir_fd, request->name, O_PATH | O_NOFOLLOW, 0);
    int ret;

    if (fd < 0)
        return fd;
    ret = fs_creation_label(request->share, creation, fd);
    if (ret < 0) {
        unlinkat(dir_fd, request->name, request->header.opcode == FUSE_MKDIR ? AT_REMOVEDIR : 0);
        return ret;
    }
    ret = fs_entry_from_fd(request->share, &fd, &request->reply.entry);
    return ret < 0 ? ret : (int)sizeof(request->reply.entry);
}

/* Runs `call` as the guest's user, in the directory that the header names. */
static int create_object(struct fs_request *request, mode_t mode, mode_t umask, const char *target,
                         create_call call)
{
    struct fs_share *share = request->share;
    struct fs_inode *parent;
    int dir_fd = fs_inode_get_fd(share->inodes, request->header.nodeid, &parent), ret;
    struct fs_creation creation;

    if (dir_fd < 0)
        return dir_fd;
    /* Nothing is left behind that could not be told of. */
    ret = fs_inodes_are_full(share->inodes) ? -ENFILE : 0;
    if (ret == 0)
        ret = fs_creation_begin(request, mode, umask, &creation);
    if (ret == 0) {
        ret = call(request, dir_fd, creation.mode, target) < 0 ? -errno : 0;
        fs_creation_end(request, &creation);
        if (ret == 0)
            ret = create_reply(request, dir_fd, &creation);
    }
    fs_inode_put(share->inodes, parent);
    return ret;
}

static int create_call_symlink(const struct fs_request *request, int dir_fd, mode_t mode,
                               const char *target)
{
    return symlinkat(target, dir_fd, request->name);
}

static int create_call_mknod(const struct fs_request *request, int dir_fd, mode_t mode,
                             const char *target)
{
    /* The guest's 32-bit device numbers are laid out like the low half of ours. */
    return mknodat(dir_fd, request->name, mode, request->args.mknod.rdev);
}

static int create_call_mkdir(const struct fs_request *request, int dir_fd, mode_t mode,
                             const char *target)
{
    return mkdirat(dir_fd, request->name, mode);
}

int fs_do_symlink(struct fs_request *request)
{
    char target[PATH_MAX];
    int ret = fs_request_read_target(request, target);

    return ret < 0 ? ret : create_object(request, 0, 0, target, create_call_symlink);
}

int fs_do_mknod(struct fs_request *request)
{
    const struct fuse_mknod_in *in = &request->args.mknod;
    mode_t mode = in->mode & (S_IFMT | 07777);

    if (S_ISDIR(mode) || S_ISLNK(mode))
        return -EINVAL;
    return create_object(request, mode, in->umask & 0777, NULL, create_call_mknod);
}

int fs_do_mkdir(struct fs_request *request)
{
    const struct fuse_mkdir_in *in = &request->args.mkdir;

    return create_object(request, in->mode & 01777, in->umask, NULL, create_call_mkdir);
}

/* Gives an inode another name. By its O_PATH descriptor itself it would take CAP_DAC_READ_SEARCH.
 */
static int create_link(const struct fs_share *share, int fd, int dir_fd, const char *name)
{
    char source[16];

    snprintf(source, sizeof(source), "%d", fd);
    return linkat(share->proc_fds, source, dir_fd, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

/* Makes it, and looks it up. A predecessor may have made it already. */
static int link_name(struct fs_request *request, struct fs_inode *parent, int fd, int dir_fd)
{
    struct fuse_entry_out *entry = &request->reply.entry;
    struct fs_share *share = request->share;
    int made = create_link(share, fd, dir_fd, request->name), ret = made;

    if (made == 0 || (made == -EEXIST && request->elem->is_again))
        ret = fs_entry_lookup(share, parent, request->name, entry);
    if (ret == 0 && made < 0 && entry->nodeid != request->args.link.oldnodeid) {
        fs_entry_unlookup(share, entry);
        ret = made;
    }
    return ret;
}

int fs_do_link(struct fs_request *request)
{
    struct fs_share *share = request->share;
    struct fs_inode *parent, *inode;
    int dir_fd = fs_inode_get_fd(share->inodes, request->header.nodeid, &parent), fd, ret;

    if (dir_fd < 0)
        return dir_fd;
    ret = fd = fs_inode_get_fd(share->inodes, request->args.link.oldnodeid, &inode);
    if (fd >= 0) {
        ret = link_name(request, parent, fd, dir_fd);
        fs_inode_put(share->inodes, inode);
    }
    fs_inode_put(share->inodes, parent);
    return ret < 0 ? ret : (int)sizeof(request->reply.entry);
}

/* The target goes to the guest without a terminator, as long as it is. */
int fs_do_readlink(struct fs_request *request)
{
    struct fs_share *share = request->share;
    struct fs_inode *inode;
    int fd = fs_inode_get_fd(share->inodes, request->header.nodeid, &inode);
    char target[PATH_MAX];
    ssize_t len;

    if (fd < 0)
        return fd;
    len = readlinkat(fd, "", target, sizeof(target));
    if (len < 0)
        len = errno == ENOENT ? -EINVAL : -errno; /* no symbolic link */
    fs_inode_put(share->inodes, inode);
    if (len < 0)
        return (int)len;
    if ((size_t)len > request->in.left)
        return -EINVAL;
    return (int)vu_iov_write(&request->in, target, (size_t)len);
}
