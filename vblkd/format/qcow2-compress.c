/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing compressed clusters, for tools. Compressing runs without locks, on any number of threads;
 * the bytes are then packed behind the ones before, as far as the cluster of the file has room.
 */
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "vblkd/format/qcow2-bitmap.h"
#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-l2-table.h"
#include "vblkd/format/qcow2-refcount.h"
#include "vblkd/format/qcow2-write.h"

#define COMPRESS_SECTOR 512u
#define COMPRESS_WINDOW (-12) /* raw deflate, as small as every reader takes */

/* --- compression --- */

/* The length in `out`, or -ENOTSUP: no smaller. */
static int64_t compress_deflate(void *out, size_t out_len, uint8_t *in, size_t in_len)
{
    z_stream stream = {0};
    int ret;

    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, COMPRESS_WINDOW, 9,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    stream.next_in = in;
    stream.avail_in = (uInt)in_len;
    stream.next_out = out;
    stream.avail_out = (uInt)out_len;
    ret = deflate(&stream, Z_FINISH);
    deflateEnd(&stream);
    return ret == Z_STREAM_END ? (int64_t)(out_len - stream.avail_out) : -ENOTSUP;
}

static int64_t compress_zstd(void *out, size_t out_len, const void *in, size_t in_len)
{
    size_t ret = ZSTD_compress(out, out_len, in, in_len, ZSTD_CLEVEL_DEFAULT);

    return ZSTD_isError(ret) ? -ENOTSUP : (int64_t)ret;
}

/* --- a place --- */

struct compress_place {
    uint64_t guest_offset;
    uint64_t len;    /* bytes, compressed */
    uint64_t offset; /* in the file */
};

/*
 * Behind the last one, where the cluster has room (which then is referred to once more), else in a
 * new cluster. Under the lock.
 */
static int compress_place_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    struct compress_place *place = opaque;
    uint64_t room = -q->compressed_tail & (q->cluster_size - 1);
    struct qcow2_l2_frame *frame;
    struct qcow2_run run;
    int ret;

    if (!__atomic_load_n(&q->is_prepared, __ATOMIC_ACQUIRE))
        return qcow2_lacks(need, QCOW2_NEED_PREPARE, 0);
    ret = qcow2_l2_frame_for_write(q, place->guest_offset, &frame, need);
    if (ret < 0)
        return ret;
    if (room >= place->len) {
        ret = qcow2_refcount_add(q, q->compressed_tail >> q->cluster_bits, 1, need);
        if (ret == 0) {
            place->offset = q->compressed_tail;
            q->compressed_tail += place->len;
        }
        /* It cannot count so many: the next cluster can. */
        if (ret != -EFBIG)
            return ret;
    }
    ret = qcow2_clusters_alloc(q, 1, &run, need);
    if (ret < 0)
        return ret;
    place->offset = run.cluster << q->cluster_bits;
    q->compressed_tail = place->offset + place->len;
    return 0;
}

static uint64_t compress_descriptor(const struct qcow2 *q, const struct compress_place *place)
{
    unsigned shift = 62 - (q->cluster_bits - 8);
    uint64_t more =
        (place->offset + place->len - 1) / COMPRESS_SECTOR - place->offset / COMPRESS_SECTOR;

    return QCOW2_COMPRESSED | more << shift | place->offset;
}

static int compress_map_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    const struct compress_place *place = opaque;
    unsigned index = qcow2_slice_index(q, place->guest_offset);
    struct qcow2_l2_entry entry = {compress_descriptor(q, place), 0};
    struct qcow2_l2_frame *frame;
    struct qcow2_l2_entry old;
    int ret = qcow2_l2_frame_for_write(q, place->guest_offset, &frame, need);

    if (ret < 0)
        return ret;
    if (qcow2_fresh_find(q, place->guest_offset >> q->cluster_bits))
        return qcow2_lacks(need, QCOW2_NEED_CHANGE, 0);
    old = qcow2_l2_cache_peek(&q->l2, frame, index);
    qcow2_l2_cache_set(&q->l2, frame, index, entry);
    qcow2_touch(q);
    qcow2_l2_entry_free(q, old);
    return 0;
}

static void compress_give_up(struct qcow2 *q, const struct compress_place *place)
{
    pthread_mutex_lock(&q->lock);
    qcow2_clusters_give_back(q, place->offset >> q->cluster_bits, 1);
    q->compressed_tail = 0;
    pthread_mutex_unlock(&q->lock);
}

/* --- the operation --- */

int qcow2_write_compressed(struct vblk_image *image, uint64_t offset, uint64_t len, const void *buf)
{
    struct qcow2 *q = qcow2_of(image);
    struct compress_place place = {.guest_offset = offset};
    g_autofree uint8_t *in = NULL, *out = NULL;
    int64_t out_len;
    int ret;

    if (image->read_only)
        return -EROFS;
    if (q->journal || q->has_data_file || qcow2_offset_in_cluster(q, offset) != 0 ||
        len > q->cluster_size)
        return -ENOTSUP;
    in = g_malloc0(q->cluster_size);
    out = g_malloc(q->cluster_size);
    memcpy(in, buf, len);
    out_len = q->header.compression_type == QCOW2_COMPRESSION_ZSTD
                  ? compress_zstd(out, q->cluster_size - 1, in, q->cluster_size)
                  : compress_deflate(out, q->cluster_size - 1, in, q->cluster_size);
    if (out_len < 0)
        return (int)out_len;
    place.len = (uint64_t)out_len;
    ret = qcow2_run(q, 0, compress_place_step, &place);
    if (ret < 0)
        return ret;
    qcow2_bitmaps_touch(q, offset, len);
    ret = vblk_storage_write(q->storage, out, place.len, place.offset);
    if (ret == 0)
        ret = qcow2_run(q, 0, compress_map_step, &place);
    if (ret < 0)
        compress_give_up(q, &place);
    return ret;
}
