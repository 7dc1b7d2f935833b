/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of inode.h share: a state table for finding inodes by nodeid, a hash for finding
 * them by identity, a cache of their descriptors and a store of their handles. For inode.c,
 * inode-identity.c, inode-forget.c and inode-adopt.c.
 *
 * Invariant, under a shard's lock: an inode is in its chain exactly while it is past, or known with
 * an n_lookup above 0 (the root always); whoever takes n_lookup to 0 makes it past, or unlinks it
 * and retires its record. What is past was remembered, and is found by identity and by
 * fs_inode_recall alone.
 *
 * Any thread. Lock order: shard, then those of past, state table and descriptor cache.
 */
#pragma once

#include "virtiofsd/inode-hash.h"
#include "virtiofsd/inode-past.h"
#include "virtiofsd/inode.h"

struct fs_inodes {
    struct fs_state_table *table;
    struct fs_inode_hash hash;
    struct fs_fd_cache *cache;
    struct fs_handle_store *store; /* NULL: each keeps its descriptor */
    struct fs_inode_past past;
    bool always;           /* limits.always */
    bool is_kept;          /* limits.place: handles are kept for a successor */
    struct fs_inode *root; /* pinned, so that it keeps its descriptor */
};

static inline struct fs_inode *fs_inode_of(struct fs_record *record)
{
    return (struct fs_inode *)record;
}

static inline enum fs_inode_standing fs_inode_get_standing(const struct fs_inode *inode)
{
    return (enum fs_inode_standing)__atomic_load_n(&inode->standing, __ATOMIC_RELAXED);
}

/* With the lock of its shard held. Behind what it says of the union of struct fs_inode, so that a
 * successor never takes the one for the other. */
static inline void fs_inode_set_standing(struct fs_inode *inode, enum fs_inode_standing standing)
{
    __atomic_store_n(&inode->standing, (uint8_t)standing, __ATOMIC_RELEASE);
}

/* Becomes the identity that stx tells. */
void fs_inode_identify(struct fs_inode *inode, const struct statx *stx);
/* Fills all with what a predecessor has left in the table, the root among it, whose *fd is taken
 * over. 0, -EBADMSG or -errno. */
int fs_inodes_adopt(struct fs_inodes *inodes, const struct statx *stx, int *fd);

/* Keeps the file handle of a pinned one: 0 or -errno. */
int fs_inode_remember(struct fs_inodes *inodes, struct fs_inode *inode);

/* The guest names a pinned one that is past again, and is to have n lookups of it. */
void fs_inode_revive_locked(struct fs_inodes *inodes, struct fs_inode *inode, uint64_t n);
/* Gives up a pinned one. It stays where it is past no more. */
void fs_inode_give_up_locked(struct fs_inodes *inodes, struct fs_inode_shard *shard,
                             struct fs_inode *inode);
/* Makes room. False where there is nothing to give up; no lock is held. */
bool fs_inode_give_up_oldest(struct fs_inodes *inodes);
