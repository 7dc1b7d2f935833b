/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inodes that the guest has forgotten and we have not: a list through their records, the one
 * forgotten longest first to be given up. For inode-set.h; any thread.
 */
#pragma once

#include <pthread.h>

#include "virtiofsd/inode.h"

struct fs_inode_past {
    struct fs_state_table *table;
    uint32_t max; /* fixed; 0: what is forgotten is gone */
    pthread_mutex_t lock;
    uint32_t oldest, newest; /* lock; slots, 0: none */
    uint32_t n;              /* atomic; written under the lock */
};

void fs_inode_past_init(struct fs_inode_past *past, struct fs_state_table *table, uint32_t max);
void fs_inode_past_clear(struct fs_inode_past *past);
uint32_t fs_inode_past_count(const struct fs_inode_past *past);
/* Both with the lock of its shard held, and so in step with inode->standing. */
void fs_inode_past_add(struct fs_inode_past *past, struct fs_inode *inode);
void fs_inode_past_remove(struct fs_inode_past *past, struct fs_inode *inode);
/* The one forgotten longest, pinned; NULL where there is none. */
struct fs_inode *fs_inode_past_pin_oldest(struct fs_inode_past *past);
