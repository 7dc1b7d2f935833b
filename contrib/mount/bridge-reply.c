/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies on their way to the kernel. Runs on the queue's thread. The back-end is not trusted: its
 * header is copied once and checked, and what the kernel refuses becomes an error, so that nobody
 * waits for ever.
 */
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/uio.h>

#include "contrib/mount/bridge.h"
#include "contrib/mount/fuse-op.h"
#include "vhost-user/log.h"

#define REPLY_MAX_WARNINGS 10     /* of one queue: a liar may not fill the log */
#define REPLY_ERROR_MIN    (-511) /* the kernel takes no others */

/* 0, or -errno of the kernel. It has forgotten a request whose caller is gone: that is no error. */
static int reply_write(const struct bridge_queue *queue, struct fuse_out_header *header,
                       const void *payload)
{
    size_t payload_len = header->len - sizeof(*header);
    struct iovec iov[2] = {{.iov_base = header, .iov_len = sizeof(*header)}};

    memcpy(&iov[1].iov_base, &payload, sizeof(payload));
    iov[1].iov_len = payload_len;
    if (writev(queue->fuse_fd, iov, payload_len > 0 ? 2 : 1) < 0)
        return errno == ENOENT ? 0 : -errno;
    return 0;
}

int bridge_reply_error(const struct bridge_queue *queue, const struct slot *slot, int err)
{
    struct fuse_out_header header = {
        .len = sizeof(header), .error = err, .unique = slot->head.header.unique};

    return reply_write(queue, &header, NULL);
}

static bool reply_check(const struct slot *slot, const struct fuse_out_header *header,
                        uint32_t used_len)
{
    return used_len >= sizeof(*header) && header->len == used_len &&
           header->unique == slot->head.header.unique && header->error <= 0 &&
           header->error >= REPLY_ERROR_MIN &&
           (header->error == 0 || header->len == sizeof(*header));
}

static int reply_write_init(struct bridge_queue *queue, const struct slot *slot,
                            struct fuse_out_header *header)
{
    struct fuse_init_out out = {0};
    uint32_t len = (uint32_t)MIN(header->len - sizeof(*header), sizeof(out));

    memcpy(&out, slot_reply(slot) + sizeof(*header), len);
    bridge_fit_init(queue->bridge, &out, len);
    header->len = (uint32_t)sizeof(*header) + len;
    return reply_write(queue, header, &out);
}

int bridge_reply(struct bridge_queue *queue, struct slot *slot, uint32_t used_len)
{
    struct fuse_out_header header;
    int rc;

    memcpy(&header, slot_reply(slot), sizeof(header));
    if (!reply_check(slot, &header, used_len)) {
        if (queue->n_bad++ < REPLY_MAX_WARNINGS)
            vu_warning("queue %u: the back-end's reply to opcode %u is none: EIO", queue->index,
                       slot->head.header.opcode);
        return bridge_reply_error(queue, slot, -EIO);
    }
    if (header.error == 0 && fuse_op_find(slot->head.header.opcode)->kind == FUSE_OP_INIT)
        rc = reply_write_init(queue, slot, &header);
    else
        rc = reply_write(queue, &header, slot_reply(slot) + sizeof(header));
    if (rc == -ENODEV || rc == 0)
        return rc;
    vu_debug("queue %u: the kernel refuses the reply to opcode %u: %s", queue->index,
             slot->head.header.opcode, g_strerror(-rc));
    return bridge_reply_error(queue, slot, -EIO);
}
