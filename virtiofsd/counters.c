/* SPDX-License-Identifier: Apache-2.0 */
/* The line about requests, at the end of a session and when the guest unmounts. */
#include "virtiofsd/counters.h"

#include <glib.h>

#include "vhost-user/log.h"
#include "virtiofsd/request.h"

struct counter_row {
    uint32_t opcode;
    uint64_t n;
};

static int counter_compare(const void *a, const void *b)
{
    uint64_t n_a = ((const struct counter_row *)a)->n, n_b = ((const struct counter_row *)b)->n;

    return n_a < n_b ? 1 : n_a > n_b ? -1 : 0;
}

const char *fs_counters_name(uint32_t opcode)
{
    const struct fs_operation *operation = fs_operation_find(opcode);

    return operation ? operation->name : "unknown";
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

void fs_counters_log(struct fs_counters *counters)
{
    struct counter_row rows[FS_N_COUNTERS];

    for (uint32_t i = 0; i < FS_N_COUNTERS; i++) {
        uint64_t n = __atomic_load_n(&counters->n[i], __ATOMIC_RELAXED);
        uint64_t before = __atomic_exchange_n(&counters->n_logged[i], n, __ATOMIC_RELAXED);

        /* Another thread may be at it as well. */
        rows[i] = (struct counter_row){.opcode = i, .n = n > before ? n - before : 0};
    }
    counters_log_rows(rows);
}

void fs_counters_log_all(const struct fs_counters *counters)
{
    struct counter_row rows[FS_N_COUNTERS];

    for (uint32_t i = 0; i < FS_N_COUNTERS; i++)
        rows[i] = (struct counter_row){.opcode = i,
                                       .n = __atomic_load_n(&counters->n[i], __ATOMIC_RELAXED)};
    counters_log_rows(rows);
}
