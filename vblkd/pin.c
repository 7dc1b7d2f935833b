/* SPDX-License-Identifier: Apache-2.0 */
/* See pin.h. */
#include "vblkd/pin.h"

#include <errno.h>

#include "vblkd/queue.h"
#include "vhost-user/log.h"

#define PIN_MIB(bytes) (((bytes) + ((UINT64_C(1) << 20) - 1)) >> 20)

bool blk_pin_take(struct blk_pin *pin, struct blk_pinned *pinned, uint64_t len)
{
    uint64_t used = __atomic_add_fetch(&pin->used, len - pinned->len, __ATOMIC_SEQ_CST);

    pinned->len = len;
    if (len == 0 || used <= pin->limit)
        return true;
    __atomic_sub_fetch(&pin->used, len, __ATOMIC_SEQ_CST);
    pinned->len = 0;
    return false;
}

static void pin_tell(struct blk_queue *queue, uint64_t len, int err)
{
    struct blk_pin *pin = &queue->device->pin;

    if (__atomic_exchange_n(&pin->has_told, true, __ATOMIC_SEQ_CST))
        return;
    if (err < 0)
        vu_warning("vblkd: queue %u: guest memory is not pinned (--fixed-buffers): the kernel "
                   "refuses %" G_GUINT64_FORMAT " MiB of it: %s%s",
                   queue->index, PIN_MIB(len), g_strerror(-err),
                   err == -ENOMEM ? "; other programs of this user may have locked memory, too, "
                                    "and the limit (ulimit -l, LimitMEMLOCK=) is for all of them"
                                  : "");
    else
        vu_warning("vblkd: queue %u: guest memory is not pinned (--fixed-buffers): that takes "
                   "%" G_GUINT64_FORMAT " MiB of locked memory for each queue, and the limit "
                   "(ulimit -l, LimitMEMLOCK=) is %" G_GUINT64_FORMAT " MiB",
                   queue->index, PIN_MIB(len), pin->limit >> 20);
}

/* False: it is known to be too much. */
static bool pin_may(struct blk_queue *queue, uint64_t len)
{
    struct blk_pinned *pinned = &queue->pinned;

    if (pinned->refused_len > 0 && len >= pinned->refused_len) {
        blk_pin_take(&queue->device->pin, pinned, 0);
        return false;
    }
    if (blk_pin_take(&queue->device->pin, pinned, len))
        return true;
    pin_tell(queue, len, 0);
    return false;
}

void blk_pin_follow(struct blk_queue *queue, const struct vu_memory *memory)
{
    const struct blk_device_options *options = &queue->device->options;
    g_autofree struct iovec *ranges = g_new(struct iovec, memory->n_regions);
    unsigned n = memory->n_regions;
    uint64_t len = 0;
    int err;

    if (!options->pins_memory || options->aio != VBLK_AIO_URING)
        return;
    for (unsigned i = 0; i < n; i++) {
        const struct vu_region *region = memory->regions[i];

        ranges[i] = (struct iovec){.iov_base = region->hva, .iov_len = region->size};
        len += region->size;
    }
    if (!pin_may(queue, len))
        n = 0;
    err = vblk_aio_register_memory(queue->aio, ranges, n);
    if (err == 0)
        return;
    blk_pin_take(&queue->device->pin, &queue->pinned, 0);
    queue->pinned.refused_len = len;
    pin_tell(queue, len, err);
}

void blk_pin_release(struct blk_queue *queue)
{
    blk_pin_take(&queue->device->pin, &queue->pinned, 0);
    queue->pinned.refused_len = 0;
}
