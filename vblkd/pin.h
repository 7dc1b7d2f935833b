/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory that io_uring has pinned (--fixed-buffers), which counts against the limit of locked
 * memory, once for each queue. The kernel finds that it is too much when it has pinned it, and
 * nothing moves until then; so it is asked for no more than there can be.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/memory.h"

struct blk_queue;

/* Of a device. */
struct blk_pin {
    uint64_t limit; /* bytes; UINT64_MAX: none */
    uint64_t used;  /* atomic; of all queues together */
    bool has_told;  /* atomic; that it is too much */
};

/* Of a queue, its worker's. */
struct blk_pinned {
    uint64_t len;
    uint64_t refused_len; /* as much as the kernel did not pin; 0: it has not refused anything */
};

/* `len` bytes rather than what was held before. False: that is too much, and nothing is held. Any
 * thread, each for a queue of its own. */
bool blk_pin_take(struct blk_pin *pin, struct blk_pinned *pinned, uint64_t len);

/* --- the queue's worker --- */

/* The engine gets to know the memory, where it is to be pinned and can be. */
void blk_pin_follow(struct blk_queue *queue, const struct vu_memory *memory);
/* The engine has ended. */
void blk_pin_release(struct blk_queue *queue);
