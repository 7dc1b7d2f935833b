/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots as a table, and as JSON. */
#include "vblkd/img/snapshot-list.h"

#include <inttypes.h>
#include <stdio.h>

#include "vblkd/img/size.h"

#define LIST_NSEC 1000000000u

static char *list_date(const struct qcow2_snapshot *snapshot)
{
    g_autoptr(GDateTime) date = g_date_time_new_from_unix_local(snapshot->date_sec);

    return date ? g_date_time_format(date, "%Y-%m-%d %H:%M:%S") : g_strdup("?");
}

static void list_print_one(const struct qcow2_snapshot *snapshot)
{
    uint64_t seconds = snapshot->vm_clock_nsec / LIST_NSEC;
    uint64_t milliseconds = snapshot->vm_clock_nsec % LIST_NSEC / 1000000;
    g_autofree char *size = img_size_format(snapshot->vm_state_size);
    g_autofree char *date = list_date(snapshot);
    g_autofree char *clock =
        g_strdup_printf("%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ".%03" PRIu64, seconds / 3600,
                        seconds / 60 % 60, seconds % 60, milliseconds);
    g_autofree char *icount = snapshot->icount != UINT64_MAX
                                  ? g_strdup_printf("%" PRIu64, snapshot->icount)
                                  : g_strdup("");

    printf("%-9s %-16s %8s%20s%13s%11s\n", snapshot->id, snapshot->name, size, date, clock, icount);
}

void img_snapshot_list_print(const GPtrArray *snapshots)
{
    puts("Snapshot list:");
    printf("%-9s %-16s %8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
    for (unsigned i = 0; i < snapshots->len; i++)
        list_print_one(snapshots->pdata[i]);
}

void img_snapshot_list_add(JsonBuilder *json, const GPtrArray *snapshots)
{
    json_builder_set_member_name(json, "snapshots");
    json_builder_begin_array(json);
    for (unsigned i = 0; i < snapshots->len; i++) {
        const struct qcow2_snapshot *snapshot = snapshots->pdata[i];

        json_builder_begin_object(json);
        vu_json_add_text(json, "id", snapshot->id);
        vu_json_add_text(json, "name", snapshot->name);
        vu_json_add_number(json, "vm-state-size", snapshot->vm_state_size);
        vu_json_add_number(json, "date-sec", snapshot->date_sec);
        vu_json_add_number(json, "date-nsec", snapshot->date_nsec);
        vu_json_add_number(json, "vm-clock-sec", snapshot->vm_clock_nsec / LIST_NSEC);
        vu_json_add_number(json, "vm-clock-nsec", snapshot->vm_clock_nsec % LIST_NSEC);
        if (snapshot->icount != UINT64_MAX)
            vu_json_add_number(json, "icount", snapshot->icount);
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
}
