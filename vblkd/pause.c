/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pauses of the device. The back-end lets no request out of the rings any more (vu_backend_pause);
 * what its queues have by then either is held by the limits, and stays so, or has begun, and is
 * waited for. Run by whoever changes the image; queues know nothing of it but hold.c.
 *
 *   quiet:  requests popped and not pushed  ==  requests held,  for each queue
 *
 * Held requests only become more in a pause, and those that are not pushed fewer, so that once it
 * is true it stays so.
 */
#include <gio/gio.h>

#include "vblkd/queue.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"

#define PAUSE_NAP_US     20 /* at first */
#define PAUSE_MAX_NAP_US 2000
#define PAUSE_MS_NS      UINT64_C(1000000)

static unsigned pause_n_queues(const struct blk_device *device)
{
    return device->options.num_queues ? device->options.num_queues : VBLK_MAX_QUEUES;
}

/* Requests of a queue that have begun. */
static unsigned pause_n_begun(struct blk_device *device, unsigned queue)
{
    unsigned n_held, n_working;

    /* In this order: at worst it looks like more. */
    pthread_mutex_lock(&device->pause.lock);
    n_held = device->queues[queue].n_held;
    pthread_mutex_unlock(&device->pause.lock);
    n_working = vu_backend_n_working(device->backend, queue);
    return n_working - MIN(n_held, n_working);
}

static bool pause_wait(struct blk_device *device, unsigned timeout_ms, GError **error)
{
    uint64_t until_ns = vu_now_ns() + timeout_ms * PAUSE_MS_NS;
    unsigned n, nap_us = PAUSE_NAP_US;

    for (unsigned i = 0; i < pause_n_queues(device); i++) {
        while ((n = pause_n_begun(device, i)) > 0) {
            if (vu_now_ns() >= until_ns) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                            "%s: %u request%s of queue %u %s not ended after %u ms: the disk "
                            "hangs, or is too slow. Nothing was done",
                            device->image->storage->path, n, n > 1 ? "s" : "", i,
                            n > 1 ? "have" : "has", timeout_ms);
                return false;
            }
            g_usleep(nap_us);
            nap_us = MIN(2 * nap_us, PAUSE_MAX_NAP_US);
        }
    }
    return true;
}

bool blk_device_pause(struct blk_device *device, unsigned timeout_ms, GError **error)
{
    if (!device->backend)
        return true;
    vu_backend_pause(device->backend);
    pthread_mutex_lock(&device->pause.lock);
    device->pause.is_on = true;
    pthread_mutex_unlock(&device->pause.lock);
    if (pause_wait(device, timeout_ms, error))
        return true;
    blk_device_resume(device);
    return false;
}

void blk_device_resume(struct blk_device *device)
{
    if (!device->backend)
        return;
    pthread_mutex_lock(&device->pause.lock);
    device->pause.is_on = false;
    pthread_cond_broadcast(&device->pause.ended);
    pthread_mutex_unlock(&device->pause.lock);
    /* Held requests are looked at by the workers that this wakes. */
    vu_backend_resume(device->backend);
}
