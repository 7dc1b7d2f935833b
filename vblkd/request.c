/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an element to a request, and from a result to a status byte.
 *
 * Header, data and status may be framed in any way: the header is the first 16 readable bytes, the
 * status the last writable one, and data is what lies behind and before. The element's ranges are
 * cut in place, so that data goes to the kernel as it lies.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vblkd/queue.h"
#include "vhost-user/iov.h"
#include "vhost-user/log.h"

static enum blk_parsed request_refuse(struct blk_request *request, int err)
{
    request->result = err;
    return BLK_PARSED_BAD;
}

/* Takes the status byte off the writable ranges. */
static void request_cut_status(struct blk_request *request)
{
    struct vu_elem *elem = request->elem;
    struct iovec *last = &elem->iov[elem->n_out + elem->n_in - 1];

    last->iov_len--;
    request->cut = last;
    request->status = (uint8_t *)last->iov_base + last->iov_len;
}

/* Copies the header out and takes it off the readable ranges, which then begin at *ret_first. */
static void request_cut_header(struct vu_elem *elem, struct blk_header *ret_header,
                               unsigned *ret_first)
{
    struct vu_iov_cursor cursor;
    size_t left = sizeof(*ret_header);
    unsigned i = 0;

    vu_iov_cursor_init(&cursor, elem->iov, elem->n_out, 0);
    vu_iov_read(&cursor, ret_header, sizeof(*ret_header));
    while (left > 0 && elem->iov[i].iov_len <= left)
        left -= elem->iov[i++].iov_len;
    if (left > 0) {
        elem->iov[i].iov_base = (char *)elem->iov[i].iov_base + left;
        elem->iov[i].iov_len -= left;
    }
    *ret_first = i;
}

int blk_request_check_range(const struct blk_device *device, uint64_t sector, uint64_t len)
{
    uint64_t capacity = blk_device_capacity(device);
    uint64_t mask = device->logical_block_size - 1;

    if (len == 0 || sector > capacity || len / BLK_SECTOR > capacity - sector)
        return -EINVAL;
    return ((sector * BLK_SECTOR) | len) & mask ? -EINVAL : 0;
}

static enum blk_parsed request_parse_transfer(struct blk_request *request, uint64_t sector)
{
    const struct blk_device *device = request->queue->device;
    int err = blk_request_check_range(device, sector, request->len);

    if (err == 0 && request->len > VBLK_REQUEST_MAX)
        err = -EINVAL;
    if (err == 0 && request->type == BLK_T_OUT && device->image->read_only)
        err = -EROFS;
    if (err < 0)
        return request_refuse(request, err);
    request->offset = sector * BLK_SECTOR;
    return BLK_PARSED_GOOD;
}

static enum blk_parsed request_parse_ranges(struct blk_request *request)
{
    struct vu_iov_cursor cursor;

    if (request->queue->device->image->read_only)
        return request_refuse(request, -EROFS);
    if (request->type == BLK_T_DISCARD && !request->queue->device->options.discard)
        return request_refuse(request, -ENOTSUP);
    if (request->len == 0 || request->len % sizeof(struct blk_range) ||
        request->len / sizeof(struct blk_range) > BLK_MAX_RANGES)
        return request_refuse(request, -EINVAL);
    request->n_ranges = (unsigned)(request->len / sizeof(struct blk_range));
    request->ranges = g_new(struct blk_range, request->n_ranges);
    vu_iov_cursor_init(&cursor, request->iov, request->n_iov, 0);
    vu_iov_read(&cursor, request->ranges, request->len);
    return BLK_PARSED_GOOD;
}

enum blk_parsed blk_request_parse(struct blk_request *request)
{
    struct vu_elem *elem = request->elem;
    struct blk_header header;
    unsigned first;

    if (elem->out_len < sizeof(header) || elem->in_len < 1)
        return BLK_PARSED_HOPELESS;
    request_cut_status(request);
    request_cut_header(elem, &header, &first);
    request->type = le32_value(header.type);
    if (request->type == BLK_T_IN || request->type == BLK_T_GET_ID) {
        request->iov = elem->iov + elem->n_out;
        request->n_iov = elem->n_in - (request->cut->iov_len == 0);
        request->len = elem->in_len - 1;
    } else {
        request->iov = elem->iov + first;
        request->n_iov = elem->n_out - first;
        request->len = elem->out_len - sizeof(header);
    }

    switch (request->type) {
    case BLK_T_IN:
    case BLK_T_OUT:
        return request_parse_transfer(request, le64_value(header.sector));
    case BLK_T_DISCARD:
    case BLK_T_WRITE_ZEROES:
        return request_parse_ranges(request);
    case BLK_T_FLUSH:
    case BLK_T_GET_ID:
        return BLK_PARSED_GOOD;
    default:
        return request_refuse(request, -ENOTSUP);
    }
}

void blk_request_give_id(struct blk_request *request)
{
    const char *serial = request->queue->device->options.serial;
    char id[BLK_ID_LEN] = {0};
    struct vu_iov_cursor cursor;

    if (serial)
        memcpy(id, serial, strnlen(serial, sizeof(id)));
    vu_iov_cursor_init(&cursor, request->iov, request->n_iov, 0);
    vu_iov_write(&cursor, id, sizeof(id));
}

/* --- the end --- */

static enum blk_status request_status(int result)
{
    if (result == 0)
        return BLK_S_OK;
    return result == -ENOTSUP ? BLK_S_UNSUPP : BLK_S_IOERR;
}

/* A word on what the host has failed to do; what the guest asks in vain for is its own affair. */
static void request_tell_failure(const struct blk_request *request)
{
    struct blk_device *device = request->queue->device;
    bool is_transfer = request->type == BLK_T_IN || request->type == BLK_T_OUT;
    char where[64] = "";

    if (request->result == -EINVAL || request->result == -ENOTSUP || request->result == -EROFS)
        return;
    if (!vu_log_is_due(&device->next_failure_ns)) {
        __atomic_fetch_add(&device->n_failures_untold, 1, __ATOMIC_RELAXED);
        return;
    }
    if (is_transfer)
        g_snprintf(where, sizeof(where), " of %" PRIu64 " bytes at %" PRIu64, request->len,
                   request->offset);
    vu_warning("%s: queue %u: %s%s failed: %s (%u failures before it were not told)",
               device->image->storage->path, request->queue->index,
               blk_counters_kind_name(request->kind), where, g_strerror(-request->result),
               __atomic_exchange_n(&device->n_failures_untold, 0, __ATOMIC_RELAXED));
}

/* Answers: the status byte, and everything as it was. */
static void request_answer(struct blk_request *request, bool on_worker)
{
    struct vblk_image *image = request->queue->device->image;
    struct vu_elem *elem = request->elem;

    if (request->result < 0)
        request_tell_failure(request);
    blk_counters_end(request, on_worker);
    g_clear_pointer(&request->ranges, g_free);
    vblk_image_leave(image, request->queue->index, request->ticket);
    *request->status = (uint8_t)request_status(request->result);
    request->cut->iov_len++;
    /* The status is the last byte there is. */
    elem->written = (uint32_t)elem->in_len;
    blk_queue_finish(request, on_worker);
}

static void request_flush(struct vu_job *job)
{
    struct blk_request *request = (struct blk_request *)job;
    struct vblk_image *image = request->queue->device->image;

    request->result = vblk_image_flush(image);
    request_answer(request, false);
}

static void request_persist(struct vu_job *job)
{
    struct blk_request *request = (struct blk_request *)job;
    struct vblk_image *image = request->queue->device->image;

    request->result = image->format->persist(image);
    request_answer(request, false);
}

/* All pieces are over. What is to be durable may have left metadata behind. */
static void request_end(struct blk_request *request, bool on_worker)
{
    struct blk_device *device = request->queue->device;
    struct vblk_image *image = device->image;

    if (request->result == 0 && request->is_durable &&
        (request->must_flush || image->format->has_dirty_metadata(image))) {
        request->job.run = request_flush;
        vu_helpers_run(device->helpers, &request->job);
        return;
    }
    if (request->result == 0 && image->is_eager && request->type != BLK_T_IN &&
        image->format->has_dirty_metadata(image)) {
        request->job.run = request_persist;
        vu_helpers_run(device->helpers, &request->job);
        return;
    }
    request_answer(request, on_worker);
}

void blk_request_expect(struct blk_request *request)
{
    __atomic_add_fetch(&request->n_pending, 1, __ATOMIC_RELAXED);
}

void blk_request_end_piece(struct blk_request *request, int result, bool on_worker)
{
    int none = 0;

    if (result < 0)
        __atomic_compare_exchange_n(&request->result, &none, result, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
    if (__atomic_sub_fetch(&request->n_pending, 1, __ATOMIC_ACQ_REL) == 0)
        request_end(request, on_worker);
}
