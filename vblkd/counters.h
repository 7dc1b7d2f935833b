/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds of requests that a queue counts (vhost-user/counters.h), and the end of one of them.
 * Durations begin when the request is popped, and the clock is read once for all that is popped, or
 * reaped, in one go.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/counters.h"

enum blk_kind {
    BLK_KIND_READ,
    BLK_KIND_WRITE,
    BLK_KIND_FLUSH,
    BLK_KIND_DISCARD,
    BLK_KIND_WRITE_ZEROES,
    BLK_KIND_OTHER, /* GET_ID, and what is no request that we know */
    BLK_N_KINDS,
};

struct blk_request;
struct vu_stats;

/* Of a request's type, as the guest has it. */
enum blk_kind blk_counters_kind(uint32_t type);
const char *blk_counters_kind_name(unsigned kind);
/* One is over: request->result and what it moved. Its worker, or a helper. */
void blk_counters_end(const struct blk_request *request, bool on_worker);

/* How all of it is told. Of a struct blk_device. */
extern const struct vu_stats blk_stats;
