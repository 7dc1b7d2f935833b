/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name_to_handle_at and open_by_handle_at.
 */
#include "virtiofsd/file-handle.h"

#include <errno.h>
#include <sys/mman.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/fs-kind.h"

int fs_file_handle_get(int fd, const char *name, union fs_file_handle *ret_handle)
{
    int mount_id;

    ret_handle->head.handle_bytes = MAX_HANDLE_SZ;
    if (name_to_handle_at(fd, name, &ret_handle->head, &mount_id, *name ? 0 : AT_EMPTY_PATH) == 0)
        return 0;
    /* No room: it says no handle rather than one of such a length. */
    return errno == EOVERFLOW ? -EOPNOTSUPP : -errno;
}

int fs_file_handle_open(int mount_fd, union fs_file_handle *handle)
{
    int fd = open_by_handle_at(mount_fd, &handle->head, O_PATH | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

/* There and back. */
static int file_handle_try(int fd, int mount_fd)
{
    union fs_file_handle handle;
    vu_autofd int opened = -1;
    int ret = fs_file_handle_get(fd, "", &handle);

    if (ret < 0)
        return ret;
    opened = fs_file_handle_open(mount_fd, &handle);
    return opened < 0 ? opened : 0;
}

int fs_file_handle_probe(int dir_fd)
{
    vu_autofd int own = memfd_create("virtiofsd-probe", MFD_CLOEXEC);
    vu_autofd int mount_fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int ret;

    if (own < 0 || mount_fd < 0)
        return -errno;
    if (fs_kind_is_forgetful(dir_fd))
        return -EOPNOTSUPP;
    /* A file of our own, since some kernels grant less privileged processes directories alone. */
    ret = file_handle_try(own, own);
    return ret < 0 ? ret : file_handle_try(dir_fd, mount_fd);
}
