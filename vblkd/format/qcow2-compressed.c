/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading compressed clusters. The last few stay as they came out, since a guest reads a cluster in
 * pieces.
 */
#include "vblkd/format/qcow2-compressed.h"

#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "vblkd/format/qcow2-cow.h"
#include "vblkd/format/qcow2-l2-table.h"
#include "vhost-user/cleanup.h"

#define COMPRESSED_KEPT     4
#define COMPRESSED_SECTOR   512u
#define COMPRESSED_NO_ENTRY UINT64_C(0) /* every descriptor has QCOW2_COMPRESSED set */

struct qcow2_compressed {
    struct {
        uint64_t descriptor;
        uint8_t *bytes;
    } kept[COMPRESSED_KEPT]; /* under the image's lock */
    unsigned next;
    uint64_t generation; /* of forgetting: what was read before is not kept after */
};

void qcow2_compressed_place(const struct qcow2 *q, uint64_t descriptor, uint64_t *ret_offset,
                            uint32_t *ret_len)
{
    unsigned shift = 62 - (q->cluster_bits - 8);
    uint64_t offset = descriptor & ((UINT64_C(1) << shift) - 1);
    uint64_t more = (descriptor & (QCOW2_COMPRESSED - 1)) >> shift;

    *ret_offset = offset;
    *ret_len = (uint32_t)((more + 1) * COMPRESSED_SECTOR - offset % COMPRESSED_SECTOR);
}

/* --- kept clusters, under the lock --- */

static struct qcow2_compressed *compressed_get(struct qcow2 *q)
{
    if (!q->compressed) {
        q->compressed = g_new0(struct qcow2_compressed, 1);
        for (unsigned i = 0; i < COMPRESSED_KEPT; i++)
            q->compressed->kept[i].descriptor = COMPRESSED_NO_ENTRY;
    }
    return q->compressed;
}

static bool compressed_find(struct qcow2 *q, uint64_t descriptor, uint64_t at, uint64_t len,
                            void *buf, uint64_t *ret_generation)
{
    struct qcow2_compressed *compressed;

    VU_LOCK_SCOPE(&q->lock);
    compressed = compressed_get(q);
    *ret_generation = compressed->generation;
    for (unsigned i = 0; i < COMPRESSED_KEPT; i++) {
        if (compressed->kept[i].descriptor == descriptor) {
            memcpy(buf, compressed->kept[i].bytes + at, len);
            return true;
        }
    }
    return false;
}

/* Takes the bytes. */
static void compressed_keep(struct qcow2 *q, uint64_t descriptor, uint8_t *bytes,
                            uint64_t generation)
{
    struct qcow2_compressed *compressed;

    VU_LOCK_SCOPE(&q->lock);
    compressed = compressed_get(q);
    if (compressed->generation != generation) {
        g_free(bytes);
        return;
    }
    g_free(compressed->kept[compressed->next].bytes);
    compressed->kept[compressed->next].bytes = bytes;
    compressed->kept[compressed->next].descriptor = descriptor;
    compressed->next = (compressed->next + 1) % COMPRESSED_KEPT;
}

void qcow2_compressed_forget(struct qcow2 *q)
{
    if (!q->compressed)
        return;
    q->compressed->generation++;
    for (unsigned i = 0; i < COMPRESSED_KEPT; i++)
        q->compressed->kept[i].descriptor = COMPRESSED_NO_ENTRY;
}

void qcow2_compressed_clear(struct qcow2 *q)
{
    for (unsigned i = 0; q->compressed && i < COMPRESSED_KEPT; i++)
        g_free(q->compressed->kept[i].bytes);
    g_clear_pointer(&q->compressed, g_free);
}

/* --- decompression --- */

static int compressed_inflate(void *out, size_t out_len, void *in, size_t in_len)
{
    z_stream stream = {0};
    int ret;

    /* Raw deflate, with any window that a writer may have used. */
    if (inflateInit2(&stream, -15) != Z_OK)
        return -ENOMEM;
    stream.next_in = in;
    stream.avail_in = (uInt)in_len;
    stream.next_out = out;
    stream.avail_out = (uInt)out_len;
    ret = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    /* The stream may go on in sectors that are not ours: a whole cluster is what counts. */
    if ((ret == Z_STREAM_END || ret == Z_BUF_ERROR || ret == Z_OK) && stream.avail_out == 0)
        return 0;
    return -EIO;
}

static int compressed_unzstd(void *out, size_t out_len, const void *in, size_t in_len)
{
    ZSTD_outBuffer to = {out, out_len, 0};
    ZSTD_inBuffer from = {in, in_len, 0};
    ZSTD_DCtx *context = ZSTD_createDCtx();
    size_t ret = 1;

    if (!context)
        return -ENOMEM;
    /* One frame; what follows it in the last sector belongs to others. */
    while (to.pos < to.size && from.pos < from.size) {
        size_t before = to.pos + from.pos;

        ret = ZSTD_decompressStream(context, &to, &from);
        if (ZSTD_isError(ret) || to.pos + from.pos == before)
            break;
    }
    ZSTD_freeDCtx(context);
    return !ZSTD_isError(ret) && to.pos == to.size ? 0 : -EIO;
}

int qcow2_compressed_read_cluster(struct qcow2 *q, uint64_t descriptor, void *buf)
{
    g_autofree void *in = NULL;
    uint64_t offset;
    uint32_t len;
    int ret;

    qcow2_compressed_place(q, descriptor, &offset, &len);
    in = g_malloc(len);
    ret = vblk_storage_read(q->storage, in, len, offset);
    if (ret < 0)
        return ret;
    return q->header.compression_type == QCOW2_COMPRESSION_ZSTD
               ? compressed_unzstd(buf, q->cluster_size, in, len)
               : compressed_inflate(buf, q->cluster_size, in, len);
}

/* --- the operation --- */

struct compressed_read {
    uint64_t offset;
    struct qcow2_l2_entry entry;
};

static int compressed_entry_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    struct compressed_read *read = opaque;

    return qcow2_l2_entry_at(q, read->offset, &read->entry, need);
}

static int compressed_read_one(struct qcow2 *q, uint64_t offset, uint64_t len, void *buf)
{
    struct compressed_read read = {.offset = offset};
    uint64_t at = qcow2_offset_in_cluster(q, offset), generation;
    uint8_t *bytes;
    int ret = qcow2_run(q, 0, compressed_entry_step, &read);

    if (ret < 0)
        return ret;
    /* Somebody has written there meanwhile. */
    if (!(read.entry.cluster & QCOW2_COMPRESSED))
        return qcow2_cow_read(q, offset, len, read.entry, buf);
    if (compressed_find(q, read.entry.cluster, at, len, buf, &generation))
        return 0;
    bytes = g_malloc(q->cluster_size);
    ret = qcow2_compressed_read_cluster(q, read.entry.cluster, bytes);
    if (ret < 0) {
        g_free(bytes);
        return ret;
    }
    memcpy(buf, bytes + at, len);
    compressed_keep(q, read.entry.cluster, bytes, generation);
    return 0;
}

int qcow2_read_compressed(struct vblk_image *image, uint64_t offset, uint64_t len, void *buf)
{
    struct qcow2 *q = qcow2_of(image);
    int ret = 0;

    for (uint64_t done = 0, part; done < len && ret == 0; done += part) {
        part = MIN(len - done, q->cluster_size - qcow2_offset_in_cluster(q, offset + done));
        ret = compressed_read_one(q, offset + done, part, (uint8_t *)buf + done);
    }
    return ret;
}
