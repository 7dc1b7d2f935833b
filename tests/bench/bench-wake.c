/* SPDX-License-Identifier: Apache-2.0 */
/* See bench-wake.h. */
#include "bench-wake.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "bench-stats.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"

#define WAKE_OVER 2 /* what the kick's counter is above when the time is over */

struct wake {
    int kick_fd, call_fd;
};

static void *wake_device(void *opaque)
{
    const struct wake *wake = opaque;
    eventfd_t count;

    while (eventfd_read(wake->kick_fd, &count) == 0 && count < WAKE_OVER)
        (void)eventfd_write(wake->call_fd, 1);
    return NULL;
}

/* How many round trips. */
static uint64_t wake_drive(const struct wake *wake, uint64_t until_ns,
                           struct bench_histogram *histogram)
{
    uint64_t begin_ns = vu_now_ns(), now_ns = begin_ns, n = 0;
    eventfd_t count;

    for (; now_ns < until_ns; n++) {
        if (eventfd_write(wake->kick_fd, 1) < 0 || eventfd_read(wake->call_fd, &count) < 0)
            break;
        now_ns = vu_now_ns();
        bench_histogram_add(histogram, now_ns - begin_ns);
        begin_ns = now_ns;
    }
    (void)eventfd_write(wake->kick_fd, WAKE_OVER);
    return n;
}

int bench_wake_run(unsigned milliseconds, struct bench_result *ret_result)
{
    g_autofree struct bench_histogram *histogram = g_new0(struct bench_histogram, 1);
    vu_autofd int kick_fd = eventfd(0, EFD_CLOEXEC), call_fd = eventfd(0, EFD_CLOEXEC);
    struct wake wake = {.kick_fd = kick_fd, .call_fd = call_fd};
    pthread_t thread;
    uint64_t n;

    if (kick_fd < 0 || call_fd < 0)
        return -errno;
    if (pthread_create(&thread, NULL, wake_device, &wake))
        g_error("no thread can be made");
    n = wake_drive(&wake, vu_now_ns() + milliseconds * UINT64_C(1000000), histogram);
    pthread_join(thread, NULL);
    *ret_result = (struct bench_result){
        .ops_per_s = (double)n * 1e3 / (double)milliseconds,
        .p50_us = (double)bench_histogram_quantile(histogram, 0.5) / 1e3,
        .p99_us = (double)bench_histogram_quantile(histogram, 0.99) / 1e3,
        .cpu_us_per_op = -1,
        .calls_per_op = -1,
        .rss_kib = -1,
        .n_ops = n,
    };
    return 0;
}
