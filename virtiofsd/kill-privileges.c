/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clearing setuid bits and capabilities. Nearly no file has any, so each is looked for first, which
 * takes no lock; only then is it taken away.
 */
#include "virtiofsd/kill-privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/xattr.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "virtiofsd/fuse-wire.h"
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

/* --- a change of owner, which the host's kernel takes for a reason to clear them --- */

struct kill_kept {
    mode_t mode;           /* with setuid or setgid bits; 0: there are none */
    size_t capability_len; /* 0: none */
    char capability[XATTR_CAPS_SZ];
};

static const char *kill_name_capability(const struct fs_share *share)
{
    return share->capability_name ? share->capability_name : XATTR_NAME_CAPS;
}

static int kill_keep(const struct fs_share *share, int fd, mode_t mode, struct kill_kept *kept)
{
    ssize_t len;

    if (mode & (S_ISUID | S_ISGID))
        kept->mode = mode & 07777;
    /* A guest that knows of no attributes cannot take a capability away. */
    if (!fs_options_xattr(share->options))
        return 0;
    len = fs_xattr_get(share, fd, kill_name_capability(share), kept->capability,
                       sizeof(kept->capability));
    if (len < 0)
        return kill_ignore_missing((int)len);
    kept->capability_len = (size_t)len;
    return 0;
}

static int kill_give_back(const struct fs_share *share, int fd, const struct kill_kept *kept)
{
    char name[16];

    snprintf(name, sizeof(name), "%d", fd);
    if (kept->mode && fchmodat(share->proc_fds, name, kept->mode, 0) < 0)
        return -errno;
    if (kept->capability_len == 0)
        return 0;
    return fs_xattr_set(share, fd, kill_name_capability(share), kept->capability,
                        kept->capability_len, 0);
}

int fs_kill_by_owner(const struct fs_share *share, int fd, uid_t uid, gid_t gid)
{
    struct kill_kept kept = {0};
    struct stat st;
    int ret = 0;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_nlink == 0 || !fs_share_negotiated(share, FUSE_HANDLE_KILLPRIV_V2))
        ret = kill_keep(share, fd, st.st_mode, &kept);
    else if (share->capability_name)
        ret = kill_ignore_missing(fs_xattr_remove(share, fd, share->capability_name));
    if (ret < 0)
        return ret;
    if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
        return -errno;
    return kill_give_back(share, fd, &kept);
}
