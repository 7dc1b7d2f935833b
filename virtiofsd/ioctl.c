/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IOCTL, for the attributes that lsattr, chattr and overlayfs know, and nothing else: an ioctl is
 * whatever a file system or a driver makes of it. The project, by which the host limits the space
 * of a share, is the host's to change. Workers.
 */
#include <errno.h>
#include <glib.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>

#include "virtiofsd/directory-stream.h"
#include "virtiofsd/request.h"

struct ioctl_command {
    uint32_t command;
    uint32_t in_len, out_len; /* bytes that the host reads and writes */
    /* -EPERM where the guest may not set this. */
    int (*check)(int fd, const void *data);
};

/* The project and its inheritance stay what they are. */
static int ioctl_check_flags(int fd, const void *data)
{
    int flags, before;

    memcpy(&flags, data, sizeof(flags));
    if (ioctl(fd, FS_IOC_GETFLAGS, &before) < 0)
        return -errno;
    return (flags ^ before) & FS_PROJINHERIT_FL ? -EPERM : 0;
}

static int ioctl_check_xattr(int fd, const void *data)
{
    struct fsxattr attr, before;

    memcpy(&attr, data, sizeof(attr));
    if (ioctl(fd, FS_IOC_FSGETXATTR, &before) < 0)
        return -errno;
    if ((attr.fsx_xflags ^ before.fsx_xflags) & FS_XFLAG_PROJINHERIT)
        return -EPERM;
    return attr.fsx_projid != before.fsx_projid ? -EPERM : 0;
}

static const struct ioctl_command ioctl_commands[] = {
    {FS_IOC_GETFLAGS, 0, sizeof(int), NULL},
    {FS_IOC_SETFLAGS, sizeof(int), 0, ioctl_check_flags},
    {FS_IOC_FSGETXATTR, 0, sizeof(struct fsxattr), NULL},
    {FS_IOC_FSSETXATTR, sizeof(struct fsxattr), 0, ioctl_check_xattr},
};

static const struct ioctl_command *ioctl_find(uint32_t command)
{
    for (size_t i = 0; i < G_N_ELEMENTS(ioctl_commands); i++)
        if (ioctl_commands[i].command == command)
            return &ioctl_commands[i];
    return NULL;
}

/* 0 or -errno; data is read and written. */
static int ioctl_run(struct fs_request *request, const struct ioctl_command *command, void *data)
{
    const struct fuse_ioctl_in *in = &request->args.ioctl;
    enum fs_handle_kind kind = in->flags & FUSE_IOCTL_DIR ? FS_HANDLE_DIRECTORY : FS_HANDLE_FILE;
    struct fs_share *share = request->share;
    struct fs_handle *handle;
    int ret = -EBADF;

    if (kind == FS_HANDLE_DIRECTORY)
        handle = fs_directory_handle_get(share, request->header.nodeid, in->fh, &ret);
    else
        handle = fs_handle_get(share->handles, in->fh, kind);
    if (!handle)
        return ret;
    ret = 0;
    if (command->check)
        ret = command->check(handle->fd, data);
    if (ret == 0 && ioctl(handle->fd, command->command, data) < 0)
        ret = -errno;
    fs_handle_put(share->handles, handle);
    return ret;
}

int fs_do_ioctl(struct fs_request *request)
{
    const struct fuse_ioctl_in *in = &request->args.ioctl;
    const struct ioctl_command *command = ioctl_find(in->cmd);
    uint8_t data[sizeof(struct fsxattr)] __attribute__((aligned(8))) = {0};
    uint32_t out_len;
    int ret;

    if (!command || in->flags & FUSE_IOCTL_UNRESTRICTED)
        return -ENOTTY;
    if (in->in_size < command->in_len || in->out_size < command->out_len)
        return -EINVAL;
    if (vu_iov_read(&request->out, data, command->in_len) < command->in_len)
        return -EINVAL;
    out_len = command->out_len;
    if (request->in.left < sizeof(struct fuse_ioctl_out) + out_len)
        return -EINVAL;
    ret = ioctl_run(request, command, data);
    if (ret < 0)
        return ret;
    request->reply.ioctl.out = (struct fuse_ioctl_out){.result = 0};
    memcpy(request->reply.ioctl.data, data, out_len);
    return (int)(sizeof(struct fuse_ioctl_out) + out_len);
}
