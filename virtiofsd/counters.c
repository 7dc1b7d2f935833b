/* SPDX-License-Identifier: Apache-2.0 */
/* See counters.h. */
#include "virtiofsd/counters.h"

#include <glib.h>

#include "vhost-user/daemon/stats.h"
#include "vhost-user/log.h"
#include "virtiofsd/request.h"

struct counter_row {
    uint32_t opcode;
    uint64_t n;
};

const char *fs_counters_name(uint32_t opcode)
{
    const struct fs_operation *operation = fs_operation_find(opcode);

    return operation ? operation->name : "unknown";
}

struct vu_counters *fs_counters_of_queue(struct fs_counters *counters, unsigned queue)
{
    struct vu_counters **slot = &counters->queues[queue], *found, *made;

    g_assert(queue < FS_N_QUEUES);
    found = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    if (found)
        return found;
    made = vu_counters_create(FS_N_COUNTERS);
    if (__atomic_compare_exchange_n(slot, &found, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return made;
    vu_counters_destroy(made);
    return found;
}

void fs_counters_clear(struct fs_counters *counters)
{
    for (unsigned i = 0; i < FS_N_QUEUES; i++)
        g_clear_pointer(&counters->queues[i], vu_counters_destroy);
}

struct vu_counted fs_counters_describe(const struct fs_request *request, int result)
{
    uint32_t opcode = result != FS_NO_ANSWER ? request->header.opcode : 0;

    return (struct vu_counted){
        .kind = opcode < FS_N_COUNTERS ? opcode : 0,
        .is_failed = result < 0,
        .n_bytes = result >= 0 ? request->done : 0,
    };
}

struct vu_counter *fs_counters_sum(const struct fs_counters *counters)
{
    struct vu_counter *sums = g_new0(struct vu_counter, FS_N_COUNTERS);

    for (unsigned i = 0; i < FS_N_QUEUES; i++)
        vu_counters_sum(sums, __atomic_load_n(&counters->queues[i], __ATOMIC_ACQUIRE));
    return sums;
}

/* --- the log --- */

static int counter_compare(const void *a, const void *b)
{
    uint64_t n_a = ((const struct counter_row *)a)->n, n_b = ((const struct counter_row *)b)->n;

    return n_a < n_b ? 1 : n_a > n_b ? -1 : 0;
}

static void counters_log_rows(struct counter_row *rows)
{
    g_autoptr(GString) line = g_string_new(NULL);
    uint64_t total = 0;

    for (uint32_t i = 0; i < FS_N_COUNTERS; i++)
        total += rows[i].n;
    if (total == 0)
        return;
    qsort(rows, FS_N_COUNTERS, sizeof(rows[0]), counter_compare);
    for (uint32_t i = 0; i < FS_N_COUNTERS && rows[i].n > 0; i++)
        g_string_append_printf(line, "%s %s %" G_GUINT64_FORMAT, i > 0 ? "," : "",
                               fs_counters_name(rows[i].opcode), rows[i].n);
    vu_info("virtiofsd: %" G_GUINT64_FORMAT " requests:%s", total, line->str);
}

void fs_counters_log(struct fs_counters *counters, uint32_t present)
{
    g_autofree struct vu_counter *sums = fs_counters_sum(counters);
    struct counter_row rows[FS_N_COUNTERS];

    for (uint32_t i = 0; i < FS_N_COUNTERS; i++) {
        uint64_t n = sums[i].n + (present != 0 && i == present);
        uint64_t before = __atomic_exchange_n(&counters->n_logged[i], n, __ATOMIC_RELAXED);

        /* Another thread may be at it as well. */
        rows[i] = (struct counter_row){.opcode = i, .n = n > before ? n - before : 0};
    }
    counters_log_rows(rows);
}

/* --- all other ways --- */

/* Opcode 0 is nobody's. */
static const char *counters_kind_name(unsigned kind)
{
    return kind == 0 || fs_operation_find(kind) ? fs_counters_name(kind) : NULL;
}

static const struct vu_counters *counters_get(const void *opaque, unsigned queue)
{
    const struct fs_share *share = opaque;

    return __atomic_load_n(&share->counters.queues[queue], __ATOMIC_ACQUIRE);
}

const struct vu_stats fs_stats = {
    .metrics = "outboard_fs",
    .n_kinds = FS_N_COUNTERS,
    .is_sparse = true,
    .kind_name = counters_kind_name,
    .counters = counters_get,
};
