/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing: header, refcount table, L1 table, caches, the files that belong to it.
 */
#include "vblkd/format/qcow2-open.h"

#include <gio/gio.h>
#include <string.h>
#include <sys/mman.h>

#include "vblkd/format/qcow2-backing.h"
#include "vblkd/format/qcow2-bitmap.h"
#include "vblkd/format/qcow2-check.h"
#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-discard.h"
#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-journal.h"
#include "vblkd/format/qcow2-l1.h"
#include "vblkd/format/qcow2-map.h"
#include "vblkd/format/qcow2-refcount.h"
#include "vblkd/format/qcow2-room.h"
#include "vblkd/format/qcow2-snapshot-table.h"
#include "vblkd/format/qcow2-write.h"
#include "vblkd/format/qcow2.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

#define OPEN_L2_CACHE_MAX       (UINT64_C(32) << 20) /* where nobody said how much */
#define OPEN_REFCOUNT_CACHE_MAX (UINT64_C(8) << 20)
#define OPEN_CLOSE_TRIES        4 /* flushes, each of which may free something */

bool qcow2_probe(const void *head, size_t len)
{
    be32_t magic, version;

    if (len < QCOW2_PROBE_LEN)
        return false;
    memcpy(&magic, head, sizeof(magic));
    memcpy(&version, (const char *)head + sizeof(magic), sizeof(version));
    return be32_value(magic) == QCOW2_MAGIC && be32_value(version) >= 2;
}

/* --- the L1 table --- */

static bool l1_check(struct qcow2 *q, GError **error)
{
    for (uint32_t i = 0; i < q->l1.n_entries; i++) {
        uint64_t offset = q->l1.entries[i] & QCOW2_OFFSET_MASK;

        if (q->l1.entries[i] == 0)
            continue;
        /* A table there would be written where something else is. */
        if ((q->l1.entries[i] & QCOW2_L1_RESERVED) || (offset & (q->cluster_size - 1)) != 0 ||
            offset == 0 || offset >> q->cluster_bits >= q->refcounts.end ||
            qcow2_is_metadata(q, offset >> q->cluster_bits)) {
            q->l1.entries[i] = QCOW2_L1_RESERVED;
            qcow2_mark_corrupt(q, "L1 entry %u makes no sense", i);
            continue;
        }
        g_hash_table_add(q->metadata, GSIZE_TO_POINTER(offset >> q->cluster_bits));
    }
    return true;
}

bool qcow2_l1_open(struct qcow2 *q, GError **error)
{
    uint64_t len = (uint64_t)q->header.l1_size * sizeof(uint64_t);
    int ret;

    /* As large as it can become, so that it never moves under its readers. */
    if (!q->l1.entries) {
        q->l1.entries = mmap(NULL, QCOW2_MAX_L1_SIZE, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (q->l1.entries == MAP_FAILED) {
            q->l1.entries = NULL;
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "no memory for the L1 table");
            return false;
        }
    }
    ret = vblk_storage_read(q->storage, q->l1.entries, len, q->header.l1_offset);
    if (ret < 0) {
        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-ret),
                    "cannot read the L1 table: %s", g_strerror(-ret));
        return false;
    }
    q->l1.n_entries = q->header.l1_size;
    for (uint32_t i = 0; i < q->l1.n_entries; i++)
        q->l1.entries[i] = be64toh(q->l1.entries[i]);
    return l1_check(q, error);
}

/* --- opening --- */

static void open_set_geometry(struct qcow2 *q)
{
    uint64_t slice_len;

    q->cluster_bits = q->header.cluster_bits;
    q->cluster_size = qcow2_header_cluster_size(&q->header);
    q->has_extended_l2 = qcow2_header_has_extended_l2(&q->header);
    q->has_data_file = (q->header.incompatible & QCOW2_INCOMPAT_DATA_FILE) != 0;
    q->l2_bits = q->cluster_bits - (q->has_extended_l2 ? 4 : 3);
    slice_len = MIN(q->cluster_size, QCOW2_L2_SLICE_MAX);
    q->slice_bits = (unsigned)__builtin_ctzll(slice_len) - (q->has_extended_l2 ? 4 : 3);
    q->n_subclusters = q->has_extended_l2 ? QCOW2_SUBCLUSTERS : 1;
    q->subcluster_bits = q->cluster_bits - (q->has_extended_l2 ? 5 : 0);
}

/* What is not the one part of cache_size is the other. */
static uint64_t open_refcount_cache_len(const struct vblk_image_options *options)
{
    if (options->refcount_cache_size)
        return options->cache_size ? MIN(options->refcount_cache_size, options->cache_size)
                                   : options->refcount_cache_size;
    if (options->cache_size)
        return options->l2_cache_size
                   ? options->cache_size - MIN(options->l2_cache_size, options->cache_size)
                   : options->cache_size / 4;
    return OPEN_REFCOUNT_CACHE_MAX;
}

/* Bytes of slices that all of the disk takes, or as many as is allowed. */
static uint64_t open_l2_cache_len(const struct qcow2 *q, const struct vblk_image_options *options)
{
    uint64_t clusters = qcow2_clusters_for(q, q->header.size);
    uint64_t set = (uint64_t)QCOW2_L2_WAYS << q->slice_bits;
    uint64_t whole = (clusters + set) * (q->has_extended_l2 ? 16 : 8);
    uint64_t max = OPEN_L2_CACHE_MAX;

    if (options->l2_cache_size)
        max = options->l2_cache_size;
    else if (options->cache_size)
        max = options->cache_size - open_refcount_cache_len(options);
    return MIN(whole, max);
}

static bool open_init_caches(struct qcow2 *q, const struct vblk_image_options *options,
                             GError **error)
{
    int ret = qcow2_l2_cache_init(&q->l2, 8u << (q->slice_bits + (q->has_extended_l2 ? 1 : 0)),
                                  q->has_extended_l2 ? 2 : 1, open_l2_cache_len(q, options));

    if (ret < 0) {
        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-ret), "no memory for L2 tables");
        return false;
    }
    return qcow2_refcounts_open(q, open_refcount_cache_len(options), error);
}

/* What the header's bits say about writing. */
static bool open_check_state(struct qcow2 *q, const struct vblk_image_options *options,
                             GError **error)
{
    if (q->header.incompatible & QCOW2_INCOMPAT_CORRUPT) {
        if (!q->image->read_only && !options->repair) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "the image is marked corrupt: repair it with \"vblk-img check -r all\", or "
                        "open it read-only");
            return false;
        }
        if (q->image->read_only)
            vu_warning("%s: the image is marked corrupt", q->name);
    }
    return true;
}

/* Only its length is needed before somebody asks for snapshots. */
static bool open_snapshots(struct qcow2 *q, GError **error)
{
    g_autoptr(GPtrArray) snapshots = NULL;
    int ret = qcow2_snapshot_table_read(q, &snapshots, &q->snapshots_len);

    if (ret < 0)
        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-ret),
                    "the snapshot table cannot be read: %s", g_strerror(-ret));
    return ret == 0;
}

/* An image with lazy refcounts that was not closed: they are counted anew. */
static bool open_repair(struct qcow2 *q, const struct vblk_image_options *options, GError **error)
{
    struct qcow2_check_result result;
    int ret;

    if (!(q->header.incompatible & QCOW2_INCOMPAT_DIRTY) || q->image->read_only || options->repair)
        return true;
    ret = qcow2_check(q->image, QCOW2_FIX_ERRORS | QCOW2_FIX_LEAKS, NULL, NULL, &result);
    if (ret == 0 && !(q->header.incompatible & QCOW2_INCOMPAT_DIRTY)) {
        vu_info("%s: was not closed; its refcounts have been repaired", q->name);
        return true;
    }
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                "the image was not closed, and its refcounts cannot be repaired: look at it with "
                "\"vblk-img check\"");
    return false;
}

static struct qcow2 *open_create(struct vblk_storage *storage,
                                 const struct vblk_image_options *options)
{
    struct vblk_image *image = g_new0(struct vblk_image, 1);
    struct qcow2 *q = g_new0(struct qcow2, 1);

    image->format = &vblk_format_qcow2;
    image->storage = storage;
    image->read_only = storage->read_only;
    image->data = q;
    if (!image->read_only)
        image->users = vblk_users_create();
    q->image = image;
    q->storage = q->data_storage = storage;
    q->name = g_strdup(storage->path);
    q->discards = options->discard_in_format;
    q->is_repairing = options->repair;
    q->journal_fd = -1;
    pthread_mutex_init(&q->lock, NULL);
    pthread_mutex_init(&q->header_lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    q->metadata = g_hash_table_new(NULL, NULL);
    q->fresh = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    q->unmapped = g_array_new(FALSE, FALSE, sizeof(struct qcow2_free));
    q->durable = g_array_new(FALSE, FALSE, sizeof(struct qcow2_free));
    return q;
}

static void open_init_flush_lock(struct qcow2 *q)
{
    pthread_mutexattr_t attr;

    /* A flush reads refcount blocks to free clusters, for which a full cache flushes. */
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&q->flush_lock, &attr);
    pthread_mutexattr_destroy(&attr);
}

/* Everything but the storage and the struct vblk_image. */
static void open_destroy(struct qcow2 *q)
{
    qcow2_journal_close(q);
    qcow2_l2_cache_clear(&q->l2);
    qcow2_refcounts_clear(q);
    qcow2_compressed_clear(q);
    qcow2_bitmaps_clear(q);
    if (q->l1.entries)
        munmap(q->l1.entries, QCOW2_MAX_L1_SIZE);
    if (q->data_storage != q->storage)
        vblk_storage_close(q->data_storage);
    qcow2_header_clear(&q->header);
    g_hash_table_destroy(q->metadata);
    g_hash_table_destroy(q->fresh);
    g_array_free(q->unmapped, TRUE);
    g_array_free(q->durable, TRUE);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    pthread_mutex_destroy(&q->header_lock);
    pthread_mutex_destroy(&q->flush_lock);
    g_free(q->name);
    g_free(q);
}

struct vblk_image *qcow2_open(struct vblk_storage *storage,
                              const struct vblk_image_options *options, GError **error)
{
    struct qcow2 *q = open_create(storage, options);
    struct vblk_image *image = q->image;
    bool opened;

    open_init_flush_lock(q);
    opened = qcow2_header_read(storage, options->repair, &q->header, error);
    if (opened) {
        open_set_geometry(q);
        image->size = q->header.size;
        image->cluster_size = 1u << q->subcluster_bits;
        opened = open_check_state(q, options, error) && open_snapshots(q, error) &&
                 open_init_caches(q, options, error) && qcow2_l1_open(q, error) &&
                 qcow2_journal_map(q, options, error) && open_repair(q, options, error) &&
                 (options->repair || qcow2_bitmaps_open(q, error)) &&
                 qcow2_data_file_open(q, options, error) && qcow2_backing_open(q, options, error) &&
                 qcow2_journal_open(q, options, error);
    }
    if (opened) {
        qcow2_bitmaps_report(q);
        return image;
    }
    g_prefix_error(error, "%s: ", storage->path);
    open_destroy(q);
    vblk_image_close(image->backing);
    vblk_users_destroy(image->users);
    g_free(image);
    return NULL;
}

/* --- closing --- */

/* Bits belong to what has been written, so they come after it. */
static void close_store_bitmaps(struct qcow2 *q)
{
    int ret;

    if (qcow2_is_corrupt(q))
        return;
    VU_LOCK_SCOPE(&q->flush_lock);
    ret = qcow2_bitmaps_store(q);
    if (ret < 0)
        vu_error("%s: bitmaps could not be written, and stay inconsistent: %s", q->name,
                 g_strerror(-ret));
}

static int close_write_back(struct qcow2 *q)
{
    int ret = qcow2_flush_all(q);

    if (ret == 0)
        close_store_bitmaps(q);
    for (unsigned i = 0; ret == 0 && i < OPEN_CLOSE_TRIES; i++) {
        ret = qcow2_flush_all(q);
        if (q->n_changes == q->n_written)
            break;
    }
    if (ret == 0 && !qcow2_is_corrupt(q) &&
        ((q->header.incompatible & QCOW2_INCOMPAT_DIRTY) ||
         (q->header.autoclear & QCOW2_AUTOCLEAR_CLAIM))) {
        uint64_t incompatible = q->header.incompatible, autoclear = q->header.autoclear;

        q->header.incompatible &= ~QCOW2_INCOMPAT_DIRTY;
        q->header.autoclear &= ~QCOW2_AUTOCLEAR_CLAIM;
        ret = qcow2_write_header_held(q);
        if (ret < 0) {
            q->header.incompatible = incompatible;
            q->header.autoclear = autoclear;
        }
    }
    if (ret == 0 && !qcow2_is_corrupt(q))
        qcow2_room_give_back(q);
    return ret;
}

/* The first write that comes sets again what is cleared here. */
static int qcow2_settle(struct vblk_image *image)
{
    struct qcow2 *q = qcow2_of(image);
    int ret;

    if (qcow2_is_corrupt(q))
        return -EIO;
    if (image->read_only || !__atomic_load_n(&q->is_prepared, __ATOMIC_ACQUIRE))
        return vblk_image_flush(image);
    ret = close_write_back(q);
    /* However far it came: bitmaps may be stored, and the header may no longer name the journal. */
    q->is_doubtful = ret < 0;
    __atomic_store_n(&q->is_prepared, false, __ATOMIC_RELEASE);
    return ret;
}

static void qcow2_make_read_only(struct vblk_image *image)
{
    struct qcow2 *q = qcow2_of(image);

    qcow2_journal_close(q);
    if (q->data_storage != q->storage)
        vblk_storage_make_read_only(q->data_storage);
}

static void qcow2_close(struct vblk_image *image)
{
    struct qcow2 *q = qcow2_of(image);
    int ret = 0;

    if (!image->read_only && (__atomic_load_n(&q->is_prepared, __ATOMIC_ACQUIRE) ||
                              q->is_doubtful || qcow2_is_corrupt(q)))
        ret = close_write_back(q);
    if (ret < 0)
        vu_error("%s: metadata could not be written at closing: %s", q->name, g_strerror(-ret));
    open_destroy(q);
    image->data = NULL;
}

const struct vblk_format vblk_format_qcow2 = {
    .name = "qcow2",
    .map = qcow2_map,
    .map_write = qcow2_map_write,
    .write_begin = qcow2_write_begin,
    .write_end = qcow2_write_end,
    .read_compressed = qcow2_read_compressed,
    .zero = qcow2_zero,
    .discard = qcow2_discard,
    .has_dirty_metadata = qcow2_has_dirty_metadata,
    .flush = qcow2_flush,
    .persist = qcow2_persist,
    .resize = qcow2_resize,
    .settle = qcow2_settle,
    .make_read_only = qcow2_make_read_only,
    .close = qcow2_close,
};
