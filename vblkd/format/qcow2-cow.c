/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying for a write: from the backing image, from compressed clusters, from clusters that a
 * snapshot shares, or zeros. Runs on a thread that may wait, without locks: the caller is a user of
 * the image, so the old cluster is not given to anybody else meanwhile.
 */
#include "vblkd/format/qcow2-cow.h"

#include <stdlib.h>
#include <string.h>

#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-l2-table.h"

#define COW_ALIGN 4096u /* of buffers, so that O_DIRECT takes them as they are */

static uint32_t cow_all(const struct qcow2 *q)
{
    return q->n_subclusters == QCOW2_SUBCLUSTERS ? UINT32_MAX : 1;
}

/* --- reading the old --- */

static int cow_read_backing(struct qcow2 *q, uint64_t guest_offset, uint64_t len, uint8_t *buf)
{
    struct vblk_image *backing = q->image->backing;
    uint64_t size, have = 0;

    if (!backing && q->header.backing_name)
        return -ENOTSUP; /* it was not opened */
    if (backing) {
        size = __atomic_load_n(&backing->size, __ATOMIC_RELAXED);
        have = guest_offset < size ? MIN(len, size - guest_offset) : 0;
    }
    memset(buf + have, 0, len - have);
    return have ? vblk_image_read(backing, buf, have, guest_offset) : 0;
}

/* One run of subclusters of a kind. */
static int cow_read_run(struct qcow2 *q, enum qcow2_kind kind, uint64_t guest_offset, uint64_t len,
                        struct qcow2_l2_entry entry, uint8_t *buf)
{
    uint64_t at = qcow2_offset_in_cluster(q, guest_offset);

    switch (kind) {
    case QCOW2_UNALLOCATED:
        return cow_read_backing(q, guest_offset, len, buf);
    case QCOW2_ZERO_PLAIN:
        memset(buf, 0, len);
        return 0;
    case QCOW2_DATA:
        return vblk_storage_read(q->data_storage, buf, len, qcow2_entry_offset(entry) + at);
    case QCOW2_PACKED: {
        g_autofree uint8_t *cluster = g_malloc(q->cluster_size);
        int ret = qcow2_compressed_read_cluster(q, entry.cluster, cluster);

        if (ret == 0)
            memcpy(buf, cluster + at, len);
        return ret;
    }
    case QCOW2_BAD:
        break;
    }
    return -EIO;
}

int qcow2_cow_read(struct qcow2 *q, uint64_t guest_offset, uint64_t len,
                   struct qcow2_l2_entry entry, uint8_t *buf)
{
    uint64_t done = 0;
    int ret = 0;

    while (done < len && ret == 0) {
        uint64_t at = qcow2_offset_in_cluster(q, guest_offset + done);
        unsigned sub = (unsigned)(at >> q->subcluster_bits);
        enum qcow2_kind kind = qcow2_entry_kind(q, entry, sub);
        uint64_t end;

        while (sub + 1 < q->n_subclusters && qcow2_entry_kind(q, entry, sub + 1) == kind)
            sub++;
        end = MIN(len, done + ((uint64_t)(sub + 1) << q->subcluster_bits) - at);
        ret = cow_read_run(q, kind, guest_offset + done, end - done, entry, buf + done);
        done = end;
    }
    return ret;
}

/* --- filling the new --- */

static bool cow_is_all_zero(const uint8_t *buf, uint64_t len)
{
    return buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0;
}

/* Subclusters [first, first + n). */
static int cow_fill_run(struct qcow2 *q, uint64_t guest_cluster, struct qcow2_l2_entry old,
                        uint64_t new_offset, unsigned first, unsigned n)
{
    uint64_t at = (uint64_t)first << q->subcluster_bits, len = (uint64_t)n << q->subcluster_bits;
    uint64_t guest = (guest_cluster << q->cluster_bits) + at;
    uint64_t size = __atomic_load_n(&q->image->size, __ATOMIC_RELAXED), have;
    uint8_t *buf = aligned_alloc(COW_ALIGN, (len + COW_ALIGN - 1) & ~(uint64_t)(COW_ALIGN - 1));
    int ret = 0;

    if (!buf)
        return -ENOMEM;
    have = guest < size ? MIN(len, size - guest) : 0;
    memset(buf + have, 0, len - have);
    if (have > 0)
        ret = qcow2_cow_read(q, guest, have, old, buf);
    if (ret == 0 && cow_is_all_zero(buf, len))
        ret = vblk_storage_zero(q->data_storage, new_offset + at, len, false);
    else if (ret == 0)
        ret = vblk_storage_write(q->data_storage, buf, len, new_offset + at);
    free(buf);
    return ret;
}

int qcow2_cow_fill(struct qcow2 *q, uint64_t guest_cluster, struct qcow2_l2_entry old,
                   uint64_t new_offset, uint32_t mask)
{
    int ret = 0;

    while (mask && ret == 0) {
        unsigned first = (unsigned)__builtin_ctz(mask);
        uint32_t rest = ~(mask >> first);
        unsigned n = rest ? (unsigned)__builtin_ctz(rest) : QCOW2_SUBCLUSTERS;

        n = MIN(n, QCOW2_SUBCLUSTERS - first);
        ret = cow_fill_run(q, guest_cluster, old, new_offset, first, n);
        mask &= n == QCOW2_SUBCLUSTERS ? 0 : ~(((1u << n) - 1) << first);
    }
    return ret;
}

/* --- what need not be filled --- */

static bool cow_backing_is_zero(struct qcow2 *q, uint64_t guest_offset, uint64_t len)
{
    struct vblk_image *backing = q->image->backing;
    struct vblk_extent extent;
    uint64_t size;

    if (!q->header.backing_name)
        return true;
    if (!backing)
        return false;
    size = __atomic_load_n(&backing->size, __ATOMIC_RELAXED);
    while (len > 0 && guest_offset < size) {
        uint64_t part = MIN(len, size - guest_offset);

        if (vblk_image_map(backing, guest_offset, part, VBLK_NOWAIT, &extent, NULL) < 0 ||
            extent.kind != VBLK_EXTENT_ZERO)
            return false;
        guest_offset += extent.len;
        len -= extent.len;
    }
    return true;
}

bool qcow2_cow_is_zero(struct qcow2 *q, uint64_t guest_cluster, struct qcow2_l2_entry old,
                       uint32_t mask)
{
    uint32_t unallocated = 0;

    mask &= cow_all(q);
    for (unsigned sub = 0; sub < q->n_subclusters; sub++) {
        enum qcow2_kind kind = qcow2_entry_kind(q, old, sub);

        if (!(mask >> sub & 1) || kind == QCOW2_ZERO_PLAIN)
            continue;
        if (kind != QCOW2_UNALLOCATED)
            return false;
        unallocated |= 1u << sub;
    }
    return unallocated == 0 ||
           cow_backing_is_zero(q, guest_cluster << q->cluster_bits, q->cluster_size);
}
