/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each thread takes the next chunk until none is left, or one has failed. Chunks are whole clusters
 * of either image, so that no two threads write one cluster.
 */
#include "vblkd/img/copy.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-image.h"
#include "vblkd/img/zeros.h"

#define COPY_CHUNK (UINT64_C(2) << 20) /* the largest cluster */

static int copy_read_failed(struct img_copy *copy, int ret)
{
    if (ret < 0)
        __atomic_store_n(&copy->failed_reading, true, __ATOMIC_RELAXED);
    return ret;
}

/*
 * What lies at `at`, and (*ret_len) how far in [at, at + len). To find the end of data costs more
 * the further it is, so what was found is kept for the next chunks.
 */
static int copy_map(struct img_copy *copy, uint64_t at, uint64_t len,
                    enum vblk_extent_kind *ret_kind, uint64_t *ret_len)
{
    struct vblk_extent extent;
    bool is_known;
    int ret;

    pthread_mutex_lock(&copy->map_lock);
    is_known = at >= copy->map_start && at - copy->map_start < copy->map_len;
    if (is_known) {
        *ret_kind = copy->map_kind;
        *ret_len = MIN(len, copy->map_start + copy->map_len - at);
    }
    pthread_mutex_unlock(&copy->map_lock);
    if (is_known)
        return 0;
    ret = vblk_image_map(copy->source, copy->source_offset + at,
                         MIN(copy->len - at, VBLK_REQUEST_MAX), VBLK_HOLES, &extent, NULL);
    if (ret < 0)
        return ret;
    pthread_mutex_lock(&copy->map_lock);
    copy->map_start = at;
    copy->map_len = extent.len;
    copy->map_kind = extent.kind;
    pthread_mutex_unlock(&copy->map_lock);
    *ret_kind = extent.kind;
    *ret_len = MIN(len, extent.len);
    return 0;
}

static int copy_zero(struct img_copy *copy, uint64_t at, uint64_t len)
{
    if (copy->target_is_zero)
        return 0;
    return vblk_image_zero(copy->target, copy->target_offset + at, len, true);
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

/* The next part of a chunk; how long it was in *ret_len. */
static int copy_part(struct img_copy *copy, uint8_t *buf, uint64_t at, uint64_t len,
                     uint64_t *ret_len)
{
    enum vblk_extent_kind kind;
    int ret = copy_map(copy, at, len, &kind, ret_len);

    if (ret < 0)
        return copy_read_failed(copy, ret);
    if (kind == VBLK_EXTENT_ZERO && copy->sparse_len > 0)
        return copy_zero(copy, at, *ret_len);
    ret = vblk_image_read(copy->source, buf, *ret_len, copy->source_offset + at);
    if (ret < 0)
        return copy_read_failed(copy, ret);
    return copy_write(copy, buf, at, *ret_len);
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

/* Whether nothing of the range has data. */
static bool copy_is_hole(struct img_copy *copy, uint64_t at, uint64_t len)
{
    enum vblk_extent_kind kind;
    uint64_t part;

    return copy_map(copy, at, len, &kind, &part) == 0 && kind == VBLK_EXTENT_ZERO && part == len;
}

static int copy_compress_chunk(struct img_copy *copy, uint8_t *buf, uint64_t at, uint64_t len,
                               uint32_t cluster_size)
{
    int ret;

    if (copy_is_hole(copy, at, len))
        return copy_zero(copy, at, len);
    ret = copy_read_failed(copy, vblk_image_read(copy->source, buf, len, copy->source_offset + at));
    for (uint64_t done = 0; done < len && ret == 0; done += cluster_size)
        ret = copy_compress_cluster(copy, buf + done, at + done, MIN(cluster_size, len - done));
    return ret;
}

/* --- threads --- */

static void *copy_thread(void *opaque)
{
    struct img_copy *copy = opaque;
    uint32_t cluster_size = copy->compresses ? (uint32_t)qcow2_of(copy->target)->cluster_size : 0;
    uint8_t *buf = g_malloc(COPY_CHUNK);
    int ret = 0, none = 0;

    while (ret == 0 && __atomic_load_n(&copy->failed, __ATOMIC_RELAXED) == 0) {
        uint64_t at = __atomic_fetch_add(&copy->next, COPY_CHUNK, __ATOMIC_RELAXED), len;

        if (at >= copy->len)
            break;
        len = MIN(COPY_CHUNK, copy->len - at);
        ret = copy->compresses ? copy_compress_chunk(copy, buf, at, len, cluster_size)
                               : copy_chunk(copy, buf, at, len);
        img_progress_add(copy->progress, len);
    }
    if (ret < 0)
        __atomic_compare_exchange_n(&copy->failed, &none, ret, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
    g_free(buf);
    return NULL;
}

int img_copy_run(struct img_copy *copy)
{
    pthread_t threads[IMG_COPY_MAX_THREADS];
    unsigned n = 0;

    pthread_mutex_init(&copy->map_lock, NULL);
    /* The caller is one of them. */
    while (n + 1 < MIN(copy->n_threads, IMG_COPY_MAX_THREADS) &&
           pthread_create(&threads[n], NULL, copy_thread, copy) == 0)
        n++;
    copy_thread(copy);
    while (n > 0)
        pthread_join(threads[--n], NULL);
    pthread_mutex_destroy(&copy->map_lock);
    return copy->failed;
}
