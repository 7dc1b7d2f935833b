/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of records, bounded: a ring of those that may be closed, and the hand of a clock that
 * goes round it.
 *
 * The one race that matters: a user pins a record and then reads its word; whoever closes takes the
 * word away and then looks for pins. Both are sequentially consistent, so one of the two sees the
 * other: either the word is put back, or the user finds none and comes here, under the lock.
 *
 * Any thread. The lock guards the ring and every change of a word but that of its mark; no system
 * call is made under it.
 */
#include "virtiofsd/fd-cache.h"

#include <errno.h>
#include <glib.h>

#include "vhost-user/cleanup.h"

#define CACHE_AIM_STEPS 64   /* how far the hand goes for the aim; for the bound, twice round */
#define CACHE_SPARE     1024 /* places for what threads open beyond the bound */

struct fs_fd_cache {
    /* fixed */
    struct fs_state_table *table;
    struct fs_fd_cache_limits limits;
    const struct fs_fd_cache_ops *ops;
    void *opaque;

    uint32_t n_fds;     /* atomic: open, in the ring or not */
    uint64_t n_reopens; /* atomic */

    pthread_mutex_t lock;
    uint32_t *ring; /* lock; slots of the table */
    uint32_t n_ring, hand;
    uint32_t n_places; /* fixed; room in the ring */
};

static struct fs_fd_record *cache_record_at(const struct fs_fd_cache *cache, uint32_t place)
{
    return (struct fs_fd_record *)fs_state_table_at(cache->table, cache->ring[place]);
}

struct fs_fd_cache *fs_fd_cache_create(struct fs_state_table *table,
                                       const struct fs_fd_cache_limits *limits,
                                       const struct fs_fd_cache_ops *ops, void *opaque)
{
    struct fs_fd_cache *cache = g_new0(struct fs_fd_cache, 1);

    cache->table = table;
    cache->limits = *limits;
    cache->ops = ops;
    cache->opaque = opaque;
    cache->n_places = limits->n_fds + CACHE_SPARE;
    cache->ring = ops ? g_new(uint32_t, cache->n_places) : NULL;
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

void fs_fd_cache_destroy(struct fs_fd_cache *cache)
{
    if (!cache)
        return;
    pthread_mutex_destroy(&cache->lock);
    g_free(cache->ring);
    g_free(cache);
}

/* A ring that is full leaves the record out: its descriptor is kept. */
static void cache_enter_locked(struct fs_fd_cache *cache, struct fs_fd_record *record)
{
    if (cache->n_ring == cache->n_places)
        return;
    cache->ring[cache->n_ring++] = fs_state_table_slot(cache->table, &record->record);
    record->place = cache->n_ring;
}

/* The last one takes its place. Where the hand has just been, that is as far from it as can be. */
static void cache_leave_locked(struct fs_fd_cache *cache, struct fs_fd_record *record)
{
    uint32_t place = record->place - 1;

    if (record->place == 0)
        return;
    cache->ring[place] = cache->ring[--cache->n_ring];
    if (place < cache->n_ring)
        cache_record_at(cache, place)->place = place + 1;
    record->place = 0;
}

/* One that was not used since the hand last came by, and that nobody uses; pinned. NULL: none is
 * found on so many steps. */
static struct fs_fd_record *cache_pick_locked(struct fs_fd_cache *cache, uint32_t n_steps)
{
    for (uint32_t i = 0; i < n_steps && cache->n_ring > 0; i++) {
        struct fs_fd_record *record;

        if (cache->hand >= cache->n_ring)
            cache->hand = 0;
        record = cache_record_at(cache, cache->hand++);
        if (__atomic_load_n(&record->fd_word, __ATOMIC_RELAXED) & FS_FD_USED)
            __atomic_fetch_and(&record->fd_word, ~FS_FD_USED, __ATOMIC_RELAXED);
        else if (fs_state_table_pin_if_idle(&record->record))
            return record;
    }
    return NULL;
}

/* Takes the descriptor away from a remembered record that has no pin but the caller's. -1 where
 * somebody has come to use it. */
static int cache_close_locked(struct fs_fd_cache *cache, struct fs_fd_record *record)
{
    int32_t word = __atomic_load_n(&record->fd_word, __ATOMIC_RELAXED);

    if (word & FS_FD_USED ||
        !__atomic_compare_exchange_n(&record->fd_word, &word, FS_FD_NONE, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_RELAXED))
        return -1;
    /* Ordered behind the word: partner of fs_fd_cache_get. */
    if (!fs_state_table_is_sole_pin(&record->record)) {
        __atomic_store_n(&record->fd_word, word | FS_FD_USED, __ATOMIC_RELEASE);
        return -1;
    }
    cache_leave_locked(cache, record);
    __atomic_fetch_sub(&cache->n_fds, 1, __ATOMIC_RELAXED);
    return word >> 1;
}

/* One step towards a free descriptor. False where there is nothing to close. */
static bool cache_evict(struct fs_fd_cache *cache)
{
    struct fs_fd_record *record;
    vu_autofd int fd = -1;
    int ret;

    {
        VU_LOCK_SCOPE(&cache->lock);
        bool is_full = cache->n_ring > 0 && fs_fd_cache_count(cache) >= cache->limits.n_fds;

        record = cache_pick_locked(cache, is_full ? 2 * cache->n_ring : CACHE_AIM_STEPS);
    }
    if (!record)
        return false;
    /* Pinned, and in the ring: the word is a descriptor, and stays one. */
    ret = cache->ops->remember(cache->opaque, record,
                               __atomic_load_n(&record->fd_word, __ATOMIC_RELAXED) >> 1);
    {
        VU_LOCK_SCOPE(&cache->lock);

        if (ret == 0)
            fd = cache_close_locked(cache, record);
        else
            cache_leave_locked(cache, record);
    }
    fs_state_table_put(cache->table, &record->record);
    return true;
}

int fs_fd_cache_make_room(struct fs_fd_cache *cache)
{
    if (!cache->ops)
        return 0;
    while (fs_fd_cache_count(cache) >= cache->limits.n_fds_aim)
        if (!cache_evict(cache))
            return fs_fd_cache_count(cache) < cache->limits.n_fds ? 0 : -ENFILE;
    return 0;
}

void fs_fd_cache_add(struct fs_fd_cache *cache, struct fs_fd_record *record, int *fd)
{
    if (!cache->ops) {
        record->fd_word = vu_steal_fd(fd) * 2 + FS_FD_USED;
        return;
    }
    __atomic_store_n(&record->fd_word, FS_FD_NONE, __ATOMIC_RELAXED);
    fs_fd_cache_offer(cache, record, fd);
}

void fs_fd_cache_offer(struct fs_fd_cache *cache, struct fs_fd_record *record, int *fd)
{
    VU_LOCK_SCOPE(&cache->lock);

    if (__atomic_load_n(&record->fd_word, __ATOMIC_RELAXED) != FS_FD_NONE)
        return;
    __atomic_fetch_add(&cache->n_fds, 1, __ATOMIC_RELAXED);
    cache_enter_locked(cache, record);
    __atomic_store_n(&record->fd_word, vu_steal_fd(fd) * 2, __ATOMIC_RELEASE);
}

bool fs_fd_cache_close(struct fs_fd_cache *cache, struct fs_fd_record *record)
{
    vu_autofd int fd = -1;
    VU_LOCK_SCOPE(&cache->lock);

    if (__atomic_load_n(&record->fd_word, __ATOMIC_RELAXED) == FS_FD_NONE)
        return true;
    __atomic_fetch_and(&record->fd_word, ~FS_FD_USED, __ATOMIC_RELAXED);
    fd = cache_close_locked(cache, record);
    return fd >= 0;
}

void fs_fd_cache_drop(struct fs_fd_cache *cache, struct fs_fd_record *record)
{
    int32_t word = __atomic_load_n(&record->fd_word, __ATOMIC_RELAXED);

    if (word == FS_FD_NONE)
        return;
    if (cache->ops) {
        VU_LOCK_SCOPE(&cache->lock);

        cache_leave_locked(cache, record);
        __atomic_fetch_sub(&cache->n_fds, 1, __ATOMIC_RELAXED);
    }
    close(word >> 1);
}

bool fs_fd_cache_has(const struct fs_fd_record *record)
{
    return __atomic_load_n(&record->fd_word, __ATOMIC_SEQ_CST) != FS_FD_NONE;
}

/* What is there, marked as used; -1 where nothing is. */
static int cache_find(struct fs_fd_cache *cache, struct fs_fd_record *record)
{
    VU_LOCK_SCOPE(&cache->lock);

    if (__atomic_load_n(&record->fd_word, __ATOMIC_RELAXED) == FS_FD_NONE)
        return -1;
    return __atomic_or_fetch(&record->fd_word, FS_FD_USED, __ATOMIC_RELAXED) >> 1;
}

int fs_fd_cache_get_slowly(struct fs_fd_cache *cache, struct fs_fd_record *record)
{
    vu_autofd int opened = -1;
    int fd = cache_find(cache, record);

    if (fd >= 0)
        return fd;
    /* What all have in use at once is few, and covered by the reserve. */
    (void)fs_fd_cache_make_room(cache);
    __atomic_fetch_add(&cache->n_reopens, 1, __ATOMIC_RELAXED);
    opened = cache->ops->reopen(cache->opaque, record);
    if (opened < 0)
        return opened;
    fs_fd_cache_offer(cache, record, &opened);
    return cache_find(cache, record);
}

uint64_t fs_fd_cache_count_reopens(const struct fs_fd_cache *cache)
{
    return __atomic_load_n(&cache->n_reopens, __ATOMIC_RELAXED);
}

uint32_t fs_fd_cache_count(const struct fs_fd_cache *cache)
{
    return __atomic_load_n(&cache->n_fds, __ATOMIC_RELAXED);
}
