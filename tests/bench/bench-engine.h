/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a number of requests in flight on one or several queues for a while, and measures: requests
 * per second, latency, and what the back-end's process cost. Knows no device: a workload fills
 * requests in and looks at the answers.
 *
 * One thread drives each queue. A slot is one request's worth of buffers in shared memory; a
 * workload that needs several requests for one operation keeps its place in slot->step.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/driver.h"

#define BENCH_SG_MAX 520

struct bench_slot {
    uint8_t *out, *in; /* device-readable and device-writable buffers */
    uint64_t out_gpa, in_gpa;
    uint32_t out_len, in_len; /* the workload sets them: bytes of this request */
    /* and these: bytes of the first range either way, a header's own; 0: none. in_tail: of the last
     * one that is writable */
    uint32_t out_head, in_head, in_tail;
    unsigned queue, number; /* which slot of which queue */
    unsigned step;          /* the workload's own; 0 at first */
    uint64_t id, handle, count;
    uint64_t started_ns;
};

struct bench_workload {
    /* Fills slot->out, out_len and in_len for its next request. */
    void (*fill)(void *context, struct bench_slot *slot);
    /* Looks at the answer of `len` bytes in slot->in: 1 an operation is complete, 0 more requests
     * of it follow, -errno ends the run. */
    int (*done)(void *context, struct bench_slot *slot, uint32_t len);
};

/* One of a device's. */
struct bench_named_workload {
    const char *name;
    const char *operation; /* what one is, for the help text */
    bool data;             /* moves blocks */
    struct bench_workload workload;
    uint64_t features; /* of the device, that it takes */
};

struct bench_run {
    struct vu_driver *const *queues;
    unsigned n_queues, depth;
    struct vu_shmem *shmem;
    uint32_t out_capacity, in_capacity; /* of each slot's buffers */
    uint32_t segment; /* longest range of one descriptor: as a guest's pages lie scattered */
    unsigned milliseconds;
    unsigned batch; /* a driver that takes many answers sends as many requests before it kicks */
    bool poll;      /* the driver spins instead of sleeping on its call eventfd */
    int daemon_pid; /* 0: not measured */
};

struct bench_result {
    double ops_per_s;
    double p50_us, p99_us;
    double cpu_us_per_op; /* of the daemon's process; negative: unknown */
    double calls_per_op;  /* likewise: system calls */
    long rss_kib;
    uint64_t n_ops;
};

/* Runs the workload. 0, or the first -errno a queue met (-EPROTO, -ETIMEDOUT after 10 s without an
 * answer, the workload's own). */
int bench_engine_run(const struct bench_run *run, const struct bench_workload *workload,
                     void *context, struct bench_result *ret_result);

/* One request at a time, for preparations: out_len bytes of slot->out, room for in_len; returns the
 * answer's length or -errno. */
int bench_engine_call(struct vu_driver *queue, struct bench_slot *slot, uint32_t segment);
/* The two halves of it. */
int bench_engine_send(struct vu_driver *queue, struct bench_slot *slot, uint32_t segment);
int bench_engine_answer(struct vu_driver *queue);
/* Buffers for one slot out of the shared memory; -ENOMEM. */
int bench_slot_alloc(struct vu_shmem *shmem, uint32_t out_capacity, uint32_t in_capacity,
                     struct bench_slot *ret_slot);
