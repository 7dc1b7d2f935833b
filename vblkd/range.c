/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discards and zeros of ranges, which helpers carry out, and flushes, which the engine does where
 * the image has nothing to write first.
 */
#include <errno.h>

#include "vblkd/queue.h"

/* 0, -EINVAL, or -ENOTSUP for flags that are not known. */
static int range_check(const struct blk_request *request, const struct blk_range *range)
{
    uint32_t known = request->type == BLK_T_WRITE_ZEROES ? BLK_RANGE_UNMAP : 0;
    uint64_t len = (uint64_t)le32_value(range->num_sectors) * BLK_SECTOR;

    if (le32_value(range->flags) & ~known)
        return -ENOTSUP;
    if (len > BLK_MAX_RANGE_LEN)
        return -EINVAL;
    return blk_request_check_range(request->queue->device, le64_value(range->sector), len);
}

static int range_carry_out(const struct blk_request *request, const struct blk_range *range)
{
    const struct blk_device *device = request->queue->device;
    uint64_t offset = le64_value(range->sector) * BLK_SECTOR;
    uint64_t len = (uint64_t)le32_value(range->num_sectors) * BLK_SECTOR;

    if (request->type == BLK_T_DISCARD)
        return vblk_image_discard(device->image, offset, len);
    return vblk_image_zero(device->image, offset, len,
                           device->options.discard &&
                               (le32_value(range->flags) & BLK_RANGE_UNMAP) != 0);
}

/* On a helper. */
static void range_run(struct vu_job *job)
{
    struct blk_request *request = (struct blk_request *)job;
    int err = 0;

    for (unsigned i = 0; i < request->n_ranges && err == 0; i++)
        err = range_carry_out(request, &request->ranges[i]);
    blk_request_end_piece(request, err, false);
}

void blk_range_begin(struct blk_request *request)
{
    int err = 0;

    /* All or nothing. */
    for (unsigned i = 0; i < request->n_ranges && err == 0; i++)
        err = range_check(request, &request->ranges[i]);
    blk_request_expect(request);
    if (err < 0) {
        blk_request_end_piece(request, err, true);
        return;
    }
    request->must_flush = true;
    request->job.run = range_run;
    vu_helpers_run(request->queue->device->helpers, &request->job);
}

/* --- flushes --- */

static void flush_run(struct vu_job *job)
{
    struct blk_request *request = (struct blk_request *)job;

    blk_request_end_piece(request, vblk_image_flush(request->queue->device->image), false);
}

static void flush_done(struct vblk_io *io, int result)
{
    struct blk_request *request = ((struct blk_segment *)io)->request;
    struct vblk_storage *storage = request->queue->device->image->storage;

    blk_request_end_piece(request, vblk_storage_flush_result(storage, result), true);
}

void blk_flush_begin(struct blk_request *request)
{
    struct vblk_image *image = request->queue->device->image;
    struct blk_segment *segment = &request->first;
    bool has_metadata;

    if (image->read_only)
        return;
    /* Metadata goes to the page cache even where nothing goes to the disk: the daemon may end. */
    has_metadata = image->format->has_dirty_metadata(image);
    if (image->storage->cache == VBLK_CACHE_UNSAFE && !has_metadata)
        return;
    blk_request_expect(request);
    if (has_metadata) {
        request->job.run = flush_run;
        vu_helpers_run(request->queue->device->helpers, &request->job);
        return;
    }
    segment->request = request;
    segment->io = (struct vblk_io){
        .op = VBLK_OP_FLUSH,
        .fd = image->storage->fd,
        .done = flush_done,
    };
    vblk_aio_queue(request->queue->aio, &segment->io);
}
