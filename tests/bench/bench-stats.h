/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a benchmark counts: a latency histogram of fixed size, and the CPU time and memory of
 * another process.
 */
#pragma once

#include <stdint.h>

/* 16 buckets for each power of two: quantiles within 6 %. */
#define BENCH_HISTOGRAM_BUCKETS 1024

struct bench_histogram {
    uint64_t counts[BENCH_HISTOGRAM_BUCKETS];
    uint64_t total;
};

void bench_histogram_add(struct bench_histogram *histogram, uint64_t ns);
void bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from);
/* The value below which `fraction` (0 to 1) of all samples lie, in ns; 0 when there are none. */
uint64_t bench_histogram_quantile(const struct bench_histogram *histogram, double fraction);

/* The process that does the work: some daemons fork once into their sandbox and wait for the child.
 */
int bench_process_serving(int pid);
/* CPU time that a process has used, all its threads, in ns; -1 where it cannot be read. */
int64_t bench_process_cpu_ns(int pid);
/* Resident memory that is the process's own (anonymous and file pages, shared guest memory
 * excluded), KiB; -1 unknown. */
long bench_process_rss_kib(int pid);

#define BENCH_COUNTER_THREADS 128

/* System calls of a process while it runs at full speed, counted by the kernel's tracepoint. */
struct bench_counter {
    int fds[BENCH_COUNTER_THREADS]; /* one for each thread, and those that it makes */
    unsigned n;                     /* 0: not permitted here, or no such tracepoint */
};

void bench_counter_begin(int pid, struct bench_counter *counter);
/* How many since then; -1 where they could not be counted. */
int64_t bench_counter_end(struct bench_counter *counter);
