/* SPDX-License-Identifier: Apache-2.0 */
/* See settle.h. */
#include "vblkd/settle.h"

#define SETTLE_MIN_LEFT 4  /* fewer are not worth it */
#define SETTLE_TIMES    4  /* as long as a moment is what writes must take at least */
#define SETTLE_USUAL    8  /* the latest requests count for so much of the usual time */
#define SETTLE_MAX_VAIN 10 /* then one of 1024 times is a try */

void blk_settle_learn(struct blk_settle *settle, uint64_t ns)
{
    settle->usual_ns += ns / SETTLE_USUAL - settle->usual_ns / SETTLE_USUAL;
}

bool blk_settle_is_due(struct blk_settle *settle, unsigned n_done, unsigned n_left)
{
    if (n_done == 0 || n_left < SETTLE_MIN_LEFT || n_left < 2 * n_done ||
        settle->usual_ns < SETTLE_TIMES * BLK_SETTLE_NS)
        return false;
    if (settle->n_skip == 0)
        return true;
    settle->n_skip--;
    return false;
}

void blk_settle_end(struct blk_settle *settle, unsigned n_more, unsigned n_left)
{
    if (n_more >= 2 && n_more >= n_left / 4) {
        settle->n_vain = 0;
        return;
    }
    settle->n_vain += settle->n_vain < SETTLE_MAX_VAIN;
    settle->n_skip = 1u << settle->n_vain;
}
