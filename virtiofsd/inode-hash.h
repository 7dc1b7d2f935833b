/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes by identity: a hash over (device, inode number, mount), cut into shards, each with its
 * lock and its own array of buckets that doubles as it fills. Chains run through fs_record.next.
 * For inode-set.h; any thread.
 */
#pragma once

#include <pthread.h>

#include "virtiofsd/inode.h"

#define FS_INODE_N_SHARDS 16

struct fs_inode_shard {
    pthread_mutex_t lock; /* guards the rest, and what struct fs_inode says it guards */
    uint32_t *buckets;    /* slots of the state table, 0: empty */
    uint32_t n_buckets;   /* a power of two */
    uint32_t n_inodes;
};

struct fs_inode_hash {
    struct fs_state_table *table;
    struct fs_inode_shard shards[FS_INODE_N_SHARDS];
};

void fs_inode_hash_init(struct fs_inode_hash *hash, struct fs_state_table *table);
void fs_inode_hash_clear(struct fs_inode_hash *hash);
size_t fs_inode_hash_bytes(struct fs_inode_hash *hash); /* behind the struct itself */

/* The shard of all inodes with the identity of `key`, of which only that matters. */
struct fs_inode_shard *fs_inode_hash_shard(struct fs_inode_hash *hash, const struct fs_inode *key);
/* The one with the identity of `key`, or NULL. */
struct fs_inode *fs_inode_hash_find_locked(struct fs_inode_hash *hash, struct fs_inode_shard *shard,
                                           const struct fs_inode *key);
void fs_inode_hash_add_locked(struct fs_inode_hash *hash, struct fs_inode_shard *shard,
                              struct fs_inode *inode);
void fs_inode_hash_remove_locked(struct fs_inode_hash *hash, struct fs_inode_shard *shard,
                                 struct fs_inode *inode);
