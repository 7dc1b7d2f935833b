/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completions that trickle. A file system may have a thread of the kernel end each write that went
 * past the page cache. That thread wakes the queue's worker at the first, which takes the CPU from
 * it, answers that one request, and has the disk begin a new one: so it goes on, one at a time,
 * though many are over. Left alone for a moment, the kernel ends them all, and they are answered,
 * and begun anew, together. Where it is like that shows by trying: what to do is a pure function of
 * what was found.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BLK_SETTLE_NS UINT64_C(30000) /* a moment */

struct blk_settle {
    uint64_t usual_ns; /* that writes have lately taken */
    unsigned n_skip;   /* times not to try */
    unsigned n_vain;   /* tries in vain, since one was not */
};

/* A write took so long. 0: it was none, which is a reason against it. */
void blk_settle_learn(struct blk_settle *settle, uint64_t ns);
/* n_done were found to be over, n_left are still on their way: whether to leave them alone for
 * BLK_SETTLE_NS. */
bool blk_settle_is_due(struct blk_settle *settle, unsigned n_done, unsigned n_left);
/* That was done, and n_more of n_left were over then. */
void blk_settle_end(struct blk_settle *settle, unsigned n_more, unsigned n_left);
