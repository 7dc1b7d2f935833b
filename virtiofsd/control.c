/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of virtiofsd's control socket: their rows, and what they do. */
#include "virtiofsd/control.h"

#include "vhost-user/daemon/control-status.h"
#include "vhost-user/daemon/json-build.h"
#include "virtiofsd/cache-mode.h"
#include "virtiofsd/counters.h"
#include "virtiofsd/fs-options.h"
#include "virtiofsd/handle.h"
#include "virtiofsd/share.h"

static JsonNode *control_query_status(struct vu_control_call *call, GError **error)
{
    const struct fs_share *share = call->opaque;
    const struct fs_options *options = share->options;
    struct fs_inodes_usage usage;
    JsonBuilder *json = vu_json_begin();

    vu_json_add_text(json, "shared-dir", options->source);
    vu_json_add_text(json, "tag", options->tag);
    vu_json_add_bool(json, "read-only", options->readonly);
    vu_json_add_bool(json, "mounted", fs_share_is_initialised(share));
    fs_inodes_get_usage(share->inodes, &usage);
    vu_json_add_number(json, "inodes", usage.n_inodes);
    vu_json_add_number(json, "inode-descriptors", usage.n_fds);
    vu_json_add_number(json, "reopened-descriptors", usage.n_reopens);
    vu_json_add_number(json, "forgotten-inodes", usage.n_past);
    vu_json_add_number(json, "inode-bytes", usage.bytes);
    vu_json_add_number(json, "mounts", usage.n_mounts);
    vu_json_add_number(json, "open-files", fs_handles_count(share->handles));
    vu_json_add_number(json, "opens-kept", __atomic_load_n(&share->n_opens_kept, __ATOMIC_RELAXED));
    vu_control_add_front_end(json, call->backend, NULL, 0);
    return vu_json_finish(json);
}

static JsonNode *control_query_counters(struct vu_control_call *call, GError **error)
{
    const struct fs_share *share = call->opaque;
    g_autofree struct vu_counter *sums = fs_counters_sum(&share->counters);
    JsonBuilder *json = json_builder_new();
    JsonNode *node;

    json_builder_begin_array(json);
    for (uint32_t i = 0; i < FS_N_COUNTERS; i++) {
        const struct vu_counter *counter = &sums[i];

        if (counter->n == 0)
            continue;
        json_builder_begin_object(json);
        vu_json_add_text(json, "request", fs_counters_name(i));
        vu_json_add_number(json, "opcode", i);
        vu_json_add_number(json, "operations", counter->n);
        vu_json_add_number(json, "failed", counter->n_errors);
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
    node = json_builder_get_root(json);
    g_object_unref(json);
    return node;
}

static const struct vu_control_command control_commands[] = {
    {.name = "query-status",
     .help = "The share, what the guest holds of it, and the front-end.",
     .run = control_query_status},
    {.name = "query-counters",
     .help = "Requests of each kind, and how many of them were answered with an error.",
     .run = control_query_counters},
};

const struct vu_control_table fs_control_table = {control_commands, G_N_ELEMENTS(control_commands)};
