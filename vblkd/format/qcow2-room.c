/* SPDX-License-Identifier: Apache-2.0 */
/* See qcow2-room.h. */
#include "vblkd/format/qcow2-room.h"

#include <string.h>

#include "vhost-user/log.h"

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

/* Where the next clusters are looked for: what a killed process had made ready lies behind that. */
static uint64_t room_next(const struct qcow2 *q)
{
    return q->refcounts.hint << q->cluster_bits;
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
    uint64_t next = room_next(q), step = room_step(q);

    if (room->end >= next + step / 2 || room->is_growing || room->has_failed ||
        !room_pays(q->storage))
        return 0;
    if (flags & VBLK_NOWAIT) {
        if (room->asked_at > 0 && next < room->asked_at + step / 2)
            return 0;
        room->asked_at = MAX(next, 1);
    }
    return qcow2_lacks(need, QCOW2_NEED_ROOM, next + step);
}

void qcow2_room_make(struct qcow2 *q, uint64_t end)
{
    struct qcow2_room *room = &q->room;
    uint64_t from = room_next(q);
    int ret;

    if (room->is_growing || end <= room->end)
        return;
    room->is_growing = true;
    pthread_mutex_unlock(&q->lock);
    /* A file may end far in front of that: an image says itself where it has free clusters. */
    ret = vblk_storage_reserve(q->storage, from, end);
    pthread_mutex_lock(&q->lock);
    room->is_growing = false;
    room->asked_at = 0;
    /* A failure may leave a part of it. */
    room->end = end;
    room->has_failed = ret < 0;
}

/* From `from` to the end of its block, which may be data because of what lies in front of that. */
static bool room_is_zero(const struct qcow2 *q, uint64_t from, uint64_t len)
{
    g_autofree uint8_t *bytes = g_malloc(len);

    return vblk_storage_read(q->storage, bytes, len, from) == 0 && bytes[0] == 0 &&
           memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* Whether any byte was written from there on: to a cluster that lay behind the end of the file when
 * it was opened, which allocation did not come by. What was only laid out is a hole. */
static bool room_has_data(const struct qcow2 *q, uint64_t from)
{
    uint64_t size = __atomic_load_n(&q->storage->size, __ATOMIC_RELAXED), len;
    uint64_t block = q->storage->physical_sector, rest = from % block ? block - from % block : 0;
    bool is_data;

    rest = MIN(rest, size - from);
    if (rest > 0 && !room_is_zero(q, from, rest))
        return true;
    from += rest;
    return from < size &&
           (vblk_storage_map(q->storage, from, &is_data, &len) < 0 || is_data || len < size - from);
}

void qcow2_room_give_back(struct qcow2 *q)
{
    uint64_t used = room_used(q);
    int ret = 0;

    if (q->room.end > used)
        ret = vblk_storage_refresh_size(q->storage);
    if (ret == 0 && q->room.end > used &&
        __atomic_load_n(&q->storage->size, __ATOMIC_RELAXED) > used && !room_has_data(q, used))
        ret = vblk_storage_truncate(q->storage, used);
    if (ret < 0)
        vu_warning("%s: the file stays longer than it need be: %s", q->name, g_strerror(-ret));
    q->room = (struct qcow2_room){0};
}
