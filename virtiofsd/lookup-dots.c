/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only place where ".." is resolved, and the only names that lead up. A directory that the host
 * has moved out of the share has a parent, but none that the guest may see. Workers.
 */
#include "virtiofsd/lookup-dots.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/entry.h"

#define DOTS_MAX_DEPTH 4096 /* of a directory, where its way to the root is looked at */

bool fs_lookup_is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int dots_open_parent(int dir_fd)
{
    int fd = openat(dir_fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

/* Whether a directory is the root of the share: 1, 0 or -errno. */
static int dots_is_root(const struct fs_inode *root, int fd)
{
    struct statx stx;

    if (statx(fd, "", AT_EMPTY_PATH, FS_STATX_MASK, &stx) < 0)
        return -errno;
    return fs_inode_is(root, &stx);
}

/* 0 where the way up from a directory comes to the root of the share, else -ESTALE. */
static int dots_check_below_root(struct fs_share *share, int dir_fd)
{
    struct fs_inode *root = fs_inode_get(share->inodes, FUSE_ROOT_ID);
    vu_autofd int fd = -1;
    int ret = dots_is_root(root, dir_fd);

    for (int i = 0; i < DOTS_MAX_DEPTH && ret == 0; i++) {
        int above = dots_open_parent(fd < 0 ? dir_fd : fd);

        vu_clear_fd(&fd);
        fd = above;
        ret = above < 0 ? above : dots_is_root(root, above);
    }
    fs_inode_put(share->inodes, root);
    if (ret < 0)
        return ret;
    return ret == 1 ? 0 : -ESTALE;
}

int fs_lookup_dots(struct fs_request *request, struct fs_inode *inode)
{
    struct fs_share *share = request->share;
    bool is_parent = strcmp(request->name, "..") == 0;
    vu_autofd int fd = -1;
    int inode_fd, ret;

    if (is_parent && fs_inode_type(inode) != S_IFDIR)
        return -ENOTDIR;
    inode_fd = fs_inode_fd(share->inodes, inode);
    if (inode_fd < 0)
        return inode_fd;
    /* That of the root is the root. */
    if (!is_parent || request->header.nodeid == FUSE_ROOT_ID) {
        fd = fcntl(inode_fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return -errno;
        return fs_entry_from_fd(share, &fd, &request->reply.entry);
    }
    fd = dots_open_parent(inode_fd);
    if (fd < 0)
        return fd;
    ret = dots_check_below_root(share, fd);
    return ret < 0 ? ret : fs_entry_from_fd(share, &fd, &request->reply.entry);
}
