/* SPDX-License-Identifier: Apache-2.0 */
/*
 * openat2(2), for which the C library has no function. Any thread.
 */
#include "virtiofsd/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

int fs_open_beneath(int dir_fd, const char *name, int flags, mode_t mode)
{
    const struct open_how how = {
        .flags = (unsigned)(flags | O_CLOEXEC),
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
    };
    long fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));

    if (fd >= 0)
        return (int)fd;
    /* The kernel looks once more whether what it found lies below: it was moved away meanwhile. */
    return errno == EXDEV ? -ENOENT : -errno;
}
