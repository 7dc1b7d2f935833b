/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the bridge must know of a FUSE request in order to pass it on: where it goes, and how much
 * room its reply may need. Facts by opcode, nothing else; the requests themselves are not
 * understood here. Layouts: <linux/fuse.h>.
 */
#pragma once

#include <linux/fuse.h>
#include <stdint.h>

enum fuse_op_kind {
    FUSE_OP_REPLIED, /* goes to a request queue and is answered */
    FUSE_OP_FORGET,  /* goes to the high-priority queue; never answered */
    FUSE_OP_LOCAL,   /* there is no such thing over virtiofs: dropped, never answered */
    FUSE_OP_INIT,    /* as FUSE_OP_REPLIED; its reply is looked at */
};

struct fuse_op {
    enum fuse_op_kind kind;
    uint16_t reply_len;   /* of a reply behind its header */
    uint16_t size_offset; /* in the request, of a u32 that asks for so much more; 0: none */
};

/* The facts of an opcode; of an unknown one, that it is answered with at most a few kilobytes. */
const struct fuse_op *fuse_op_find(uint32_t opcode);

/*
 * Bytes that the reply may need behind its header. head: the first head_len bytes of the request,
 * in private memory.
 */
uint64_t fuse_op_reply_len(const struct fuse_op *op, const uint8_t *head, uint32_t head_len);
