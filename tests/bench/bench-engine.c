/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop of the benchmarks: depth requests in flight on each queue, one thread a queue.
 */
#include "bench-engine.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "bench-stats.h"
#include "vhost-user/cpu.h"

#define BENCH_PATIENCE_MS 10000
#define BENCH_HARVEST     64

struct bench_thread {
    const struct bench_run *run;
    const struct bench_workload *workload;
    void *context;
    struct vu_driver *queue;
    struct bench_slot *slots;
    pthread_t thread;
    uint64_t deadline_ns;
    struct bench_histogram histogram;
    uint64_t n_ops;
    unsigned n_in_flight, n_unkicked;
    int error;
};

int bench_slot_alloc(struct vu_shmem *shmem, uint32_t out_capacity, uint32_t in_capacity,
                     struct bench_slot *ret_slot)
{
    *ret_slot = (struct bench_slot){0};
    ret_slot->out = vu_shmem_alloc(shmem, out_capacity, 4096, &ret_slot->out_gpa);
    ret_slot->in = vu_shmem_alloc(shmem, in_capacity, 4096, &ret_slot->in_gpa);
    return ret_slot->out && ret_slot->in ? 0 : -ENOMEM;
}

/* Cuts a buffer into ranges of at most `segment` bytes, after a first one of `head` bytes and
 * before a last one of `tail` bytes. */
static unsigned bench_engine_cut(uint64_t gpa, uint32_t len, uint32_t head, uint32_t tail,
                                 uint32_t segment, struct vu_sg *sg)
{
    unsigned n = 0;

    for (uint32_t at = 0; at < len; n++) {
        uint32_t piece = len - at;

        if (n == 0 && head > 0)
            piece = MIN(piece, head);
        else if (piece > tail)
            piece = MIN(piece - tail, segment);
        sg[n] = (struct vu_sg){.gpa = gpa + at, .len = piece};
        at += piece;
    }
    return n;
}

static int bench_engine_submit(struct vu_driver *queue, struct bench_slot *slot, uint32_t segment)
{
    struct vu_sg sg[BENCH_SG_MAX * 2];
    unsigned n_out = bench_engine_cut(slot->out_gpa, slot->out_len, slot->out_head, 0, segment, sg);
    unsigned n_in = bench_engine_cut(slot->in_gpa, slot->in_len, slot->in_head, slot->in_tail,
                                     segment, sg + n_out);

    slot->started_ns = vu_now_ns();
    return vu_driver_add(queue, sg, n_out, n_in, slot);
}

/* Sleeps (or spins) until the queue has an answer. 0, or -ETIMEDOUT. */
static int bench_engine_wait(struct vu_driver *queue, bool spin)
{
    uint64_t limit = vu_now_ns() + BENCH_PATIENCE_MS * UINT64_C(1000000);

    if (spin) {
        vu_driver_disarm_call(queue);
        while (!vu_driver_has_used(queue)) {
            vu_cpu_relax();
            if (vu_now_ns() > limit)
                return -ETIMEDOUT;
        }
        return 0;
    }
    while (!vu_driver_arm_call(queue)) {
        struct pollfd fd = {.fd = queue->call_fd, .events = POLLIN};

        if (vu_now_ns() > limit)
            return -ETIMEDOUT;
        poll(&fd, 1, 1000);
        vu_driver_clear_call(queue);
    }
    return 0;
}

int bench_engine_send(struct vu_driver *queue, struct bench_slot *slot, uint32_t segment)
{
    int ret = bench_engine_submit(queue, slot, segment);

    if (ret == 0)
        vu_driver_kick(queue);
    return ret;
}

int bench_engine_answer(struct vu_driver *queue)
{
    struct vu_driver_used used;
    int ret;

    for (;;) {
        ret = vu_driver_harvest(queue, &used, 1);
        if (ret < 0)
            return ret;
        if (ret == 1)
            return (int)used.len;
        ret = bench_engine_wait(queue, false);
        if (ret)
            return ret;
    }
}

int bench_engine_call(struct vu_driver *queue, struct bench_slot *slot, uint32_t segment)
{
    int ret = bench_engine_send(queue, slot, segment);

    return ret ? ret : bench_engine_answer(queue);
}

/* Takes one answer; sends the slot's next request unless the time is over. */
static int bench_thread_answer(struct bench_thread *t, const struct vu_driver_used *used, bool over)
{
    struct bench_slot *slot = used->token;
    uint64_t now = vu_now_ns();
    int ret = t->workload->done(t->context, slot, used->len);

    t->n_in_flight--;
    if (ret < 0)
        return ret;
    if (!over) {
        bench_histogram_add(&t->histogram, now - slot->started_ns);
        t->n_ops += (uint64_t)ret;
    } else if (ret == 1) {
        return 0; /* whole operations only: nothing is left behind half done */
    }
    t->workload->fill(t->context, slot);
    ret = bench_engine_submit(t->queue, slot, t->run->segment);
    t->n_in_flight += ret == 0;
    if (++t->n_unkicked >= t->run->batch) {
        t->n_unkicked = 0;
        vu_driver_kick(t->queue);
    }
    return ret;
}

static int bench_thread_loop(struct bench_thread *t)
{
    struct vu_driver_used used[BENCH_HARVEST];
    int ret;

    for (unsigned i = 0; i < t->run->depth; i++) {
        t->workload->fill(t->context, &t->slots[i]);
        ret = bench_engine_submit(t->queue, &t->slots[i], t->run->segment);
        if (ret)
            return ret;
        t->n_in_flight++;
    }
    while (t->n_in_flight) {
        vu_driver_kick(t->queue);
        int n = vu_driver_harvest(t->queue, used, BENCH_HARVEST);

        if (n == 0)
            n = bench_engine_wait(t->queue, t->run->poll);
        if (n < 0)
            return n;
        bool over = vu_now_ns() >= t->deadline_ns;

        for (int i = 0; i < n; i++) {
            ret = bench_thread_answer(t, &used[i], over);
            if (ret < 0)
                return ret;
        }
    }
    return 0;
}

static void *bench_thread_main(void *opaque)
{
    struct bench_thread *t = opaque;

    t->error = bench_thread_loop(t);
    return NULL;
}

static int bench_engine_prepare(const struct bench_run *run, struct bench_thread *threads,
                                struct bench_slot *slots)
{
    for (unsigned i = 0; i < run->n_queues * run->depth; i++) {
        int ret = bench_slot_alloc(run->shmem, run->out_capacity, run->in_capacity, &slots[i]);

        if (ret)
            return ret;
        slots[i].queue = i / run->depth;
        slots[i].number = i;
    }
    for (unsigned q = 0; q < run->n_queues; q++) {
        threads[q].slots = slots + q * run->depth;
        threads[q].queue = run->queues[q];
    }
    return 0;
}

static void bench_engine_sum(const struct bench_run *run, struct bench_thread *threads,
                             int64_t cpu_ns, int64_t n_calls, struct bench_result *ret_result)
{
    struct bench_histogram *all = &threads[0].histogram;
    uint64_t n_ops = threads[0].n_ops;

    for (unsigned q = 1; q < run->n_queues; q++) {
        bench_histogram_merge(all, &threads[q].histogram);
        n_ops += threads[q].n_ops;
    }
    *ret_result = (struct bench_result){
        /* What is answered after that time is not counted. */
        .ops_per_s = (double)n_ops * 1e3 / (double)run->milliseconds,
        .p50_us = (double)bench_histogram_quantile(all, 0.5) / 1e3,
        .p99_us = (double)bench_histogram_quantile(all, 0.99) / 1e3,
        .cpu_us_per_op = cpu_ns < 0 || !n_ops ? -1 : (double)cpu_ns / 1e3 / (double)n_ops,
        .calls_per_op = n_calls < 0 || !n_ops ? -1 : (double)n_calls / (double)n_ops,
        .rss_kib = run->daemon_pid ? bench_process_rss_kib(run->daemon_pid) : -1,
        .n_ops = n_ops,
    };
}

int bench_engine_run(const struct bench_run *run, const struct bench_workload *workload,
                     void *context, struct bench_result *ret_result)
{
    g_autofree struct bench_thread *threads = g_new0(struct bench_thread, run->n_queues);
    g_autofree struct bench_slot *slots = g_new0(struct bench_slot, run->n_queues * run->depth);
    struct vu_shmem taken = *run->shmem; /* to hand the slots' buffers back afterwards */
    int ret = bench_engine_prepare(run, threads, slots);

    if (ret)
        return ret;
    struct bench_counter counter = {.n = 0};

    if (run->daemon_pid)
        bench_counter_begin(run->daemon_pid, &counter);
    int64_t cpu = run->daemon_pid ? bench_process_cpu_ns(run->daemon_pid) : -1;
    uint64_t begin = vu_now_ns();

    for (unsigned q = 0; q < run->n_queues; q++) {
        struct bench_thread *t = &threads[q];

        t->run = run;
        t->workload = workload;
        t->context = context;
        t->deadline_ns = begin + run->milliseconds * UINT64_C(1000000);
        if (pthread_create(&t->thread, NULL, bench_thread_main, t))
            g_error("no thread can be made");
    }
    for (unsigned q = 0; q < run->n_queues; q++) {
        pthread_join(threads[q].thread, NULL);
        if (threads[q].error)
            ret = threads[q].error;
    }
    for (unsigned i = 0; i < taken.n_regions; i++)
        run->shmem->regions[i].n_taken = taken.regions[i].n_taken;
    if (cpu >= 0)
        cpu = bench_process_cpu_ns(run->daemon_pid) - cpu;
    int64_t n_calls = bench_counter_end(&counter);

    if (ret)
        return ret;
    bench_engine_sum(run, threads, cpu, n_calls, ret_result);
    return 0;
}
