/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of forgotten inodes. Its links have the place of the lookup count, which is 0 meanwhile.
 *
 * Any thread. The lock is taken behind a shard's, and guards the links of all inodes in the list,
 * whatever their shards.
 */
#include "virtiofsd/inode-past.h"

#include <glib.h>

#include "vhost-user/cleanup.h"

void fs_inode_past_init(struct fs_inode_past *past, struct fs_state_table *table, uint32_t max)
{
    past->table = table;
    past->max = max;
    past->oldest = past->newest = past->n = 0;
    pthread_mutex_init(&past->lock, NULL);
}

void fs_inode_past_clear(struct fs_inode_past *past)
{
    g_assert(past->n == 0);
    pthread_mutex_destroy(&past->lock);
}

uint32_t fs_inode_past_count(const struct fs_inode_past *past)
{
    return __atomic_load_n(&past->n, __ATOMIC_RELAXED);
}

static struct fs_inode *past_at(struct fs_inode_past *past, uint32_t slot)
{
    return (struct fs_inode *)fs_state_table_at(past->table, slot);
}

void fs_inode_past_add(struct fs_inode_past *past, struct fs_inode *inode)
{
    uint32_t slot = fs_state_table_slot(past->table, &inode->fd.record);
    VU_LOCK_SCOPE(&past->lock);

    inode->past.older = past->newest;
    inode->past.newer = 0;
    if (past->newest)
        past_at(past, past->newest)->past.newer = slot;
    else
        past->oldest = slot;
    past->newest = slot;
    __atomic_fetch_add(&past->n, 1, __ATOMIC_RELAXED);
}

void fs_inode_past_remove(struct fs_inode_past *past, struct fs_inode *inode)
{
    VU_LOCK_SCOPE(&past->lock);
    uint32_t older = inode->past.older, newer = inode->past.newer;

    *(older ? &past_at(past, older)->past.newer : &past->oldest) = newer;
    *(newer ? &past_at(past, newer)->past.older : &past->newest) = older;
    __atomic_fetch_sub(&past->n, 1, __ATOMIC_RELAXED);
}

struct fs_inode *fs_inode_past_pin_oldest(struct fs_inode_past *past)
{
    VU_LOCK_SCOPE(&past->lock);
    struct fs_inode *inode;

    if (!past->oldest)
        return NULL;
    inode = past_at(past, past->oldest);
    /* It leaves the list before it is retired, so that this pin is never the last. */
    fs_state_table_pin(&inode->fd.record);
    return inode;
}
