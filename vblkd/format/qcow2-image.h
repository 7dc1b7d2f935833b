/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open qcow2 image, for the files of the format.
 *
 * Everything that changes is under `lock`, which is never held over input or output: an operation
 * is a function of memory alone. Where it lacks something, it says so in a struct qcow2_need and
 * returns -EAGAIN without having changed anything; who may wait has it fulfilled and tries again
 * (qcow2_fulfil), who may not tells its caller. Readers of L2 entries do not even take the lock.
 *
 * `flush_lock` is held by whoever writes metadata: it comes before `lock`, and is held over input
 * and output, by threads that may wait.
 */
#pragma once

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vblkd/format/image-users.h"
#include "vblkd/format/image.h"
#include "vblkd/format/qcow2-header.h"
#include "vblkd/format/qcow2-l2-cache.h"
#include "vblkd/format/qcow2-layout.h"

struct qcow2_compressed;
struct qcow2_journal;

enum qcow2_need_kind {
    QCOW2_NEED_L2_SLICE, /* `what`: the slice */
    QCOW2_NEED_L2_TABLE, /* `what`: the L1 entry whose table is missing, or is shared */
    QCOW2_NEED_REFBLOCK, /* `what`: its index */
    QCOW2_NEED_FLUSH,    /* the journal is full */
    QCOW2_NEED_CHANGE,   /* another is at it: wait until something changes */
    QCOW2_NEED_PREPARE,  /* the header, for the first write */
    QCOW2_NEED_ROOM,     /* `what`: where the file is to end, see qcow2-room.h */
};

struct qcow2_need {
    enum qcow2_need_kind kind;
    uint64_t what;
};

/* A refcount block in memory, as it is on disk. Under `lock`. */
struct qcow2_refblock {
    uint64_t index, offset;
    uint8_t *bytes;                /* NULL while it is read in */
    uint32_t dirty_from, dirty_to; /* bytes; equal: clean */
    bool is_writing;
    uint64_t last_use;
};

/* See qcow2-room.h. Under `lock`. */
struct qcow2_room {
    uint64_t end;      /* bytes; 0: none was made */
    uint64_t asked_at; /* where allocation was when somebody was sent to make it; 0: nobody */
    bool is_growing;
    bool has_failed; /* and is not tried again */
};

/* [Host cluster management]. Under `lock`. */
struct qcow2_refcounts {
    uint64_t *table;               /* offsets of blocks; 0: none, all refcounts 0 */
    uint64_t n_entries;            /* as many as its clusters have room for */
    uint64_t dirty_from, dirty_to; /* entries of the table */
    uint64_t offset, n_clusters;   /* of the table; the header may not say so yet */
    bool needs_place, is_moved;    /* it has grown: no room for it yet; not yet in the header */
    GHashTable *blocks;            /* index -> struct qcow2_refblock */
    unsigned max_blocks;
    uint64_t clock;
    uint64_t hint;  /* cluster: none below is known to be free */
    uint64_t row;   /* cluster: on a block device, several in a row are not looked for below */
    uint64_t n_bad; /* entries that made no sense, and were dropped, when a repair opened it */
    uint64_t end;   /* cluster: none from here on was ever used, and the file is a hole there */
};

/* [Cluster mapping], the active L1 table, in the processor's byte order. */
struct qcow2_l1 {
    uint64_t *entries; /* atomic; changed under `lock` */
    uint32_t n_entries;
    uint32_t dirty_from, dirty_to; /* under `lock` */
};

/* Clusters that lost a reference. */
struct qcow2_free {
    uint64_t cluster, n;
    uint64_t stamp; /* of the users that may have known of them */
};

struct qcow2 {
    struct vblk_image *image;
    struct vblk_storage *storage;
    struct vblk_storage *data_storage; /* the external data file, owned; else `storage` */
    char *name;                        /* of the file, for messages */
    struct qcow2_header header;        /* under flush_lock, but for what never changes */

    unsigned cluster_bits, l2_bits, slice_bits; /* l2, slice: log2 of entries */
    uint64_t cluster_size;
    uint64_t snapshots_len;                     /* bytes of the snapshot table */
    unsigned n_bad_snapshots, n_lost_snapshots; /* of it, for a repair; wrong, and so lost */
    unsigned n_subclusters, subcluster_bits;    /* 1 and cluster_bits without extended L2 */
    bool has_extended_l2, has_data_file, discards;
    unsigned n_tracked;  /* atomic; bitmaps that follow what is written */
    bool is_prepared;    /* atomic: the header says what it must for us to write */
    bool is_doubtful;    /* settling has failed: the header may not say that; under flush_lock */
    bool is_repairing;   /* atomic: opened to be repaired, which has not been done yet */
    bool will_be_backed; /* what reads as zeros is not to read as something else soon */

    pthread_mutex_t flush_lock;
    pthread_mutex_t lock;
    pthread_mutex_t header_lock; /* the last: of the header on the disk, while it is written */
    pthread_cond_t changed;      /* with `lock`: an allocation or a load has ended */

    struct qcow2_l1 l1;
    struct qcow2_l2_cache l2;
    struct qcow2_refcounts refcounts;
    struct qcow2_room room;
    GHashTable *metadata;       /* clusters of refcount blocks, L2 tables; under `lock` */
    GHashTable *fresh;          /* guest cluster -> struct qcow2_fresh; under `lock` */
    GArray *unmapped, *durable; /* struct qcow2_free: before, and after their flush; `lock` */
    guint n_unmapped_taken;     /* of unmapped, by a flush that is on its way */
    uint64_t compressed_tail;   /* behind the last compressed bytes written; under `lock` */
    bool is_making_table;       /* under `lock`: an L2 table is being made */
    uint64_t n_changes;         /* atomic; of metadata */
    uint64_t n_written;         /* atomic; value of n_changes that is durable */

    struct qcow2_journal *journal; /* NULL: none; under `lock` */
    bool is_noting;                /* it is ours, no longer a predecessor's */
    uint64_t n_journal_reserved;   /* records, for writes on their way */
    int journal_fd;                /* while there is one */
    uint64_t journal_bits_end;     /* of its file, behind the bits of bitmaps; under flush_lock */

    struct qcow2_compressed *compressed; /* NULL until the first one is read */

    GPtrArray *bitmaps; /* struct qcow2_bitmap; NULL: none that count; changed when nobody writes */
};

static inline struct qcow2 *qcow2_of(const struct vblk_image *image)
{
    return image->data;
}

/* --- addresses --- */

static inline uint64_t qcow2_offset_in_cluster(const struct qcow2 *q, uint64_t offset)
{
    return offset & (q->cluster_size - 1);
}

/* Bits of the guest's offset below a slice's number, and below an L1 index. */
static inline unsigned qcow2_slice_shift(const struct qcow2 *q)
{
    return q->cluster_bits + q->slice_bits;
}

static inline unsigned qcow2_l1_shift(const struct qcow2 *q)
{
    return q->cluster_bits + q->l2_bits;
}

static inline unsigned qcow2_slice_index(const struct qcow2 *q, uint64_t offset)
{
    return (unsigned)(offset >> q->cluster_bits) & ((1u << q->slice_bits) - 1);
}

static inline uint64_t qcow2_l1_load(const struct qcow2 *q, uint64_t offset)
{
    uint64_t index = offset >> qcow2_l1_shift(q);

    return __atomic_load_n(&q->l1.entries[index], __ATOMIC_ACQUIRE);
}

static inline uint64_t qcow2_clusters_for(const struct qcow2 *q, uint64_t len)
{
    return (len >> q->cluster_bits) + (qcow2_offset_in_cluster(q, len) != 0);
}

/* --- state --- */

static inline bool qcow2_is_corrupt(const struct qcow2 *q)
{
    return __atomic_load_n(&q->image->is_corrupt, __ATOMIC_RELAXED);
}

/* Metadata differs from the disk. Under `lock`. */
static inline void qcow2_touch(struct qcow2 *q)
{
    __atomic_fetch_add(&q->n_changes, 1, __ATOMIC_RELEASE);
}

/* Metadata makes no sense (and that is not what a repair is about to find): one log line, and
 * nothing is written from now on but the corrupt bit, which is on the disk when this returns. -EIO.
 * Any thread, with any locks but header_lock. */
int qcow2_mark_corrupt(struct qcow2 *q, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Whether a cluster of the file is metadata that we know of. Under `lock`. */
bool qcow2_is_metadata(const struct qcow2 *q, uint64_t cluster);

/* --- needs --- */

/* -EAGAIN, with *need. */
static inline int qcow2_lacks(struct qcow2_need *need, enum qcow2_need_kind kind, uint64_t what)
{
    *need = (struct qcow2_need){kind, what};
    return -EAGAIN;
}

/* Lets go of `lock`, does what is needed (or waits for it), takes it again. 0: try again. */
int qcow2_fulfil(struct qcow2 *q, const struct qcow2_need *need);

/* Runs step(q, arg, need) under `lock` until it does not return -EAGAIN, or (NOWAIT) once. */
int qcow2_run(struct qcow2 *q, unsigned flags,
              int (*step)(struct qcow2 *q, void *arg, struct qcow2_need *need), void *arg);
