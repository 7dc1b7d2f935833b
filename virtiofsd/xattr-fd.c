/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls on extended attributes, by the names that descriptors have in /proc/self/fd.
 */
#include "virtiofsd/xattr-fd.h"

#include <errno.h>
#include <stdio.h>
#include <sys/xattr.h>

#include "virtiofsd/thread.h"

struct xattr_path {
    char name[16];
};

static int xattr_path_init(struct xattr_path *path, const struct fs_share *share, int fd)
{
    snprintf(path->name, sizeof(path->name), "%d", fd);
    return fs_thread_enter_fds(share);
}

ssize_t fs_xattr_get(const struct fs_share *share, int fd, const char *name, void *value,
                     size_t size)
{
    struct xattr_path path;
    ssize_t ret = xattr_path_init(&path, share, fd);

    if (ret < 0)
        return ret;
    ret = getxattr(path.name, name, value, size);
    return ret < 0 ? -errno : ret;
}

ssize_t fs_xattr_list(const struct fs_share *share, int fd, char *names, size_t size)
{
    struct xattr_path path;
    ssize_t ret = xattr_path_init(&path, share, fd);

    if (ret < 0)
        return ret;
    ret = listxattr(path.name, names, size);
    return ret < 0 ? -errno : ret;
}

int fs_xattr_set(const struct fs_share *share, int fd, const char *name, const void *value,
                 size_t size, int flags)
{
    struct xattr_path path;
    int ret = xattr_path_init(&path, share, fd);

    if (ret < 0)
        return ret;
    return setxattr(path.name, name, value, size, flags) < 0 ? -errno : 0;
}

int fs_xattr_remove(const struct fs_share *share, int fd, const char *name)
{
    struct xattr_path path;
    int ret = xattr_path_init(&path, share, fd);

    if (ret < 0)
        return ret;
    return removexattr(path.name, name) < 0 ? -errno : 0;
}
