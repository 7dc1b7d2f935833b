/* SPDX-License-Identifier: Apache-2.0 */
/* See counters.h. */
#include "vhost-user/counters.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

#define COUNTERS_ALIGN 64 /* no part shares a line of the cache with another */

static struct vu_counter *counters_create_part(unsigned n_kinds)
{
    size_t len = n_kinds * sizeof(struct vu_counter);
    struct vu_counter *part;

    len = (len + COUNTERS_ALIGN - 1) & ~(size_t)(COUNTERS_ALIGN - 1);
    part = aligned_alloc(COUNTERS_ALIGN, len);
    g_assert(part);
    memset(part, 0, len);
    return part;
}

struct vu_counters *vu_counters_create(unsigned n_kinds)
{
    struct vu_counters *counters = g_new(struct vu_counters, 1);

    *counters = (struct vu_counters){
        .n_kinds = n_kinds,
        .worker = counters_create_part(n_kinds),
        .helpers = counters_create_part(n_kinds),
    };
    return counters;
}

void vu_counters_destroy(struct vu_counters *counters)
{
    if (!counters)
        return;
    free(counters->worker);
    free(counters->helpers);
    g_free(counters);
}

/* --- writing --- */

/* Of a counter that only this thread writes. */
static inline void counters_add(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static inline void counters_raise(uint64_t *max, uint64_t value)
{
    if (value > __atomic_load_n(max, __ATOMIC_RELAXED))
        __atomic_store_n(max, value, __ATOMIC_RELAXED);
}

static inline void counters_add_shared(uint64_t *counter, uint64_t n)
{
    __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static void counters_raise_shared(uint64_t *max, uint64_t value)
{
    uint64_t old = __atomic_load_n(max, __ATOMIC_RELAXED);

    while (value > old &&
           !__atomic_compare_exchange_n(max, &old, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static void counters_end_shared(struct vu_counters *counters, const struct vu_counted *request)
{
    struct vu_counter *counter = &counters->helpers[request->kind];

    counters_add_shared(&counter->n, 1);
    counters_add_shared(&counter->n_errors, request->is_failed);
    counters_add_shared(&counter->n_bytes, request->n_bytes);
    counters_add_shared(&counter->total_ns, request->ns);
    counters_raise_shared(&counter->max_ns, request->ns);
    counters_add_shared(&counter->latency[vu_histogram_bucket(request->ns)], 1);
}

void vu_counters_end(struct vu_counters *counters, const struct vu_counted *request, bool on_worker)
{
    struct vu_counter *counter = &counters->worker[request->kind];

    if (!on_worker) {
        counters_end_shared(counters, request);
        return;
    }
    counters_add(&counter->n, 1);
    if (request->is_failed)
        counters_add(&counter->n_errors, 1);
    if (request->n_bytes > 0)
        counters_add(&counter->n_bytes, request->n_bytes);
    counters_add(&counter->total_ns, request->ns);
    counters_raise(&counter->max_ns, request->ns);
    counters_add(&counter->latency[vu_histogram_bucket(request->ns)], 1);
}

/* --- reading --- */

static void counters_add_kind(struct vu_counter *sum, const struct vu_counter *counter)
{
    uint64_t n = __atomic_load_n(&counter->n, __ATOMIC_RELAXED);

    /* Most kinds of a device are never asked for. */
    if (n == 0)
        return;
    sum->n += n;
    sum->n_errors += __atomic_load_n(&counter->n_errors, __ATOMIC_RELAXED);
    sum->n_bytes += __atomic_load_n(&counter->n_bytes, __ATOMIC_RELAXED);
    sum->total_ns += __atomic_load_n(&counter->total_ns, __ATOMIC_RELAXED);
    sum->max_ns = MAX(sum->max_ns, __atomic_load_n(&counter->max_ns, __ATOMIC_RELAXED));
    for (unsigned i = 0; i < VU_HISTOGRAM_BUCKETS; i++)
        sum->latency[i] += __atomic_load_n(&counter->latency[i], __ATOMIC_RELAXED);
}

void vu_counters_sum(struct vu_counter *sums, const struct vu_counters *counters)
{
    for (unsigned k = 0; counters && k < counters->n_kinds; k++) {
        counters_add_kind(&sums[k], &counters->worker[k]);
        counters_add_kind(&sums[k], &counters->helpers[k]);
        sums[k].n_helped += __atomic_load_n(&counters->helpers[k].n, __ATOMIC_RELAXED);
    }
}
