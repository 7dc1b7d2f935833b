/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest has asked for, by opcode and queue (vhost-user/counters.h): what a slow guest is
 * busy with can be read off the log, the control socket and --metrics.
 *
 * A duration begins when the request is popped and ends when its answer is published; the clock is
 * read once for all that is popped, or published, in one go.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/counters.h"
#include "virtiofsd/fs-options.h"

#define FS_N_COUNTERS 64 /* opcodes below this are counted one by one, the others together at 0 */
#define FS_N_QUEUES   (1 + FS_MAX_REQUEST_QUEUES)

struct fs_request;
struct vu_stats;

/* Since the daemon's start. */
struct fs_counters {
    struct vu_counters *queues[FS_N_QUEUES]; /* atomic; NULL: it never ran */
    uint64_t n_logged[FS_N_COUNTERS];        /* atomic: requests that fs_counters_log told of */
};

void fs_counters_clear(struct fs_counters *counters);

/* Those of a queue, made where need be. Any thread. */
struct vu_counters *fs_counters_of_queue(struct fs_counters *counters, unsigned queue);
/* What is to be counted of a request that has this result, but for how long it took. */
struct vu_counted fs_counters_describe(const struct fs_request *request, int result);

/* All queues in one: FS_N_COUNTERS kinds. g_free. */
struct vu_counter *fs_counters_sum(const struct fs_counters *counters);
/* The name of what is counted there; "unknown". */
const char *fs_counters_name(uint32_t opcode);
/* One line of what was counted since the last one, the most frequent first; none where that is
 * nothing. Of a request that is being handled and so not counted yet, `present` is the opcode; 0:
 * there is none. */
void fs_counters_log(struct fs_counters *counters, uint32_t present);

/* How all of it is told. Of a struct fs_share. */
extern const struct vu_stats fs_stats;
