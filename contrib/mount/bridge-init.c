/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUSE_INIT: the one request whose reply the bridge must understand, and the one that a successor
 * of the back-end has missed. bridge_keep_init and bridge_fit_init run on a queue's thread, the
 * rest on the main thread while the queue threads are parked.
 */
#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "contrib/mount/bridge.h"
#include "contrib/mount/fuse-op.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

#define INIT_REPLY_TIMEOUT_US (5 * G_USEC_PER_SEC)
#define INIT_OWN_UNIQUE       UINT64_C(0xfffffffffffffffe) /* the kernel's are even and count up */

/* In flags2, shifted down: what /dev/fuse could do but the bridge does not carry. */
#define INIT_PASSTHROUGH   (UINT32_C(1) << (37 - 32))
#define INIT_OVER_IO_URING (UINT32_C(1) << (41 - 32))

void bridge_keep_init(struct bridge *bridge, const struct slot *slot)
{
    VU_LOCK_SCOPE(&bridge->lock);

    if (slot->request_len > BRIDGE_INIT_MAX)
        return;
    memcpy(bridge->init_request, slot->base + SLOT_REQUEST_OFFSET, slot->request_len);
    bridge->init_len = slot->request_len;
}

void bridge_fit_init(struct bridge *bridge, struct fuse_init_out *out, uint32_t len)
{
    uint32_t max_pages = SLOT_DATA_MAX / (uint32_t)sysconf(_SC_PAGESIZE);

    VU_LOCK_SCOPE(&bridge->lock);

    out->max_write = MIN(out->max_write, SLOT_DATA_MAX);
    if (len == sizeof(*out)) {
        out->max_pages = (uint16_t)MIN(out->max_pages, max_pages);
        out->flags2 &= ~(INIT_PASSTHROUGH | INIT_OVER_IO_URING);
    }
    bridge->max_write = out->max_write;
    vu_debug("FUSE %u.%u, %u bytes at most in a WRITE", out->major, out->minor, out->max_write);
}

/* Sends a request through the first queue and waits for its reply, whose header is checked. */
static int init_call(struct bridge *bridge, const void *request, uint32_t len, uint32_t room,
                     struct fuse_out_header *ret_header, struct slot **ret_slot)
{
    struct bridge_queue *queue = &bridge->queues[0];
    gint64 deadline = g_get_monotonic_time() + INIT_REPLY_TIMEOUT_US;
    struct vu_driver_used used;
    struct vu_sg sg[SLOT_MAX_SG];
    struct slot *slot = *ret_slot;
    unsigned n_in, n_out;
    int rc;

    slot_set_request(slot, request, len);
    rc = slot_offer_reply(slot, room);
    if (rc < 0)
        return rc;
    n_out = slot_describe(slot, sg, &n_in);
    rc = vu_driver_add(queue->driver, sg, n_out, n_in, slot);
    if (rc < 0)
        return rc;
    vu_driver_kick(queue->driver);
    while (!vu_driver_arm_call(queue->driver)) {
        struct pollfd pfd = {.fd = queue->driver->call_fd, .events = POLLIN};

        if (g_get_monotonic_time() > deadline)
            return -ETIMEDOUT;
        poll(&pfd, 1, 100);
        vu_driver_clear_call(queue->driver);
    }
    vu_driver_disarm_call(queue->driver);
    rc = vu_driver_harvest(queue->driver, &used, 1);
    if (rc < 0)
        return rc;
    memcpy(ret_header, slot_reply(slot), sizeof(*ret_header));
    if (used.len < sizeof(*ret_header) || ret_header->len != used.len ||
        ret_header->unique != slot->head.header.unique)
        return -EPROTO;
    return 0;
}

/* Whether the successor has its predecessor's state: it then answers for the root directory. */
static int init_probe(struct bridge *bridge, struct slot *slot, bool *ret_is_known)
{
    struct {
        struct fuse_in_header header;
        struct fuse_getattr_in args;
    } request = {.header = {.len = sizeof(request),
                            .opcode = FUSE_GETATTR,
                            .unique = INIT_OWN_UNIQUE,
                            .nodeid = FUSE_ROOT_ID}};
    struct fuse_out_header header;
    int rc =
        init_call(bridge, &request, sizeof(request), sizeof(struct fuse_attr_out), &header, &slot);

    if (rc == 0)
        *ret_is_known = header.error == 0;
    return rc;
}

static int init_repeat(struct bridge *bridge, struct slot *slot)
{
    struct fuse_out_header header;
    struct fuse_init_out out = {0};
    int rc = init_call(bridge, bridge->init_request, bridge->init_len, sizeof(out), &header, &slot);

    if (rc < 0)
        return rc;
    if (header.error != 0)
        return -EPROTO;
    memcpy(&out, slot_reply(slot) + sizeof(header),
           MIN(sizeof(out), (size_t)header.len - sizeof(header)));
    if (out.max_write < bridge->max_write) {
        vu_error("the new back-end takes WRITEs of %u bytes, the mount makes %u", out.max_write,
                 bridge->max_write);
        return -ENOTSUP;
    }
    return 0;
}

int bridge_introduce(struct bridge *bridge)
{
    struct slot_pool *pool = &bridge->queues[0].pool;
    struct slot *slot = pool->free;
    bool is_known = false;
    int rc;

    if (!slot)
        return -EBUSY;
    if (bridge->init_len == 0)
        return 0; /* the kernel's own INIT is still to come */
    rc = init_probe(bridge, slot, &is_known);
    if (rc == 0 && !is_known)
        rc = init_repeat(bridge, slot);
    return rc;
}
