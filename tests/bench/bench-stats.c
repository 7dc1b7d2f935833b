/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Latency histogram and process figures of the benchmarks.
 */
#include "bench-stats.h"

#include <glib.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static unsigned bench_histogram_bucket(uint64_t ns)
{
    if (ns < 16)
        return (unsigned)ns;
    unsigned power = 63u - (unsigned)__builtin_clzll(ns);

    return (power - 3) * 16 + (unsigned)((ns >> (power - 4)) & 15);
}

static uint64_t bench_histogram_value(unsigned bucket)
{
    if (bucket < 16)
        return bucket;
    unsigned power = bucket / 16 + 3;

    return (uint64_t)(16 + bucket % 16) << (power - 4);
}

void bench_histogram_add(struct bench_histogram *histogram, uint64_t ns)
{
    histogram->counts[bench_histogram_bucket(ns)]++;
    histogram->total++;
}

void bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from)
{
    for (unsigned i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++)
        into->counts[i] += from->counts[i];
    into->total += from->total;
}

uint64_t bench_histogram_quantile(const struct bench_histogram *histogram, double fraction)
{
    uint64_t rank = (uint64_t)((double)histogram->total * fraction), seen = 0;

    for (unsigned i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (histogram->counts[i] && seen >= rank)
            return bench_histogram_value(i);
    }
    return 0;
}

int bench_process_serving(int pid)
{
    for (;;) {
        g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", pid, pid);
        g_autofree char *text = NULL;

        if (!g_file_get_contents(path, &text, NULL, NULL))
            return pid;
        int child = (int)g_ascii_strtoll(text, NULL, 10);

        if (child <= 0)
            return pid;
        pid = child;
    }
}

/* CLOCK_PROCESS_CPUTIME_ID of another process: the kernel encodes the pid in the clock's number. */
int64_t bench_process_cpu_ns(int pid)
{
    clockid_t clock;
    struct timespec ts;

    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &ts))
        return -1;
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

long bench_process_rss_kib(int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", pid);
    g_autofree char *text = NULL;
    long kib = -1;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return -1;
    static const char *const fields[] = {"\nRssAnon:", "\nRssFile:"};

    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++) {
        const char *at = strstr(text, fields[i]);

        if (at)
            kib = MAX(kib, 0) + (long)g_ascii_strtoll(at + strlen(fields[i]), NULL, 10);
    }
    return kib;
}

/* The tracepoint's number; 0 where there is none, or it is not ours to see. */
static uint64_t bench_counter_tracepoint(void)
{
    static const char *const roots[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};

    for (unsigned i = 0; i < G_N_ELEMENTS(roots); i++) {
        g_autofree char *path = g_strconcat(roots[i], "/events/raw_syscalls/sys_enter/id", NULL);
        g_autofree char *text = NULL;

        if (g_file_get_contents(path, &text, NULL, NULL))
            return g_ascii_strtoull(text, NULL, 10);
    }
    return 0;
}

void bench_counter_begin(int pid, struct bench_counter *counter)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_TRACEPOINT,
        .size = sizeof(attr),
        .config = bench_counter_tracepoint(),
        .inherit = 1,
    };
    g_autofree char *path = g_strdup_printf("/proc/%d/task", pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *tid;

    counter->n = 0;
    while (dir && attr.config && (tid = g_dir_read_name(dir)) &&
           counter->n < BENCH_COUNTER_THREADS) {
        int fd = (int)syscall(SYS_perf_event_open, &attr, atoi(tid), -1, -1, PERF_FLAG_FD_CLOEXEC);

        if (fd >= 0)
            counter->fds[counter->n++] = fd;
    }
}

int64_t bench_counter_end(struct bench_counter *counter)
{
    int64_t sum = counter->n > 0 ? 0 : -1;

    for (unsigned i = 0; i < counter->n; i++) {
        int64_t count = 0;

        if (read(counter->fds[i], &count, sizeof(count)) == sizeof(count))
            sum += count;
        close(counter->fds[i]);
    }
    counter->n = 0;
    return sum;
}
