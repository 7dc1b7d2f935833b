/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash of inodes by identity. Any thread.
 */
#include "virtiofsd/inode-hash.h"

#include <glib.h>

#include "vhost-user/cleanup.h"

#define HASH_FIRST_BUCKETS 64

static uint64_t hash_of(const struct fs_inode *inode)
{
    uint64_t hash = (inode->ino + inode->mount_id * 0x9e3779b97f4a7c15u) ^ (uint64_t)inode->dev
                                                                               << 32;

    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
    hash = (hash ^ hash >> 29) * 0xc4ceb9fe1a85ec53u;
    return hash ^ hash >> 32;
}

/* High bits choose the shard, low ones the bucket. */
struct fs_inode_shard *fs_inode_hash_shard(struct fs_inode_hash *hash, const struct fs_inode *key)
{
    return &hash->shards[hash_of(key) >> 60 & (FS_INODE_N_SHARDS - 1)];
}

static uint32_t *hash_bucket(struct fs_inode_shard *shard, const struct fs_inode *inode)
{
    return &shard->buckets[hash_of(inode) & (shard->n_buckets - 1)];
}

static struct fs_inode *hash_inode_at(struct fs_inode_hash *hash, uint32_t slot)
{
    return (struct fs_inode *)fs_state_table_at(hash->table, slot);
}

void fs_inode_hash_init(struct fs_inode_hash *hash, struct fs_state_table *table)
{
    hash->table = table;
    for (unsigned i = 0; i < FS_INODE_N_SHARDS; i++) {
        struct fs_inode_shard *shard = &hash->shards[i];

        pthread_mutex_init(&shard->lock, NULL);
        shard->n_buckets = HASH_FIRST_BUCKETS;
        shard->buckets = g_new0(uint32_t, shard->n_buckets);
        shard->n_inodes = 0;
    }
}

void fs_inode_hash_clear(struct fs_inode_hash *hash)
{
    for (unsigned i = 0; i < FS_INODE_N_SHARDS; i++) {
        pthread_mutex_destroy(&hash->shards[i].lock);
        g_free(hash->shards[i].buckets);
    }
}

size_t fs_inode_hash_bytes(struct fs_inode_hash *hash)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < FS_INODE_N_SHARDS; i++) {
        VU_LOCK_SCOPE(&hash->shards[i].lock);

        bytes += hash->shards[i].n_buckets * sizeof(uint32_t);
    }
    return bytes;
}

struct fs_inode *fs_inode_hash_find_locked(struct fs_inode_hash *hash, struct fs_inode_shard *shard,
                                           const struct fs_inode *key)
{
    uint32_t slot = *hash_bucket(shard, key);

    while (slot) {
        struct fs_inode *inode = hash_inode_at(hash, slot);

        if (inode->ino == key->ino && inode->dev == key->dev && inode->mount_id == key->mount_id &&
            inode->type == key->type)
            return inode;
        slot = inode->fd.record.next;
    }
    return NULL;
}

static void hash_link_locked(struct fs_inode_hash *hash, struct fs_inode_shard *shard,
                             struct fs_inode *inode)
{
    uint32_t *bucket = hash_bucket(shard, inode);

    inode->fd.record.next = *bucket;
    *bucket = fs_state_table_slot(hash->table, &inode->fd.record);
}

/* Twice the buckets, or half of them; where there is no memory for it the chains just get longer.
 */
static void hash_resize_locked(struct fs_inode_hash *hash, struct fs_inode_shard *shard,
                               uint32_t n_buckets)
{
    uint32_t *old = shard->buckets, n_old = shard->n_buckets;
    uint32_t *buckets = g_try_new0(uint32_t, n_buckets);

    if (!buckets)
        return;
    shard->buckets = buckets;
    shard->n_buckets = n_buckets;
    for (uint32_t i = 0; i < n_old; i++) {
        uint32_t slot = old[i];

        while (slot) {
            struct fs_inode *inode = hash_inode_at(hash, slot);

            slot = inode->fd.record.next;
            hash_link_locked(hash, shard, inode);
        }
    }
    g_free(old);
}

void fs_inode_hash_add_locked(struct fs_inode_hash *hash, struct fs_inode_shard *shard,
                              struct fs_inode *inode)
{
    if (++shard->n_inodes > shard->n_buckets)
        hash_resize_locked(hash, shard, shard->n_buckets * 2);
    hash_link_locked(hash, shard, inode);
}

void fs_inode_hash_remove_locked(struct fs_inode_hash *hash, struct fs_inode_shard *shard,
                                 struct fs_inode *inode)
{
    uint32_t slot = fs_state_table_slot(hash->table, &inode->fd.record);
    uint32_t *link = hash_bucket(shard, inode);

    while (*link != slot)
        link = &fs_state_table_at(hash->table, *link)->next;
    *link = inode->fd.record.next;
    if (--shard->n_inodes < shard->n_buckets / 8 && shard->n_buckets > HASH_FIRST_BUCKETS)
        hash_resize_locked(hash, shard, shard->n_buckets / 2);
}
