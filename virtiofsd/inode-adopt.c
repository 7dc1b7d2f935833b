/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes that a predecessor has left in the table (state-file.h). Those are known again that have a
 * file handle in their record, and are on the mount of the root, which alone is sure to be found
 * again: mounts have other names now. They begin without descriptors.
 *
 * At start, on one thread.
 */
#include "virtiofsd/inode-set.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/state-file.h"

struct inode_adoption {
    struct fs_inodes *inodes;
    uint32_t mount_id;
};

static bool adopt_keeps(void *opaque, struct fs_record *record)
{
    const struct inode_adoption *adoption = opaque;
    struct fs_inode *inode = fs_inode_of(record);

    if (fs_state_table_slot(adoption->inodes->table, record) == FUSE_ROOT_ID)
        return record->generation == 0;
    if (inode->standing != FS_INODE_KNOWN || inode->n_lookup == 0 || !inode->is_beside_root ||
        inode->handle.len == 0 || inode->handle.len > FS_STORED_HANDLE_ROOM)
        return false;
    inode->fd.fd_word = FS_FD_NONE;
    inode->fd.place = 0;
    inode->version = 0;
    inode->mount_id = adoption->mount_id;
    return true;
}

/* The root is what it is now; its mount is open from here on. */
static int adopt_root(struct fs_inodes *inodes, const struct statx *stx, int *fd)
{
    struct fs_record *record = fs_state_table_get(inodes->table, FUSE_ROOT_ID);
    int ret;

    if (!record)
        return -EBADMSG;
    inodes->root = fs_inode_of(record);
    fs_inode_identify(inodes->root, stx);
    inodes->root->n_lookup = 1;
    inodes->root->version = 0;
    inodes->root->standing = FS_INODE_KNOWN;
    inodes->root->handle = (struct fs_stored_handle){0};
    inodes->root->fd.place = 0;
    fs_fd_cache_add(inodes->cache, &inodes->root->fd, fd);
    ret = fs_inode_remember(inodes, inodes->root);
    if (ret < 0)
        fs_fd_cache_drop(inodes->cache, &inodes->root->fd);
    return ret;
}

static void adopt_list(struct fs_inodes *inodes, struct fs_inode *inode)
{
    struct fs_inode_shard *shard = fs_inode_hash_shard(&inodes->hash, inode);
    VU_LOCK_SCOPE(&shard->lock);

    fs_inode_hash_add_locked(&inodes->hash, shard, inode);
}

int fs_inodes_shape(int root_fd, const struct fs_inodes_limits *limits,
                    struct fs_state_shape *ret_shape)
{
    struct fs_inode root;
    struct statx stx;

    if (statx(root_fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &stx) < 0)
        return -errno;
    fs_inode_identify(&root, &stx);
    *ret_shape = (struct fs_state_shape){
        .inode_len = sizeof(root),
        .max_inodes = limits->n_inodes,
        .root_dev = root.dev,
        .root_ino = root.ino,
    };
    return 0;
}

int fs_inodes_adopt(struct fs_inodes *inodes, const struct statx *stx, int *fd)
{
    struct inode_adoption adoption = {.inodes = inodes};
    struct fs_record *record;
    struct fs_inode key;
    uint32_t slot = 0;
    int ret;

    fs_inode_identify(&key, stx);
    adoption.mount_id = key.mount_id;
    ret = fs_state_table_adopt(inodes->table, adopt_keeps, &adoption);
    if (ret == 0)
        ret = adopt_root(inodes, stx, fd);
    if (ret < 0)
        return ret;
    while ((record = fs_state_table_next(inodes->table, slot))) {
        slot = fs_state_table_slot(inodes->table, record);
        adopt_list(inodes, fs_inode_of(record));
        if (slot != FUSE_ROOT_ID)
            fs_handle_store_adopt(inodes->store, key.mount_id);
        fs_state_table_put(inodes->table, record);
    }
    return 0;
}
