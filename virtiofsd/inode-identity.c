/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes by identity: whether what was looked up is one the guest knows already, or a new one.
 *
 * An inode number belongs to one inode only while that lives, which a descriptor sees to. A known
 * inode without one may be long gone and its number another's: only the handle tells. One that is
 * found out is stale: the guest may name it, and is told ESTALE, but no lookup finds it.
 *
 * Any thread.
 */
#include "virtiofsd/inode-set.h"

#include <errno.h>

#include "vhost-user/cleanup.h"

void fs_inode_identify(struct fs_inode *ret_key, const struct statx *stx)
{
    ret_key->dev = fs_inode_dev(stx->stx_dev_major, stx->stx_dev_minor);
    ret_key->ino = stx->stx_ino;
    ret_key->mount_id = stx->stx_mask & STATX_MNT_ID ? (uint32_t)stx->stx_mnt_id : 0;
    ret_key->type = (unsigned)stx->stx_mode >> 12 & 0xfu;
}

bool fs_inode_is(const struct fs_inode *inode, const struct statx *stx)
{
    struct fs_inode key;

    fs_inode_identify(&key, stx);
    return key.ino == inode->ino && key.dev == inode->dev && key.mount_id == inode->mount_id &&
           key.type == inode->type;
}

void fs_inode_identify_sibling(const struct fs_inode *inode, uint64_t ino, uint32_t mode,
                               struct statx *ret_stx)
{
    *ret_stx = (struct statx){
        .stx_mask = STATX_MNT_ID,
        .stx_mode = (uint16_t)mode,
        .stx_ino = ino,
        .stx_dev_major = inode->dev >> 20,
        .stx_dev_minor = inode->dev & ((1u << 20) - 1),
        .stx_mnt_id = inode->mount_id,
    };
}

/* Whether an inode of the right identity, pinned, is the one that was looked up. */
static bool inode_is_proven(struct fs_inodes *inodes, const struct fs_inode *inode,
                            const union fs_file_handle *handle)
{
    if (fs_fd_cache_has(&inode->fd))
        return true;
    return handle && fs_handle_store_equal(inodes->store, &inode->handle, handle);
}

/* Pinned and counted, or NULL; then *ret_doubtful (not pinned) has the identity, and no proof. */
static struct fs_inode *inode_find_locked(struct fs_inodes *inodes, struct fs_inode_shard *shard,
                                          const struct fs_inode *key,
                                          const union fs_file_handle *handle, uint64_t n_lookups,
                                          struct fs_inode **ret_doubtful)
{
    struct fs_inode *inode = fs_inode_hash_find_locked(&inodes->hash, shard, key);

    *ret_doubtful = NULL;
    if (!inode)
        return NULL;
    /* First the pin: what has a descriptor then keeps it. In its chain it is live, so that this
     * pin is never the last. */
    fs_state_table_pin(&inode->fd.record);
    if (inode_is_proven(inodes, inode, handle)) {
        if (fs_inode_get_standing(inode) != FS_INODE_PAST)
            inode->n_lookup += n_lookups;
        else if (n_lookups > 0)
            fs_inode_revive_locked(inodes, inode, n_lookups);
        return inode;
    }
    fs_state_table_put(inodes->table, &inode->fd.record);
    *ret_doubtful = inode;
    return NULL;
}

/* What is not what was looked up, although it has the identity, is found no more. */
static void inode_disown_locked(struct fs_inodes *inodes, struct fs_inode_shard *shard,
                                struct fs_inode *inode)
{
    if (fs_inode_get_standing(inode) == FS_INODE_PAST) {
        fs_inode_give_up_locked(inodes, shard, inode);
        return;
    }
    fs_inode_set_standing(inode, FS_INODE_STALE);
    fs_inode_hash_remove_locked(&inodes->hash, shard, inode);
}

struct fs_inode *fs_inode_find(struct fs_inodes *inodes, const struct statx *stx,
                               const union fs_file_handle *handle, uint64_t n_lookups,
                               bool *ret_doubtful)
{
    struct fs_inode key, *inode, *doubtful;
    struct fs_inode_shard *shard;

    fs_inode_identify(&key, stx);
    shard = fs_inode_hash_shard(&inodes->hash, &key);
    VU_LOCK_SCOPE(&shard->lock);
    inode = inode_find_locked(inodes, shard, &key, handle, n_lookups, &doubtful);
    *ret_doubtful = doubtful && !handle;
    return inode;
}

/* Takes over *fd, and the handle in key. NULL when the table is full. */
static struct fs_inode *inode_add_locked(struct fs_inodes *inodes, struct fs_inode_shard *shard,
                                         const struct fs_inode *key, int *fd, uint64_t n_lookups)
{
    struct fs_record *record = fs_state_table_alloc(inodes->table);
    struct fs_inode *inode;

    if (!record)
        return NULL;
    inode = fs_inode_of(record);
    inode->dev = key->dev;
    inode->ino = key->ino;
    inode->mount_id = key->mount_id;
    inode->type = key->type;
    inode->is_beside_root = inodes->root && key->mount_id == inodes->root->mount_id;
    inode->handle = key->handle;
    inode->n_lookup = n_lookups;
    fs_fd_cache_add(inodes->cache, &inode->fd, fd);
    fs_inode_hash_add_locked(&inodes->hash, shard, inode);
    fs_state_table_publish(record);
    return inode;
}

/* -EAGAIN where the handle of *fd is needed. Takes over *fd for a new one. */
static int inode_find_or_add_once(struct fs_inodes *inodes, const struct fs_inode *key, int *fd,
                                  const union fs_file_handle *handle, bool has_room,
                                  uint64_t n_lookups, struct fs_inode **ret_inode)
{
    struct fs_inode_shard *shard = fs_inode_hash_shard(&inodes->hash, key);
    struct fs_inode *inode, *doubtful;
    VU_LOCK_SCOPE(&shard->lock);

    inode = inode_find_locked(inodes, shard, key, handle, n_lookups, &doubtful);
    if (doubtful && !handle)
        return -EAGAIN;
    if (doubtful)
        inode_disown_locked(inodes, shard, doubtful);
    if (!inode && has_room)
        inode = inode_add_locked(inodes, shard, key, fd, n_lookups);
    if (!inode)
        return -ENFILE;
    *ret_inode = inode;
    return 0;
}

/* What a new inode has to meet, and what a known one gains from a lookup: *fd, if it has none. */
static int inode_settle(struct fs_inodes *inodes, struct fs_inode *inode, int *fd)
{
    bool is_new = *fd < 0;

    if (is_new && inodes->always)
        return fs_inode_remember(inodes, inode);
    if (!is_new && inodes->store)
        fs_fd_cache_offer(inodes->cache, &inode->fd, fd);
    return 0;
}

int fs_inode_find_or_add(struct fs_inodes *inodes, const struct statx *stx, int *fd,
                         uint64_t n_lookups, struct fs_inode **ret_inode)
{
    bool has_room = fs_fd_cache_make_room(inodes->cache) == 0;
    union fs_file_handle handle;
    struct fs_inode key, *inode;
    int ret;

    fs_inode_identify(&key, stx);
    key.handle = (struct fs_stored_handle){0};
    /* Before anybody finds it, and tells the guest of it; without, it is not for a successor. */
    if (inodes->is_kept)
        (void)fs_handle_store_keep(inodes->store, *fd, key.mount_id, &key.handle);
    do {
        ret = inode_find_or_add_once(inodes, &key, fd, NULL, has_room, n_lookups, &inode);
        if (ret == -EAGAIN) {
            ret = fs_file_handle_get(*fd, "", &handle);
            if (ret == 0)
                ret =
                    inode_find_or_add_once(inodes, &key, fd, &handle, has_room, n_lookups, &inode);
        }
    } while (ret == -ENFILE && has_room && fs_inode_give_up_oldest(inodes));
    if (*fd >= 0)
        fs_handle_store_drop(inodes->store, key.mount_id, &key.handle); /* it was known */
    if (ret < 0)
        return ret;
    ret = inode_settle(inodes, inode, fd);
    if (ret < 0) {
        fs_inode_forget(inodes, fs_inode_nodeid(inodes, inode), n_lookups);
        fs_inode_put(inodes, inode);
        return ret;
    }
    *ret_inode = inode;
    return 0;
}
