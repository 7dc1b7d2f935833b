/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries and attributes. A name is resolved as one component below the O_PATH descriptor of its
 * directory, never through a symbolic link.
 *
 * Any thread.
 */
#include "virtiofsd/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"
#include "virtiofsd/beneath.h"

void fs_attr_from_statx(const struct fs_share *share, const struct statx *stx,
                        struct fuse_attr *ret_attr)
{
    *ret_attr = (struct fuse_attr){
        .ino = stx->stx_ino,
        .size = stx->stx_size,
        .blocks = stx->stx_blocks,
        .atime = (uint64_t)stx->stx_atime.tv_sec,
        .mtime = (uint64_t)stx->stx_mtime.tv_sec,
        .ctime = (uint64_t)stx->stx_ctime.tv_sec,
        .atimensec = stx->stx_atime.tv_nsec,
        .mtimensec = stx->stx_mtime.tv_nsec,
        .ctimensec = stx->stx_ctime.tv_nsec,
        .mode = stx->stx_mode,
        .nlink = stx->stx_nlink,
        .uid = fs_idmap_to_guest(&share->options->translate_uid, stx->stx_uid),
        .gid = fs_idmap_to_guest(&share->options->translate_gid, stx->stx_gid),
        .rdev = (uint32_t)makedev(stx->stx_rdev_major, stx->stx_rdev_minor),
        .blksize = stx->stx_blksize,
    };
}

struct timespec fs_attr_timeout(const struct fs_share *share, uint32_t mode)
{
    if (S_ISREG(mode) && mode & (S_ISUID | S_ISGID) &&
        fs_share_negotiated(share, FUSE_HANDLE_KILLPRIV_V2))
        return (struct timespec){0};
    return share->attr_timeout;
}

static void entry_set_timeouts(const struct fs_share *share, struct fuse_entry_out *entry)
{
    struct timespec timeout = fs_attr_timeout(share, entry->attr.mode);

    entry->entry_valid = (uint64_t)share->entry_timeout.tv_sec;
    entry->entry_valid_nsec = (uint32_t)share->entry_timeout.tv_nsec;
    entry->attr_valid = (uint64_t)timeout.tv_sec;
    entry->attr_valid_nsec = (uint32_t)timeout.tv_nsec;
}

/* Tells of a pinned inode whose lookup is counted, and puts it. */
static void entry_fill(struct fs_share *share, struct fs_inode *inode, const struct statx *stx,
                       struct fuse_entry_out *ret_entry)
{
    ret_entry->nodeid = fs_inode_nodeid(share->inodes, inode);
    ret_entry->generation = fs_inode_generation(inode);
    fs_attr_from_statx(share, stx, &ret_entry->attr);
    entry_set_timeouts(share, ret_entry);
    fs_inode_put(share->inodes, inode);
}

/* The inode behind *fd (taken over, -1 afterwards), pinned, with one lookup more. */
static int entry_add(struct fs_share *share, int *fd, struct statx *ret_stx,
                     struct fs_inode **ret_inode)
{
    vu_autofd int owned = vu_steal_fd(fd);

    if (statx(owned, "", AT_EMPTY_PATH, FS_STATX_MASK, ret_stx) < 0)
        return -errno;
    return fs_inode_find_or_add(share->inodes, ret_stx, &owned, 1, ret_inode);
}

int fs_entry_from_fd(struct fs_share *share, int *fd, struct fuse_entry_out *ret_entry)
{
    struct fs_inode *inode;
    struct statx stx;
    int ret = entry_add(share, fd, &stx, &inode);

    if (ret == 0)
        entry_fill(share, inode, &stx, ret_entry);
    return ret;
}

/* Opens the name, whatever it leads to by now, and counts a lookup of that. */
static int entry_open(struct fs_share *share, int dir_fd, const char *name, struct statx *ret_stx,
                      struct fs_inode **ret_inode)
{
    int fd = fs_open_beneath(dir_fd, name, O_PATH | O_NOFOLLOW, 0);

    return fd < 0 ? fd : entry_add(share, &fd, ret_stx, ret_inode);
}

/* The known inode behind a name of which statx has just said *stx, with one lookup more. */
static struct fs_inode *entry_find(struct fs_share *share, int dir_fd, const char *name,
                                   const struct statx *stx)
{
    union fs_file_handle handle;
    bool doubtful;
    struct fs_inode *inode = fs_inode_find(share->inodes, stx, NULL, 1, &doubtful);

    if (!doubtful || fs_file_handle_get(dir_fd, name, &handle) < 0)
        return inode;
    return fs_inode_find(share->inodes, stx, &handle, 1, &doubtful);
}

/* The guest's kernel has them in the file system it mounted, and in none that it finds there. */
static void entry_warn_of_acls(struct fs_share *share)
{
    if (fs_share_negotiated(share, FUSE_POSIX_ACL) &&
        !__atomic_exchange_n(&share->warned_of_acls, true, __ATOMIC_RELAXED))
        vu_warning("virtiofsd: a file system below the directory is announced to the guest, whose "
                   "kernel obeys no access control lists in it; see --no-announce-submounts");
}

/* As entry_fill; a directory on another mount than its parent is announced as such. */
static void entry_fill_below(struct fs_share *share, const struct fs_inode *parent,
                             struct fs_inode *inode, const struct statx *stx,
                             struct fuse_entry_out *ret_entry)
{
    bool is_mount_point = S_ISDIR(stx->stx_mode) && inode->mount_id != parent->mount_id;

    if (is_mount_point)
        fs_inode_enter_mount(share->inodes, inode);
    entry_fill(share, inode, stx, ret_entry);
    if (!is_mount_point || !fs_share_negotiated(share, FUSE_SUBMOUNTS))
        return;
    ret_entry->attr.flags |= FUSE_ATTR_SUBMOUNT;
    entry_warn_of_acls(share);
    /* Linux keeps none for a mount point, and would take any other for a new directory each time it
     * looks, with what is mounted there in the guest thrown away. */
    ret_entry->generation = 0;
}

int fs_entry_lookup(struct fs_share *share, struct fs_inode *parent, const char *name,
                    struct fuse_entry_out *ret_entry)
{
    int dir_fd = fs_inode_fd(share->inodes, parent);
    struct fs_inode *inode;
    struct statx stx;

    if (dir_fd < 0)
        return dir_fd;
    if (statx(dir_fd, name, AT_SYMLINK_NOFOLLOW, FS_STATX_MASK, &stx) < 0)
        return -errno;
    inode = entry_find(share, dir_fd, name, &stx);
    if (!inode) {
        int ret = entry_open(share, dir_fd, name, &stx, &inode);

        if (ret < 0)
            return ret;
    }
    entry_fill_below(share, parent, inode, &stx, ret_entry);
    return 0;
}

int fs_entry_lookup_listed(struct fs_share *share, struct fs_inode *parent, const char *name,
                           uint64_t ino, unsigned type, struct fuse_entry_out *ret_entry)
{
    int dir_fd = fs_inode_fd(share->inodes, parent), ret;
    struct fs_inode *inode;
    struct statx stx;
    bool doubtful;

    if (dir_fd < 0)
        return dir_fd;
    fs_inode_identify_sibling(parent, ino, type << 12, &stx);
    inode = fs_inode_find(share->inodes, &stx, NULL, 0, &doubtful);
    if (inode)
        fs_inode_put(share->inodes, inode);
    if (inode || doubtful)
        return fs_entry_lookup(share, parent, name, ret_entry);
    ret = entry_open(share, dir_fd, name, &stx, &inode);
    if (ret == 0)
        entry_fill_below(share, parent, inode, &stx, ret_entry);
    return ret;
}

void fs_entry_unlookup(struct fs_share *share, const struct fuse_entry_out *entry)
{
    fs_inode_forget(share->inodes, entry->nodeid, 1);
}
