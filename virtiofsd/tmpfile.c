/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TMPFILE: a regular file without a name (O_TMPFILE), which LINK may give one later. Workers.
 */
#include <errno.h>
#include <fcntl.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/beneath.h"
#include "virtiofsd/creation.h"
#include "virtiofsd/open.h"
#include "virtiofsd/request.h"

/* A descriptor or -errno. Without O_EXCL it can be linked. */
static int tmpfile_open(const struct fs_request *request, int dir_fd)
{
    const struct fuse_create_in *in = &request->args.create;
    int flags = (fs_open_host_flags(request->share, in->flags) & O_ACCMODE) |
                ((int)in->flags & O_EXCL) | O_TMPFILE;
    struct fs_creation creation;
    vu_autofd int fd = -1;
    int ret = fs_creation_begin(request, in->mode & 07777, in->umask, &creation);

    if (ret < 0)
        return ret;
    fd = fs_open_beneath(dir_fd, ".", flags, creation.mode);
    fs_creation_end(request, &creation);
    if (fd < 0)
        return fd;
    ret = fs_creation_label(request->share, &creation, fd);
    return ret < 0 ? ret : vu_steal_fd(&fd);
}

int fs_do_tmpfile(struct fs_request *request)
{
    struct fs_share *share = request->share;
    struct fs_inode *parent;
    int dir_fd = fs_inode_get_fd(share->inodes, request->header.nodeid, &parent), ret;

    if (dir_fd < 0)
        return dir_fd;
    ret = tmpfile_open(request, dir_fd);
    fs_inode_put(share->inodes, parent);
    if (ret >= 0)
        ret = fs_open_reply_new(request, ret);
    return ret < 0 ? ret : (int)sizeof(request->reply.create);
}
