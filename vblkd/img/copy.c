/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each thread takes the next chunk until none is left, or one has failed. Chunks are whole clusters
 * of either image, so that no two threads write one cluster.
 */
#include "vblkd/img/copy.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-image.h"
#include "vblkd/img/command.h"
#include "vblkd/img/copy-offload.h"
#include "vblkd/img/holes.h"
#include "vblkd/img/zeros.h"

#define COPY_CHUNK  (UINT64_C(2) << 20) /* the largest cluster */
#define COPY_SECTOR UINT64_C(512)
#define COPY_ALIGN  4096 /* what goes past the page cache needs no other buffer then */

static int copy_read_failed(struct img_copy *copy, int ret)
{
    if (ret < 0)
        __atomic_store_n(&copy->failed_reading, true, __ATOMIC_RELAXED);
    return ret;
}

/* What the source has itself. What it has not, behind the end of what lies behind it, is zeros:
 * something else may lie behind the target there. */
static int copy_look_alone(struct img_copy *copy, uint64_t offset, uint64_t len,
                           struct vblk_extent *ret_extent)
{
    const struct vblk_image *behind = copy->source->backing;
    uint64_t size = behind ? behind->size : 0;
    int ret = copy->source->format->map(copy->source, offset, len, VBLK_HOLES, ret_extent);

    if (ret < 0 || ret_extent->kind != VBLK_EXTENT_BACKING)
        return ret;
    if (offset >= size)
        ret_extent->kind = VBLK_EXTENT_ZERO;
    else
        ret_extent->len = MIN(ret_extent->len, size - offset);
    return 0;
}

/* What of the source is at `at`, which is as much as is looked at with one call. */
static int copy_look(struct img_copy *copy, uint64_t at, struct vblk_extent *ret_extent)
{
    uint64_t len = MIN(copy->len - at, VBLK_REQUEST_MAX);

    struct vblk_image *owner = copy->source;
    int ret = copy->is_backed ? copy_look_alone(copy, copy->source_offset + at, len, ret_extent)
                              : vblk_image_map(copy->source, copy->source_offset + at, len,
                                               VBLK_HOLES, ret_extent, &owner);

    if (ret == 0)
        img_holes_look(owner, ret_extent);
    return ret;
}

/*
 * What lies in [at, at + len): the first extent. To find the end of data costs more the further it
 * is, so what was found is kept for the next chunks.
 */
static int copy_map(struct img_copy *copy, uint64_t at, uint64_t len,
                    struct vblk_extent *ret_extent)
{
    struct vblk_extent extent;
    uint64_t start = at;
    bool is_known;
    int ret = 0;

    pthread_mutex_lock(&copy->map_lock);
    extent = copy->map_extent;
    is_known = at >= copy->map_start && at - copy->map_start < extent.len;
    if (is_known)
        start = copy->map_start;
    pthread_mutex_unlock(&copy->map_lock);
    if (!is_known)
        ret = copy_look(copy, at, &extent);
    if (ret < 0 && copy->salvages) {
        extent = (struct vblk_extent){.kind = VBLK_EXTENT_COMPRESSED, .len = COPY_SECTOR};
        ret = 0;
    }
    if (ret < 0)
        return ret;
    if (!is_known) {
        pthread_mutex_lock(&copy->map_lock);
        copy->map_extent = extent;
        copy->map_start = at;
        pthread_mutex_unlock(&copy->map_lock);
    }
    extent.len = MIN(len, start + extent.len - at);
    extent.offset += at - start;
    *ret_extent = extent;
    return 0;
}

/* Sector by sector, after all of it could not be read. */
static void copy_salvage(struct img_copy *copy, uint8_t *buf, uint64_t at, uint64_t len)
{
    for (uint64_t done = 0, part; done < len; done += part) {
        int ret;

        part = MIN(COPY_SECTOR, len - done);
        ret = vblk_image_read(copy->source, buf + done, part, copy->source_offset + at + done);
        if (ret == 0)
            continue;
        if (!copy->is_quiet)
            img_warn("error while reading offset %" PRIu64 ": %s", copy->source_offset + at + done,
                     g_strerror(-ret));
        memset(buf + done, 0, part);
    }
}

static int copy_read(struct img_copy *copy, uint8_t *buf, uint64_t at, uint64_t len)
{
    int ret = vblk_image_read(copy->source, buf, len, copy->source_offset + at);

    if (ret == 0)
        return 0;
    if (!copy->salvages)
        return copy_read_failed(copy, ret);
    copy_salvage(copy, buf, at, len);
    return 0;
}

static int copy_zero(struct img_copy *copy, uint64_t at, uint64_t len)
{
    uint64_t offset = copy->target_offset + at;

    if (offset >= copy->zero_from)
        return 0;
    return vblk_image_zero(copy->target, offset, MIN(len, copy->zero_from - offset), true);
}

/* --- plain --- */

/* How much from `at` on is zeros (or is not) in steps of sparse_len, which are aligned on the disk.
 */
static uint64_t copy_run_len(const struct img_copy *copy, const uint8_t *buf, uint64_t at,
                             uint64_t len, bool *ret_is_zero)
{
    uint64_t step = copy->sparse_len, run = 0;

    *ret_is_zero = false;
    if (step == 0)
        return len;
    while (run < len) {
        uint64_t part = MIN(len - run, step - (at + run) % step);
        bool is_zero = img_is_zero(buf + run, part);

        if (run > 0 && is_zero != *ret_is_zero)
            break;
        *ret_is_zero = is_zero;
        run += part;
    }
    return run;
}

static int copy_write(struct img_copy *copy, const uint8_t *buf, uint64_t at, uint64_t len)
{
    int ret = 0;

    for (uint64_t done = 0, run; done < len && ret == 0; done += run) {
        bool is_zero;

        run = copy_run_len(copy, buf + done, at + done, len - done, &is_zero);
        ret = is_zero ? copy_zero(copy, at + done, run)
                      : vblk_image_write(copy->target, buf + done, run,
                                         copy->target_offset + at + done);
    }
    return ret;
}

/* True: the data went from file to file. */
static bool copy_offload(struct img_copy *copy, const struct vblk_extent *extent, uint64_t at)
{
    if (extent->kind != VBLK_EXTENT_DATA || !__atomic_load_n(&copy->offloads, __ATOMIC_RELAXED))
        return false;
    if (img_copy_offload(extent->storage, extent->offset, copy->target, copy->target_offset + at,
                         extent->len) == 0)
        return true;
    /* What it cannot do is done as if nobody had asked; an error will show there again. */
    __atomic_store_n(&copy->offloads, false, __ATOMIC_RELAXED);
    return false;
}

/* The next part of a chunk; how long it was in *ret_len. */
static int copy_part(struct img_copy *copy, uint8_t *buf, uint64_t at, uint64_t len,
                     uint64_t *ret_len)
{
    struct vblk_extent extent;
    int ret = copy_map(copy, at, len, &extent);

    if (ret < 0)
        return copy_read_failed(copy, ret);
    *ret_len = extent.len;
    if (extent.kind == VBLK_EXTENT_BACKING || copy_offload(copy, &extent, at))
        return 0;
    if (extent.kind == VBLK_EXTENT_ZERO && copy->sparse_len > 0)
        return copy_zero(copy, at, extent.len);
    ret = copy_read(copy, buf, at, extent.len);
    return ret == 0 ? copy_write(copy, buf, at, extent.len) : ret;
}

static int copy_chunk(struct img_copy *copy, uint8_t *buf, uint64_t at, uint64_t len)
{
    int ret = 0;

    for (uint64_t done = 0, part = 0; done < len && ret == 0; done += part)
        ret = copy_part(copy, buf, at + done, len - done, &part);
    return ret;
}

/* --- compressed --- */

static int copy_compress_cluster(struct img_copy *copy, const uint8_t *buf, uint64_t at,
                                 uint64_t len)
{
    int ret;

    if (img_is_zero(buf, len))
        return copy_zero(copy, at, len);
    ret = qcow2_write_compressed(copy->target, copy->target_offset + at, len, buf);
    if (ret == -ENOTSUP)
        ret = vblk_image_write(copy->target, buf, len, copy->target_offset + at);
    return ret;
}

static int copy_compress_chunk(struct img_copy *copy, uint8_t *buf, uint64_t at, uint64_t len,
                               uint32_t cluster_size)
{
    int ret = 0;

    for (uint64_t done = 0, part; done < len && ret == 0; done += part) {
        struct vblk_extent extent;

        ret = copy_map(copy, at + done, len - done, &extent);
        if (ret < 0)
            return copy_read_failed(copy, ret);
        /* Whole clusters of one kind; one that is cut is compressed. */
        part = extent.len == len - done ? extent.len : extent.len & ~(uint64_t)(cluster_size - 1);
        if (part > 0 && extent.kind == VBLK_EXTENT_BACKING)
            continue;
        if (part > 0 && extent.kind == VBLK_EXTENT_ZERO) {
            ret = copy_zero(copy, at + done, part);
            continue;
        }
        part = part > 0 ? part : MIN(cluster_size, len - done);
        ret = copy_read(copy, buf, at + done, part);
        for (uint64_t c = 0; c < part && ret == 0; c += cluster_size)
            ret = copy_compress_cluster(copy, buf + c, at + done + c, MIN(cluster_size, part - c));
    }
    return ret;
}

/* --- threads --- */

static void *copy_thread(void *opaque)
{
    struct img_copy *copy = opaque;
    uint32_t cluster_size = copy->compresses ? (uint32_t)qcow2_of(copy->target)->cluster_size : 0;
    uint8_t *buf = aligned_alloc(COPY_ALIGN, COPY_CHUNK);
    int ret = buf ? 0 : -ENOMEM, none = 0;

    while (ret == 0 && __atomic_load_n(&copy->failed, __ATOMIC_RELAXED) == 0) {
        uint64_t at = __atomic_fetch_add(&copy->next, COPY_CHUNK, __ATOMIC_RELAXED), len;

        if (at >= copy->len)
            break;
        len = MIN(COPY_CHUNK, copy->len - at);
        img_rate_wait(&copy->pace, len);
        ret = copy->compresses ? copy_compress_chunk(copy, buf, at, len, cluster_size)
                               : copy_chunk(copy, buf, at, len);
        img_progress_add(copy->progress, len);
    }
    if (ret < 0)
        __atomic_compare_exchange_n(&copy->failed, &none, ret, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
    free(buf);
    return NULL;
}

int img_copy_run(struct img_copy *copy)
{
    pthread_t threads[IMG_COPY_MAX_THREADS];
    unsigned n = 0;

    pthread_mutex_init(&copy->map_lock, NULL);
    img_rate_init(&copy->pace, copy->rate);
    /* The caller is one of them. */
    while (n + 1 < MIN(copy->n_threads, IMG_COPY_MAX_THREADS) &&
           pthread_create(&threads[n], NULL, copy_thread, copy) == 0)
        n++;
    copy_thread(copy);
    while (n > 0)
        pthread_join(threads[--n], NULL);
    pthread_mutex_destroy(&copy->map_lock);
    img_rate_finish(&copy->pace);
    return copy->failed;
}
