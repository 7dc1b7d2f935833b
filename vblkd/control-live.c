/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that change the disk under its guest: see live.h. Names are QMP's where it has them. */
#include <gio/gio.h>

#include "vblkd/control.h"
#include "vblkd/live.h"
#include "vhost-user/daemon/json-build.h"

static struct blk_live control_live(const struct vu_control_call *call)
{
    return (struct blk_live){
        .device = call->opaque,
        .timeout_ms = (unsigned)vu_control_int(call, "timeout", BLK_LIVE_TIMEOUT_MS),
    };
}

static JsonNode *control_resized(const struct vu_control_call *call, bool is_told)
{
    const struct blk_device *device = call->opaque;
    JsonBuilder *json = vu_json_begin();

    vu_json_add_number(json, "size", blk_device_capacity(device) * BLK_SECTOR);
    vu_json_add_bool(json, "guest-told", is_told);
    return vu_json_finish(json);
}

JsonNode *blk_control_resize(struct vu_control_call *call, GError **error)
{
    const struct blk_live live = control_live(call);
    bool may_shrink = vu_control_bool(call, "shrink", false), told, ok;

    if (vu_control_has(call, "size"))
        ok = blk_live_resize(&live, (uint64_t)vu_control_int(call, "size", 0), may_shrink, &told,
                             error);
    else
        ok = blk_live_refresh_size(&live, may_shrink, &told, error);
    return ok ? control_resized(call, told) : NULL;
}

/* --- snapshots inside the image --- */

/* QMP's SnapshotInfo. */
static void control_add_snapshot(JsonBuilder *json, const struct qcow2_snapshot *snapshot)
{
    vu_json_add_text(json, "id", snapshot->id);
    vu_json_add_text(json, "name", snapshot->name);
    vu_json_add_number(json, "vm-state-size", snapshot->vm_state_size);
    vu_json_add_number(json, "date-sec", snapshot->date_sec);
    vu_json_add_number(json, "date-nsec", snapshot->date_nsec);
    vu_json_add_number(json, "vm-clock-sec", snapshot->vm_clock_nsec / 1000000000);
    vu_json_add_number(json, "vm-clock-nsec", snapshot->vm_clock_nsec % 1000000000);
}

JsonNode *blk_control_query_snapshots(struct vu_control_call *call, GError **error)
{
    const struct blk_live live = control_live(call);
    g_autoptr(GPtrArray) snapshots = blk_live_snapshot_list(&live, error);
    JsonBuilder *json;
    JsonNode *node;

    if (!snapshots)
        return NULL;
    json = json_builder_begin_array(json_builder_new());
    for (guint i = 0; i < snapshots->len; i++) {
        json_builder_begin_object(json);
        control_add_snapshot(json, g_ptr_array_index(snapshots, i));
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
    node = json_builder_get_root(json);
    g_object_unref(json);
    return node;
}

JsonNode *blk_control_snapshot_create(struct vu_control_call *call, GError **error)
{
    const struct blk_live live = control_live(call);

    if (!blk_live_snapshot_create(&live, vu_control_string(call, "name"), error))
        return NULL;
    return vu_control_nothing();
}

/* Whether one of the two is there that say which. */
static bool control_names_snapshot(const struct vu_control_call *call, GError **error)
{
    if (vu_control_has(call, "id") || vu_control_has(call, "name"))
        return true;
    vu_control_fail(error, "\"name\" or \"id\" must say which snapshot");
    return false;
}

JsonNode *blk_control_snapshot_delete(struct vu_control_call *call, GError **error)
{
    const struct blk_live live = control_live(call);
    struct qcow2_snapshot *snapshot;
    JsonBuilder *json;

    if (!control_names_snapshot(call, error) ||
        !blk_live_snapshot_delete(&live, vu_control_string(call, "id"),
                                  vu_control_string(call, "name"), &snapshot, error))
        return NULL;
    json = vu_json_begin();
    control_add_snapshot(json, snapshot);
    qcow2_snapshot_free(snapshot);
    return vu_json_finish(json);
}

JsonNode *blk_control_snapshot_apply(struct vu_control_call *call, GError **error)
{
    const struct blk_live live = control_live(call);
    bool told;

    if (!control_names_snapshot(call, error) ||
        !blk_live_snapshot_apply(&live, vu_control_string(call, "id"),
                                 vu_control_string(call, "name"),
                                 vu_control_bool(call, "force", false), &told, error))
        return NULL;
    return control_resized(call, told);
}

/* --- external ones --- */

JsonNode *blk_control_snapshot_external(struct vu_control_call *call, GError **error)
{
    const struct blk_live live = control_live(call);

    if (!blk_live_insert_overlay(&live, vu_control_take_fd(call, "overlay"),
                                 vu_control_string(call, "overlay"), error))
        return NULL;
    return vu_control_nothing();
}
