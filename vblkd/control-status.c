/* SPDX-License-Identifier: Apache-2.0 */
/* What the device is, and what its image is made of: query-status, query-named-block-nodes. */
#include <sys/stat.h>

#include "vblkd/control.h"
#include "vblkd/device.h"
#include "vhost-user/daemon/control-status.h"
#include "vhost-user/daemon/json-build.h"
#include "vhost-user/daemon/stats.h"

#define STATUS_BLOCK 512 /* of st_blocks */

static const struct vu_feature_name status_features[] = {
    {BLK_F_SIZE_MAX, "SIZE_MAX"},
    {BLK_F_SEG_MAX, "SEG_MAX"},
    {BLK_F_RO, "RO"},
    {BLK_F_BLK_SIZE, "BLK_SIZE"},
    {BLK_F_FLUSH, "FLUSH"},
    {BLK_F_TOPOLOGY, "TOPOLOGY"},
    {BLK_F_MQ, "MQ"},
    {BLK_F_CONFIG_WCE, "CONFIG_WCE"},
    {BLK_F_DISCARD, "DISCARD"},
    {BLK_F_WRITE_ZEROES, "WRITE_ZEROES"},
};

static bool status_is_corrupt(const struct vblk_image *image)
{
    return __atomic_load_n(&image->is_corrupt, __ATOMIC_RELAXED);
}

/* Whether what a guest writes may wait for its flush. */
static bool status_has_write_cache(const struct blk_device *device)
{
    return !__atomic_load_n(&device->wants_durable, __ATOMIC_RELAXED) &&
           !vblk_cache_is_writethrough(blk_device_image(device)->storage->cache);
}

JsonNode *blk_control_query_status(struct vu_control_call *call, GError **error)
{
    const struct blk_device *device = call->opaque;
    const struct vblk_image *image = blk_device_image(device);
    JsonBuilder *json = vu_json_begin();

    vu_json_add_text(json, "file", image->storage->path);
    vu_json_add_text(json, "format", image->format->name);
    vu_json_add_number(json, "size", blk_device_capacity(device) * BLK_SECTOR);
    vu_json_add_text(json, "cache", vblk_caches[image->storage->cache]);
    vu_json_add_text(json, "aio", vblk_aio_kinds[device->options.aio]);
    vu_json_add_bool(json, "read-only", image->read_only);
    vu_json_add_bool(json, "corrupt", status_is_corrupt(image));
    vu_json_add_bool(json, "write-cache", status_has_write_cache(device));
    vu_json_add_bool(json, "discard", device->options.discard);
    vu_json_add_text(json, "serial", device->options.serial);
    vu_json_add_number(json, "logical-block-size", device->logical_block_size);
    vu_json_add_number(json, "physical-block-size", device->physical_block_size);
    vu_control_add_front_end(json, call->backend, status_features, G_N_ELEMENTS(status_features));
    return vu_json_finish(json);
}

JsonNode *blk_control_query_stats(struct vu_control_call *call, GError **error)
{
    return vu_stats_to_json(call->backends, call->n_backends,
                            vu_control_bool(call, "histograms", false));
}

/* --- the chain --- */

static void status_add_node(JsonBuilder *json, const struct vblk_image *image, unsigned depth)
{
    g_autofree char *name = g_strdup_printf("node%u", depth);
    const struct vblk_storage *storage = image->storage;
    struct stat st;

    json_builder_begin_object(json);
    vu_json_add_text(json, "node-name", name);
    vu_json_add_number(json, "backing_file_depth", depth);
    vu_json_add_text(json, "drv", image->format->name);
    vu_json_add_text(json, "file", storage->path);
    vu_json_add_bool(json, "ro", image->read_only);
    vu_json_add_text(json, "cache", vblk_caches[storage->cache]);
    vu_json_add_number(json, "virtual-size", __atomic_load_n(&image->size, __ATOMIC_ACQUIRE));
    if (fstat(storage->fd, &st) == 0 && !storage->is_block_device)
        vu_json_add_number(json, "actual-size", (uint64_t)st.st_blocks * STATUS_BLOCK);
    if (fstat(storage->fd, &st) == 0) {
        vu_json_add_number(json, "device", st.st_dev);
        vu_json_add_number(json, "inode", st.st_ino);
    }
    if (image->cluster_size > 0)
        vu_json_add_number(json, "cluster-size", image->cluster_size);
    vu_json_add_number(json, "table-loads",
                       __atomic_load_n(&image->n_table_loads, __ATOMIC_RELAXED));
    vu_json_add_bool(json, "corrupt", status_is_corrupt(image));
    json_builder_end_object(json);
}

JsonNode *blk_control_query_nodes(struct vu_control_call *call, GError **error)
{
    JsonBuilder *json = json_builder_new();
    unsigned depth = 0;
    JsonNode *node;

    json_builder_begin_array(json);
    for (const struct vblk_image *image = blk_device_image(call->opaque); image;
         image = image->backing)
        status_add_node(json, image, depth++);
    json_builder_end_array(json);
    node = json_builder_get_root(json);
    g_object_unref(json);
    return node;
}
