/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TMPFILE: a regular file without a name (O_TMPFILE), which LINK may give one later. Workers.
 */
#include <errno.h>
#include <fcntl.h>

#include "virtiofsd/beneath.h"
#include "virtiofsd/creds.h"
#include "virtiofsd/open.h"
#include "virtiofsd/request.h"

/* A descriptor or -errno. Without O_EXCL it can be linked. */
static int tmpfile_open(const struct fs_request *request, const struct fs_inode *parent)
{
    const struct fuse_create_in *in = &request->args.create;
    mode_t mode = in->mode & ~in->umask & 07777;
    int flags = ((int)in->flags & (O_ACCMODE | O_EXCL)) | O_TMPFILE;
    struct fs_creds creds;
    int fd, ret;

    ret = fs_creds_switch(request->share->creds_policy, request->header.uid, request->header.gid,
                          mode, &creds);
    if (ret < 0)
        return ret;
    fd = fs_open_beneath(parent->fd, ".", flags, mode);
    fs_creds_restore(&creds);
    return fd;
}

int fs_do_tmpfile(struct fs_request *request)
{
    struct fs_share *share = request->share;
    struct fs_inode *parent = fs_inode_get(share->inodes, request->header.nodeid);
    int ret;

    if (!parent)
        return -ESTALE;
    ret = tmpfile_open(request, parent);
    fs_inode_put(share->inodes, parent);
    if (ret >= 0)
        ret = fs_open_reply_new(request, ret);
    return ret < 0 ? ret : (int)sizeof(request->reply.create);
}
