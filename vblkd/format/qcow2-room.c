/* SPDX-License-Identifier: Apache-2.0 */
/* See qcow2-room.h. */
#include "vblkd/format/qcow2-room.h"

#define ROOM_MIN   (UINT64_C(1) << 20)
#define ROOM_MAX   (UINT64_C(64) << 20)
#define ROOM_LEAST 4 /* clusters */
#define ROOM_SHARE 8 /* of what is in use, an eighth is made ahead */

static bool room_pays(const struct vblk_storage *storage)
{
    return vblk_cache_is_direct(storage->cache) && !storage->is_block_device &&
           !storage->is_in_memory;
}

static uint64_t room_used(const struct qcow2 *q)
{
    return q->refcounts.end << q->cluster_bits;
}

/* Made ahead at a time, of whole clusters. */
static uint64_t room_step(const struct qcow2 *q)
{
    uint64_t least = MAX(ROOM_MIN, ROOM_LEAST * (uint64_t)q->cluster_size);

    return CLAMP(room_used(q) / ROOM_SHARE, least, ROOM_MAX) & ~((uint64_t)q->cluster_size - 1);
}

int qcow2_room_want(struct qcow2 *q, unsigned flags, struct qcow2_need *need)
{
    struct qcow2_room *room = &q->room;
    uint64_t used = room_used(q), step = room_step(q);

    if (room->end >= used + step / 2 || room->is_growing || room->has_failed ||
        !room_pays(q->storage))
        return 0;
    if (flags & VBLK_NOWAIT) {
        if (room->asked_at > 0 && used < room->asked_at + step / 2)
            return 0;
        room->asked_at = used;
    }
    return qcow2_lacks(need, QCOW2_NEED_ROOM, used + step);
}

void qcow2_room_make(struct qcow2 *q, uint64_t end)
{
    struct qcow2_room *room = &q->room;
    int ret;

    if (room->is_growing || end <= room->end)
        return;
    room->is_growing = true;
    pthread_mutex_unlock(&q->lock);
    ret = vblk_storage_reserve(q->storage, end);
    pthread_mutex_lock(&q->lock);
    room->is_growing = false;
    room->asked_at = 0;
    /* A failure may leave a part of it. */
    room->end = end;
    room->has_failed = ret < 0;
}

/* Whether any byte was written from there on: to a cluster that lay behind the end of the file when
 * it was opened, which allocation did not come by. What was only laid out is a hole. */
static bool room_has_data(const struct qcow2 *q, uint64_t from)
{
    uint64_t size = __atomic_load_n(&q->storage->size, __ATOMIC_RELAXED), len;
    bool is_data;

    return vblk_storage_map(q->storage, from, &is_data, &len) < 0 || is_data || len < size - from;
}

int qcow2_room_give_back(struct qcow2 *q)
{
    uint64_t used = room_used(q);
    int ret = 0;

    if (q->room.end > used)
        ret = vblk_storage_refresh_size(q->storage);
    if (ret == 0 && q->room.end > used &&
        __atomic_load_n(&q->storage->size, __ATOMIC_RELAXED) > used && !room_has_data(q, used))
        ret = vblk_storage_truncate(q->storage, used);
    q->room = (struct qcow2_room){0};
    return ret;
}
