/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes. The image says where each piece of the request lies; pieces that can be moved
 * now become operations of the queue's engine on the guest's own pages, and from the first one on
 * that would have to wait for anything, the rest is a helper's.
 */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "vblkd/queue.h"
#include "vhost-user/iov.h"

#define TRANSFER_MAX_ZERO (1u << 20) /* more bytes are not cleared on a queue's own time */

static void transfer_end_segment(struct blk_segment *segment, int result, bool on_worker)
{
    struct blk_request *request = segment->request;
    struct vblk_image *image = request->queue->device->image;

    if (segment->is_allocating)
        result = image->format->write_end(image, &segment->write, result);
    g_free(segment->iov);
    if (segment != &request->first)
        g_free(segment);
    blk_request_end_piece(request, result, on_worker);
}

/*
 * A write through the page cache that was to be durable tells of errors of others, too, and those
 * are not told again: it counts as a flush that failed.
 */
static void transfer_done(struct vblk_io *io, int result)
{
    struct blk_segment *segment = (struct blk_segment *)io;

    if (result == -EIO && (io->flags & VBLK_IO_FUA) && (io->flags & VBLK_IO_CACHED))
        vblk_storage_flush_result(segment->storage, result);
    transfer_end_segment(segment, result, true);
}

/* On a helper. */
static void transfer_run(struct vu_job *job)
{
    struct blk_segment *segment =
        (struct blk_segment *)((char *)job - offsetof(struct blk_segment, job));
    struct vblk_image *image = segment->request->queue->device->image;
    const struct vblk_io *io = &segment->io;
    int result;

    if (segment->request->type == BLK_T_OUT)
        result = vblk_image_writev(image, io->iov, io->n_iov, segment->len, segment->offset);
    else
        result = vblk_image_readv(image, io->iov, io->n_iov, segment->len, segment->offset);
    transfer_end_segment(segment, result, false);
}

/* The next len bytes of the request, which begin at skip, as a piece of it. */
static struct blk_segment *transfer_segment(struct blk_request *request, uint64_t skip,
                                            uint64_t len)
{
    struct blk_segment *segment = &request->first;
    const struct iovec *iov = request->iov;
    unsigned n_iov = request->n_iov;
    struct vu_iov_cursor cursor;

    /* `first` is taken by the piece that begins the request. */
    if (skip > 0)
        segment = g_new(struct blk_segment, 1);
    segment->request = request;
    segment->offset = request->offset + skip;
    segment->len = len;
    segment->iov = NULL;
    segment->is_allocating = false;
    if (len < request->len) {
        segment->iov = g_new(struct iovec, n_iov);
        vu_iov_cursor_init(&cursor, iov, n_iov, skip);
        n_iov = vu_iov_peek(&cursor, len, segment->iov, n_iov, &len);
        iov = segment->iov;
    }
    segment->io = (struct vblk_io){
        .op = request->type == BLK_T_OUT ? VBLK_OP_WRITE : VBLK_OP_READ,
        .len = len,
        .iov = iov,
        .n_iov = n_iov,
        .done = transfer_done,
    };
    blk_request_expect(request);
    return segment;
}

/*
 * To a helper, which does all of it. A cluster that was begun here is given up: helpers wait for
 * each other's clusters, and if all did so for this one there would be nobody left to write it.
 */
static void transfer_hand_on(struct blk_segment *segment)
{
    struct vblk_image *image = segment->request->queue->device->image;

    if (segment->is_allocating)
        image->format->write_end(image, &segment->write, -ECANCELED);
    segment->is_allocating = false;
    segment->request->must_flush = true;
    segment->job.run = transfer_run;
    vu_helpers_run(segment->request->queue->device->helpers, &segment->job);
}

static void transfer_queue(struct blk_segment *segment, struct vblk_storage *storage,
                           uint64_t offset)
{
    struct vblk_io *io = &segment->io;

    segment->storage = storage;
    io->fd = storage->fd;
    io->offset = offset;
    if (io->n_iov > IOV_MAX ||
        !vblk_storage_is_aligned(storage, io->iov, io->n_iov, offset, io->len)) {
        transfer_hand_on(segment);
        return;
    }
    if (!vblk_cache_is_direct(storage->cache))
        io->flags |= VBLK_IO_CACHED;
    if (segment->is_allocating)
        segment->request->must_flush = true; /* with the metadata */
    else if (segment->request->is_durable)
        io->flags |= VBLK_IO_FUA;
    vblk_aio_queue(segment->request->queue->aio, io);
}

/* The first piece of what begins at skip: how many bytes it has; 0: not without waiting. */
static uint64_t transfer_begin_read(struct blk_request *request, uint64_t skip)
{
    struct vblk_image *image = request->queue->device->image;
    struct vu_iov_cursor cursor;
    struct vblk_extent extent;
    int err = vblk_image_map(image, request->offset + skip, request->len - skip, VBLK_NOWAIT,
                             &extent, NULL);

    if (err < 0)
        return 0;
    if (extent.kind == VBLK_EXTENT_DATA) {
        transfer_queue(transfer_segment(request, skip, extent.len), extent.storage, extent.offset);
        return extent.len;
    }
    if (extent.kind != VBLK_EXTENT_ZERO || extent.len > TRANSFER_MAX_ZERO)
        return 0;
    vu_iov_cursor_init(&cursor, request->iov, request->n_iov, skip);
    vu_iov_zero(&cursor, extent.len);
    return extent.len;
}

static uint64_t transfer_begin_write(struct blk_request *request, uint64_t skip)
{
    struct vblk_image *image = request->queue->device->image;
    uint64_t offset = request->offset + skip, len = request->len - skip;
    struct blk_segment *segment;
    struct vblk_extent extent;
    struct vblk_write write;
    int err = image->format->map_write(image, offset, len, VBLK_NOWAIT, &extent);

    if (err == 0) {
        transfer_queue(transfer_segment(request, skip, extent.len), extent.storage, extent.offset);
        return extent.len;
    }
    if (err != -EAGAIN || !image->format->write_begin ||
        image->format->write_begin(image, offset, len, VBLK_NOWAIT, &write) < 0)
        return 0;
    segment = transfer_segment(request, skip, write.len);
    segment->is_allocating = true;
    segment->write = write;
    transfer_queue(segment, write.storage, write.offset);
    return write.len;
}

static bool transfer_is_zero(const struct blk_request *request)
{
    for (unsigned i = 0; i < request->n_iov; i++) {
        const char *data = request->iov[i].iov_base;
        size_t len = request->iov[i].iov_len;

        if (len > 0 && (data[0] != 0 || memcmp(data, data + 1, len - 1) != 0))
            return false;
    }
    return true;
}

/* A write of nothing but zeros, where these are to be found, becomes a WRITE_ZEROES. */
static bool transfer_begin_zeroes(struct blk_request *request)
{
    enum blk_detect_zeroes detect = request->queue->device->options.detect_zeroes;

    if (detect == BLK_DETECT_ZEROES_OFF || request->type != BLK_T_OUT || !transfer_is_zero(request))
        return false;
    request->type = BLK_T_WRITE_ZEROES;
    request->n_ranges = 1;
    request->ranges = g_new(struct blk_range, 1);
    request->ranges[0] = (struct blk_range){
        .sector = le64_from(request->offset / BLK_SECTOR),
        .num_sectors = le32_from((uint32_t)(request->len / BLK_SECTOR)),
        .flags = le32_from(detect == BLK_DETECT_ZEROES_UNMAP ? BLK_RANGE_UNMAP : 0),
    };
    blk_range_begin(request);
    return true;
}

void blk_transfer_begin(struct blk_request *request)
{
    uint64_t (*begin)(struct blk_request *, uint64_t) =
        request->type == BLK_T_OUT ? transfer_begin_write : transfer_begin_read;
    uint64_t done = 0, len;

    if (transfer_begin_zeroes(request))
        return;
    /* Pieces of it might have more ranges than an operation takes. */
    if (request->n_iov > IOV_MAX) {
        transfer_hand_on(transfer_segment(request, 0, request->len));
        return;
    }
    while (done < request->len && (len = begin(request, done)) > 0)
        done += len;
    /* What failed is tried again there, so that there is one place for errors. */
    if (done < request->len)
        transfer_hand_on(transfer_segment(request, done, request->len - done));
}
