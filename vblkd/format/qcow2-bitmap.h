/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistent bitmaps. [Bitmaps] Those that are enabled ("auto") and consistent are tracked: their
 * bits are read before the first write, when the directory on the disk says "in use"; every write,
 * zero and discard sets some in memory; closing writes them back. If that is not to be, because the
 * process is killed, a successor with the same journal finds them there; for everybody else they
 * stay "in use", and nobody takes them for more than they are. Those found like that, and disabled
 * ones, stay as they are.
 *
 * To change what bitmaps there are (nobody else uses the image, flush_lock is held): qcow2_prepare,
 * change q->bitmaps, qcow2_bitmaps_store.
 */
#pragma once

#include "vblkd/format/qcow2-bits.h"
#include "vblkd/format/qcow2-image.h"

/* What fits in memory, of all bitmaps of an image together. */
#define QCOW2_MAX_BITMAPS_MEMORY (UINT64_C(512) << 20)

#define QCOW2_BITMAP_TYPE_DIRTY  1
#define QCOW2_BITMAP_MIN_BITS    9 /* of granularity */
#define QCOW2_BITMAP_MAX_BITS    31
#define QCOW2_BITMAP_MAX_NAME    1023
#define QCOW2_BITMAP_DEFAULT_MIN (UINT32_C(4) << 10)  /* granularity where nothing is said: */
#define QCOW2_BITMAP_DEFAULT_MAX (UINT32_C(64) << 10) /* a cluster, within these */

struct qcow2_bitmap {
    char *name;
    uint64_t table_offset; /* 0: not on the disk yet */
    uint32_t table_len;    /* entries */
    uint32_t flags;        /* QCOW2_BITMAP_...; on the disk IN_USE comes to them where is_held */
    uint8_t type;
    uint8_t granularity_bits;
    uint8_t *extra;
    uint32_t extra_len;

    struct qcow2_bits *bits; /* atomic; NULL: not in memory */
    bool is_held;            /* in use on the disk, by us: bits are the only ones that count */
    bool is_changed;         /* atomic; bits (or flags, for who edits) differ from the disk */
    bool is_removed;         /* to be left out of the next directory */
};

/* A new one with all bits 0, to be appended to q->bitmaps. NULL: it would take too much memory. */
struct qcow2_bitmap *qcow2_bitmap_create(const struct qcow2 *q, const char *name,
                                         unsigned granularity_bits, uint32_t flags);
void qcow2_bitmap_free(struct qcow2_bitmap *bitmap);

/* What the directory says; nothing of it has bits. 0 with an empty list where there are no bitmaps
 * that count; -EBADMSG, -EIO. Any image, any time. */
int qcow2_bitmap_directory_read(struct qcow2 *q, GPtrArray **ret_bitmaps);
/* By name; NULL: none. */
struct qcow2_bitmap *qcow2_bitmap_find(const GPtrArray *bitmaps, const char *name);
/* Whether its bits mean something: not in use by somebody who has not come back, and nothing about
 * it that we do not know. */
bool qcow2_bitmap_is_usable(const struct qcow2_bitmap *bitmap);
/* Bits of a disk of `size`. */
uint64_t qcow2_bitmap_n_bits(const struct qcow2_bitmap *bitmap, uint64_t size);

/* --- by who holds flush_lock; these wait --- */

/* Brings the bits of a usable one into memory, if they are not there. -EBADMSG: its table makes no
 * sense; -ENOMEM: more than is allowed, -EIO. */
int qcow2_bitmap_load(struct qcow2 *q, struct qcow2_bitmap *bitmap);

/*
 * Everything that is held or changed, to the disk; it counts from the instant at which the header
 * does. Nobody writes meanwhile; the next write prepares anew, and is tracked again. -errno: the
 * disk says what it said.
 */
int qcow2_bitmaps_store(struct qcow2 *q);

/* --- for opening, the first write, closing, resizing --- */

/* The directory, into q->bitmaps. One that makes no sense is left alone, and counts no longer once
 * something is written. False with *error: they would take too much memory. */
bool qcow2_bitmaps_open(struct qcow2 *q, GError **error);
void qcow2_bitmaps_clear(struct qcow2 *q);
/* Of a predecessor that was killed, whose bits the journal has: they are stored, and consistent
 * again. -errno. */
int qcow2_bitmaps_take_over(struct qcow2 *q);
/* Tells which are inconsistent, and stay so. */
void qcow2_bitmaps_report(const struct qcow2 *q);
/* Before the first write: loads what will be tracked, and marks it in use. -errno. */
int qcow2_bitmaps_begin(struct qcow2 *q);
/* The disk is about to become `size` bytes: all bitmaps are held, with room for that. Requests may
 * be on their way below the smaller size. -errno; -EBUSY: one is inconsistent. */
int qcow2_bitmaps_grow(struct qcow2 *q, uint64_t size);
/* It has become `size` bytes: what lies behind is forgotten. */
void qcow2_bitmaps_shrink(struct qcow2 *q, uint64_t size);

/* [offset, offset + len) is about to change. Any thread. */
void qcow2_bitmaps_touch_tracked(struct qcow2 *q, uint64_t offset, uint64_t len);

static inline void qcow2_bitmaps_touch(struct qcow2 *q, uint64_t offset, uint64_t len)
{
    if (__atomic_load_n(&q->n_tracked, __ATOMIC_ACQUIRE) > 0)
        qcow2_bitmaps_touch_tracked(q, offset, len);
}
