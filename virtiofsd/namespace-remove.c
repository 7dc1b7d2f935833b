/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that go or move: UNLINK, RMDIR, RENAME, RENAME2. The inodes behind them stay known until
 * the guest forgets them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtiofsd/request.h"

#define REMOVE_RENAME_FLAGS (RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)

static int remove_name(struct fs_request *request, int flags)
{
    struct fs_share *share = request->share;
    struct fs_inode *parent;
    int dir_fd = fs_inode_get_fd(share->inodes, request->header.nodeid, &parent), ret;

    if (dir_fd < 0)
        return dir_fd;
    ret = unlinkat(dir_fd, request->name, flags) < 0 ? -errno : 0;
    if (ret == -ENOENT && request->elem->is_again)
        ret = 0; /* a predecessor has done it: the guest had found the name */
    fs_inode_put(share->inodes, parent);
    return ret;
}

int fs_do_unlink(struct fs_request *request)
{
    return remove_name(request, 0);
}

int fs_do_rmdir(struct fs_request *request)
{
    return remove_name(request, AT_REMOVEDIR);
}

/* Whether a predecessor has renamed it already: the guest had found the old name. Of two that
 * change places nobody can tell. */
static bool rename_is_done(const struct fs_request *request, int from_fd, int to_fd, unsigned flags)
{
    struct stat st;

    if (!request->elem->is_again || flags & RENAME_EXCHANGE ||
        fstatat(to_fd, request->name2, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    if (fstatat(from_fd, request->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT;
    /* Else the whiteout would be put over what has been renamed. */
    return flags & RENAME_WHITEOUT && S_ISCHR(st.st_mode) && st.st_rdev == 0;
}

/* A whiteout is a new object and belongs to the guest's user like any other. */
static int rename_at(const struct fs_request *request, int from_fd, int to_fd, unsigned flags)
{
    struct fs_creds creds = {.policy = FS_CREDS_NONE};
    int ret = 0;

    if (flags & RENAME_WHITEOUT)
        ret = fs_creds_switch(request->share->creds_policy, request->header.uid,
                              request->header.gid, 0, &creds);
    if (ret < 0)
        return ret;
    ret = renameat2(from_fd, request->name, to_fd, request->name2, flags) < 0 ? -errno : 0;
    fs_creds_restore(&creds);
    return ret;
}

static int rename_names(struct fs_request *request, uint64_t to_nodeid, unsigned flags)
{
    struct fs_share *share = request->share;
    struct fs_inode *from, *to;
    int from_fd = fs_inode_get_fd(share->inodes, request->header.nodeid, &from), to_fd, ret;

    if (from_fd < 0)
        return from_fd;
    ret = to_fd = fs_inode_get_fd(share->inodes, to_nodeid, &to);
    if (to_fd >= 0) {
        ret = rename_is_done(request, from_fd, to_fd, flags)
                  ? 0
                  : rename_at(request, from_fd, to_fd, flags);
        fs_inode_put(share->inodes, to);
    }
    fs_inode_put(share->inodes, from);
    return ret;
}

int fs_do_rename(struct fs_request *request)
{
    return rename_names(request, request->args.rename.newdir, 0);
}

int fs_do_rename2(struct fs_request *request)
{
    if (request->args.rename2.flags & ~(uint32_t)REMOVE_RENAME_FLAGS)
        return -EINVAL;
    return rename_names(request, request->args.rename2.newdir, request->args.rename2.flags);
}
