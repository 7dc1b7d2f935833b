/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FORGET, and what becomes of the inodes that the guest has forgotten: they are gone, or past. What
 * is past is known again when a lookup finds it, and is given up when room is wanted.
 *
 * Any thread.
 */
#include "virtiofsd/inode-set.h"

#include <errno.h>
#include <glib.h>
#include <linux/fuse.h>

#include "vhost-user/cleanup.h"

void fs_inode_revive_locked(struct fs_inodes *inodes, struct fs_inode *inode, uint64_t n)
{
    fs_inode_past_remove(&inodes->past, inode);
    inode->n_lookup = n;
    fs_inode_set_standing(inode, FS_INODE_KNOWN);
}

void fs_inode_give_up_locked(struct fs_inodes *inodes, struct fs_inode_shard *shard,
                             struct fs_inode *inode)
{
    if (fs_inode_get_standing(inode) != FS_INODE_PAST)
        return;
    fs_inode_past_remove(&inodes->past, inode);
    inode->n_lookup = 0;
    fs_inode_hash_remove_locked(&inodes->hash, shard, inode);
    /* Standing last: until it is retired no request may take it for a known one. */
    fs_state_table_retire(inodes->table, &inode->fd.record);
    fs_inode_set_standing(inode, FS_INODE_STALE);
}

static void inode_give_up(struct fs_inodes *inodes, struct fs_inode *inode)
{
    struct fs_inode_shard *shard = fs_inode_hash_shard(&inodes->hash, inode);
    VU_LOCK_SCOPE(&shard->lock);

    fs_inode_give_up_locked(inodes, shard, inode);
}

bool fs_inode_give_up_oldest(struct fs_inodes *inodes)
{
    struct fs_inode *inode =
        fs_inode_past_count(&inodes->past) > 0 ? fs_inode_past_pin_oldest(&inodes->past) : NULL;

    if (!inode)
        return false;
    inode_give_up(inodes, inode);
    fs_inode_put(inodes, inode);
    return true;
}

/* Whether a pinned one that is being forgotten can be remembered. */
static bool inode_may_be_past(struct fs_inodes *inodes, struct fs_inode *inode)
{
    if (inodes->past.max == 0)
        return false;
    /* Without a descriptor it is remembered already. */
    return !fs_fd_cache_has(&inode->fd) || fs_inode_remember(inodes, inode) == 0;
}

int fs_inode_recall(struct fs_inodes *inodes, uint64_t nodeid, struct fs_inode **ret_inode)
{
    struct fs_record *record = fs_state_table_get(inodes->table, nodeid);
    struct fs_inode *inode = record ? fs_inode_of(record) : NULL;
    int fd;

    if (!inode)
        return -ESTALE;
    if (fs_inode_get_standing(inode) == FS_INODE_PAST) {
        fd = fs_inode_fd(inodes, inode);
        if (fd == -ESTALE)
            inode_give_up(inodes, inode);
        if (fd < 0) {
            fs_inode_put(inodes, inode);
            return fd;
        }
    }
    *ret_inode = inode;
    return 0;
}

/* Takes n_lookups from a pinned inode that is not the root; with the last one it is past, where it
 * may be, or retired. */
static void inode_drop_lookups(struct fs_inodes *inodes, struct fs_inode *inode, uint64_t n_lookups,
                               bool may_be_past)
{
    struct fs_inode_shard *shard = fs_inode_hash_shard(&inodes->hash, inode);
    enum fs_inode_standing standing;
    VU_LOCK_SCOPE(&shard->lock);

    standing = fs_inode_get_standing(inode);
    if (standing == FS_INODE_PAST || inode->n_lookup == 0)
        return; /* another FORGET was quicker */
    inode->n_lookup -= MIN(n_lookups, inode->n_lookup);
    if (inode->n_lookup > 0)
        return;
    if (standing == FS_INODE_KNOWN && may_be_past) {
        fs_inode_set_standing(inode, FS_INODE_PAST);
        fs_inode_past_add(&inodes->past, inode);
        return;
    }
    if (standing == FS_INODE_KNOWN)
        fs_inode_hash_remove_locked(&inodes->hash, shard, inode);
    /* The caller's pin keeps the record, so nothing is closed under the lock. */
    fs_state_table_retire(inodes->table, &inode->fd.record);
}

void fs_inode_forget(struct fs_inodes *inodes, uint64_t nodeid, uint64_t n_lookups)
{
    struct fs_inode *inode = fs_inode_get(inodes, nodeid);

    if (!inode)
        return;
    if (inode != inodes->root)
        inode_drop_lookups(inodes, inode, n_lookups, inode_may_be_past(inodes, inode));
    fs_inode_put(inodes, inode);
    while (fs_inode_past_count(&inodes->past) > inodes->past.max)
        if (!fs_inode_give_up_oldest(inodes))
            break;
}

void fs_inodes_forget_all(struct fs_inodes *inodes)
{
    struct fs_record *record;
    uint32_t slot = FUSE_ROOT_ID;

    while ((record = fs_state_table_next(inodes->table, slot))) {
        slot = fs_state_table_slot(inodes->table, record);
        inode_drop_lookups(inodes, fs_inode_of(record), UINT64_MAX, false);
        inode_give_up(inodes, fs_inode_of(record));
        fs_inode_put(inodes, fs_inode_of(record));
    }
}
