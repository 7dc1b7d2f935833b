/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clearing setuid bits and capabilities. Nearly no file has any, so each is looked for first, which
 * takes no lock; only then is it taken away.
 */
#include "virtiofsd/kill-privileges.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "virtiofsd/xattr-fd.h"

/* Nothing to take away, or nowhere to keep it: as good as done. */
static int kill_ignore_missing(int ret)
{
    return ret == -ENODATA || ret == -EOPNOTSUPP ? 0 : ret;
}

static int kill_capability_of_open(const struct fs_share *share, int fd)
{
    const char *name = share->capability_name;
    int ret = fgetxattr(fd, name, NULL, 0) < 0 ? -errno : 0;

    if (ret == 0)
        ret = fremovexattr(fd, name) < 0 ? -errno : 0;
    return kill_ignore_missing(ret);
}

static int kill_bits(const struct fs_share *share, int fd)
{
    mode_t kill = S_ISUID;
    struct stat st;

    /* The kernel does it for us where we are no more than a user. */
    if (share->creds_policy == FS_CREDS_NONE)
        return 0;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_mode & S_IXGRP)
        kill |= S_ISGID;
    if (!(st.st_mode & kill))
        return 0;
    /* A change of owner that changes none: at once for all who look, and nobody's chmod is lost. */
    return fchown(fd, (uid_t)-1, (gid_t)-1) < 0 ? -errno : 0;
}

int fs_kill_privileges(const struct fs_share *share, int fd, bool by_user)
{
    int ret = by_user ? kill_bits(share, fd) : 0;

    if (ret == 0 && share->capability_name)
        ret = kill_capability_of_open(share, fd);
    return ret;
}

int fs_kill_capability(const struct fs_share *share, int fd)
{
    if (!share->capability_name)
        return 0;
    return kill_ignore_missing(fs_xattr_remove(share, fd, share->capability_name));
}
