/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the snapshot that a command line names. */
#include "vblkd/img/open-snapshot.h"

#include <string.h>

#include "vblkd/format/qcow2-snapshot-view.h"
#include "vblkd/format/qcow2-snapshot.h"
#include "vhost-user/daemon/options.h"

#define SPEC_ID   "snapshot.id="
#define SPEC_NAME "snapshot.name="

static bool view_matches(const struct qcow2_snapshot *snapshot, char **parts)
{
    for (; *parts; parts++) {
        if (g_str_has_prefix(*parts, SPEC_ID) &&
            strcmp(*parts + strlen(SPEC_ID), snapshot->id) != 0)
            return false;
        if (g_str_has_prefix(*parts, SPEC_NAME) &&
            strcmp(*parts + strlen(SPEC_NAME), snapshot->name) != 0)
            return false;
    }
    return true;
}

static const struct qcow2_snapshot *view_find(const GPtrArray *snapshots, const char *spec)
{
    g_auto(GStrv) parts = NULL;
    int index;

    if (!g_str_has_prefix(spec, SPEC_ID) && !g_str_has_prefix(spec, SPEC_NAME)) {
        index = qcow2_snapshot_find(snapshots, spec);
        return index < 0 ? NULL : g_ptr_array_index(snapshots, (guint)index);
    }
    parts = g_strsplit(spec, ",", -1);
    for (guint i = 0; i < snapshots->len; i++)
        if (view_matches(g_ptr_array_index(snapshots, i), parts))
            return g_ptr_array_index(snapshots, i);
    return NULL;
}

bool img_view_snapshot(struct vblk_image *image, const char *spec, GError **error)
{
    g_autoptr(GPtrArray) snapshots = NULL;
    const struct qcow2_snapshot *snapshot;
    int ret;

    if (strcmp(image->format->name, "qcow2") != 0) {
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: the format %s has no snapshots",
                    image->storage->path, image->format->name);
        return false;
    }
    snapshots = qcow2_snapshot_list(image, error);
    if (!snapshots)
        return false;
    snapshot = view_find(snapshots, spec);
    ret = snapshot ? qcow2_snapshot_view(image, snapshot) : -ENOENT;
    if (ret < 0)
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: snapshot %s: %s", image->storage->path, spec,
                    g_strerror(-ret));
    return ret == 0;
}
