/* SPDX-License-Identifier: Apache-2.0 */
/*
 * O_PATH descriptors of records that can do without one for a while: as many as a bound allows are
 * open, and where room is wanted, one is closed that was not used lately (CLOCK).
 *
 * Any thread. A descriptor is used while its record is pinned, and never closed before: only
 * records that nobody pins lose theirs. A descriptor that is there is had by one load and a branch.
 */
#pragma once

#include "virtiofsd/state-table.h"

/* Begins every such record. */
struct fs_fd_record {
    struct fs_record record;
    int32_t fd_word; /* atomic: descriptor * 2, + 1 where it was used lately; FS_FD_NONE */
    uint32_t place;  /* in the ring, + 1; 0: never to be closed. Guarded by the cache's lock */
};

#define FS_FD_NONE (-2)
#define FS_FD_USED 1

struct fs_fd_cache_ops {
    /* Makes sure that `reopen` will find what fd stands for. Not 0: it keeps its descriptor. The
     * record is pinned, no lock held. */
    int (*remember)(void *opaque, struct fs_fd_record *record, int fd);
    /* A descriptor or -errno, for a pinned record that was remembered. */
    int (*reopen)(void *opaque, struct fs_fd_record *record);
};

struct fs_fd_cache_limits {
    uint32_t n_fds;     /* never more, but for a few while all are in use at once */
    uint32_t n_fds_aim; /* so many, as long as there are some to close */
};

struct fs_fd_cache;

/* For records of `table`. With `ops` NULL none is ever closed, and nothing is counted. */
struct fs_fd_cache *fs_fd_cache_create(struct fs_state_table *table,
                                       const struct fs_fd_cache_limits *limits,
                                       const struct fs_fd_cache_ops *ops, void *opaque);
void fs_fd_cache_destroy(struct fs_fd_cache *cache);

/* Before another record is given a descriptor: closes one if need be. 0, or -ENFILE. */
int fs_fd_cache_make_room(struct fs_fd_cache *cache);
/* Gives a new record, not yet published, its descriptor: *fd is taken over. */
void fs_fd_cache_add(struct fs_fd_cache *cache, struct fs_fd_record *record, int *fd);
/* The same for a pinned record, unless it has one; then *fd stays the caller's. */
void fs_fd_cache_offer(struct fs_fd_cache *cache, struct fs_fd_record *record, int *fd);
/* Closes the descriptor of a pinned record that was remembered. False where somebody else has it
 * pinned, too. */
bool fs_fd_cache_close(struct fs_fd_cache *cache, struct fs_fd_record *record);
/* In the release of a record: closes its descriptor. */
void fs_fd_cache_drop(struct fs_fd_cache *cache, struct fs_fd_record *record);
/* Whether a pinned record has a descriptor, which it then keeps while it is pinned. */
bool fs_fd_cache_has(const struct fs_fd_record *record);
/* Descriptors now open; 0 without `ops`. */
uint32_t fs_fd_cache_count(const struct fs_fd_cache *cache);
/* How often one was wanted that had been closed, so far. */
uint64_t fs_fd_cache_count_reopens(const struct fs_fd_cache *cache);

/* fs_fd_cache_get where the descriptor is missing, or has not been used lately. */
int fs_fd_cache_get_slowly(struct fs_fd_cache *cache, struct fs_fd_record *record);

/* The descriptor of a pinned record, valid as long as the pin; or -errno of `reopen`. */
static inline int fs_fd_cache_get(struct fs_fd_cache *cache, struct fs_fd_record *record)
{
    /* Ordered behind the pin: partner of cache_close_locked. */
    int32_t word = __atomic_load_n(&record->fd_word, __ATOMIC_SEQ_CST);

    return word & FS_FD_USED ? word >> 1 : fs_fd_cache_get_slowly(cache, record);
}
