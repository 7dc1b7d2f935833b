/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vhost-user socket: whole messages and their descriptors, in and out. Used by both sides, and
 * for the BACKEND_REQ channel. A message that arrives in pieces is kept until the rest is there, so
 * that a slow or hostile peer never blocks the thread that waits for other things too. One thread
 * at a time.
 */
#pragma once

#include "vhost-user/proto.h"

struct vu_channel {
    int fd;                    /* owned */
    size_t n_received;         /* bytes of `pending` (header and payload) that are there */
    struct vu_message pending; /* the message being received, with its descriptors */
};

/* Takes over fd, a connected stream socket, and makes it non-blocking. */
void vu_channel_init(struct vu_channel *channel, int fd);
/* Closes the socket and the descriptors of a half-received message. Idempotent. */
void vu_channel_close(struct vu_channel *channel);

/*
 * Receives one message into *ret_msg, whose descriptors then belong to the caller.
 * timeout_ms: 0 returns at once, -1 waits without bound.
 *   0            a whole message;
 *   -EAGAIN      not yet whole (kept; call again);  -ETIMEDOUT where timeout_ms > 0 has passed
 *   -ECONNRESET  the peer has closed
 *   -EPROTO      bad version, payload above VU_PAYLOAD_MAX, truncated control data (all
 *                descriptors closed)
 *   -errno       of recvmsg
 */
int vu_channel_recv(struct vu_channel *channel, struct vu_message *ret_msg, int timeout_ms);

/*
 * Sends header, header.size bytes of payload and the descriptors (which stay the caller's) in one
 * piece, waiting at most timeout_ms for room. 0, -ETIMEDOUT, -EPIPE or another -errno. Never raises
 * SIGPIPE.
 */
int vu_channel_send(struct vu_channel *channel, const struct vu_message *msg, int timeout_ms);

/* Closes every descriptor the message holds. */
void vu_message_close_fds(struct vu_message *msg);
/* Takes descriptor i out of the message (the caller's now), -1 where there is none. */
int vu_message_take_fd(struct vu_message *msg, unsigned i);
