/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device as the vhost-user back-end sees it: features, configuration space, the guest's choice
 * of when writes are durable. Session thread; queue.c has what workers do.
 */
#include "vblkd/device.h"

#include <errno.h>
#include <string.h>

#include "vblkd/control.h"
#include "vblkd/metrics.h"
#include "vblkd/queue.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/log.h"

uint64_t blk_device_capacity(const struct blk_device *device)
{
    uint64_t size = __atomic_load_n(&blk_device_image(device)->size, __ATOMIC_ACQUIRE);

    return size / device->logical_block_size * (device->logical_block_size / BLK_SECTOR);
}

static bool device_is_writeback(const struct blk_device *device)
{
    return !__atomic_load_n(&device->wants_durable, __ATOMIC_RELAXED) &&
           !vblk_cache_is_writethrough(blk_device_image(device)->storage->cache);
}

static unsigned device_log2(uint32_t value)
{
    return 31 - (unsigned)__builtin_clz(value);
}

static void device_get_config(void *opaque, uint8_t *ret_config)
{
    const struct blk_device *device = opaque;
    uint32_t block = device->logical_block_size;
    uint32_t opt_io_len = MAX(blk_device_image(device)->cluster_size, device->physical_block_size);
    unsigned n_queues = device->options.num_queues;
    struct blk_config config = {
        .capacity = le64_from(blk_device_capacity(device)),
        .size_max = le32_from(BLK_MAX_SEGMENT_LEN),
        .seg_max = le32_from(device->options.queue_size - 2),
        .blk_size = le32_from(block),
        .physical_block_exp = (uint8_t)device_log2(device->physical_block_size / block),
        .min_io_size = le16_from((uint16_t)(device->physical_block_size / block)),
        .opt_io_size = le32_from(opt_io_len / block),
        .writeback = device_is_writeback(device),
        .num_queues = le16_from((uint16_t)(n_queues ? n_queues : vu_cpu_count())),
        .max_discard_sectors = le32_from(BLK_MAX_RANGE_LEN / BLK_SECTOR),
        .max_discard_seg = le32_from(BLK_MAX_RANGES),
        .discard_sector_alignment = le32_from(opt_io_len / BLK_SECTOR),
        .max_write_zeroes_sectors = le32_from(BLK_MAX_RANGE_LEN / BLK_SECTOR),
        .max_write_zeroes_seg = le32_from(BLK_MAX_RANGES),
        .write_zeroes_may_unmap = device->options.discard,
    };

    memcpy(ret_config, &config, sizeof(config));
}

static void device_use_choice(struct blk_device *device)
{
    __atomic_store_n(&device->wants_durable, device->lacks_flush || device->cache_off,
                     __ATOMIC_RELAXED);
}

static int device_set_config(void *opaque, uint32_t offset, const uint8_t *data, uint32_t len)
{
    struct blk_device *device = opaque;

    if (offset != offsetof(struct blk_config, writeback) || len != 1 || data[0] > 1 ||
        !vu_has(device->features, BLK_F_CONFIG_WCE))
        return -EINVAL;
    device->cache_off = !data[0];
    blk_choice_keep(&device->choice, device->cache_off);
    device_use_choice(device);
    return 0;
}

/* A driver that cannot flush takes every write for durable. */
static void device_set_features(void *opaque, uint64_t features)
{
    struct blk_device *device = opaque;

    device->lacks_flush = !vu_has(features, BLK_F_FLUSH);
    device_use_choice(device);
}

static void device_reset(void *opaque)
{
    struct blk_device *device = opaque;

    device->lacks_flush = device->cache_off = false;
    device_use_choice(device);
}

/* Front-ends do not tell the choice again to a successor. */
static void device_meet_driver(void *opaque, bool goes_on)
{
    struct blk_device *device = opaque;

    if (goes_on)
        device->cache_off = blk_choice_get(&device->choice);
    else
        blk_choice_keep(&device->choice, device->cache_off);
    device_use_choice(device);
}

static void device_attach(void *opaque, struct vu_backend *backend)
{
    struct blk_device *device = opaque;

    VU_LOCK_SCOPE(&device->live_lock);
    device->backend = backend;
}

static uint64_t device_features(const struct blk_device *device)
{
    uint64_t features = VU_BIT(BLK_F_SIZE_MAX) | VU_BIT(BLK_F_SEG_MAX) | VU_BIT(BLK_F_BLK_SIZE) |
                        VU_BIT(BLK_F_TOPOLOGY) | VU_BIT(BLK_F_FLUSH) | VU_BIT(BLK_F_MQ);

    if (device->image->read_only)
        return features | VU_BIT(BLK_F_RO);
    /* Also where the cache stays off: a driver that cannot ask takes it for on, and flushes. */
    features |= VU_BIT(BLK_F_CONFIG_WCE);
    if (device->options.discard)
        features |= VU_BIT(BLK_F_DISCARD);
    return features | VU_BIT(BLK_F_WRITE_ZEROES);
}

static bool device_fail(GError **error, const struct blk_device *device, const char *why)
{
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s: %s", device->image->storage->path,
                why);
    return false;
}

/* A guest that may write less than a whole block of the storage would make us read the rest of it
 * and write it back, in the way of its other requests. */
static bool device_set_blocks(struct blk_device *device, GError **error)
{
    const struct blk_device_options *options = &device->options;
    const struct vblk_storage *storage = device->image->storage;
    uint32_t smallest = MAX(storage->request_align, BLK_SECTOR);

    device->logical_block_size =
        options->logical_block_size ? options->logical_block_size : smallest;
    device->physical_block_size = options->physical_block_size
                                      ? options->physical_block_size
                                      : MAX(storage->physical_sector, device->logical_block_size);
    if (device->logical_block_size < smallest) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "%s: logical_block_size=%u is less than the %u bytes that cache=%s asks for "
                    "here; cache=writeback has no such limit",
                    storage->path, device->logical_block_size, smallest,
                    vblk_caches[storage->cache]);
        return false;
    }
    if (device->physical_block_size < device->logical_block_size)
        return device_fail(error, device, "physical_block_size is less than logical_block_size");
    return true;
}

bool blk_device_open(struct blk_device *device, struct vblk_image *image,
                     const struct blk_device_options *options, GError **error)
{
    const struct vu_helpers_options helpers = {.name = "helper", .max_threads = BLK_MAX_HELPERS};

    *device = (struct blk_device){.image = image, .options = *options};
    if (options->aio == VBLK_AIO_NATIVE && !vblk_cache_is_direct(image->storage->cache))
        return device_fail(error, device,
                           "aio=native needs cache=none or cache=directsync, for the kernel would "
                           "wait for the disk in our place; aio=io_uring and aio=threads do not");
    if (!device_set_blocks(device, error))
        return false;
    if (image->size % device->logical_block_size)
        vu_warning("%s: the last %u bytes are no whole block, and not shown to the guest",
                   image->storage->path, (unsigned)(image->size % device->logical_block_size));
    device->features = device_features(device);
    device->pin.limit = options->pin_limit;
    blk_choice_init(&device->choice, options->has_choice_file ? options->choice_fd : -1,
                    image->storage);
    blk_throttle_init(&device->throttle, &options->limits);
    pthread_mutex_init(&device->live_lock, NULL);
    pthread_mutex_init(&device->pause.lock, NULL);
    pthread_cond_init(&device->pause.ended, NULL);
    device->helpers = vu_helpers_create(&helpers);
    device->queues = blk_queues_create(device);
    return true;
}

void blk_device_close(struct blk_device *device)
{
    vu_helpers_destroy(device->helpers);
    blk_queues_destroy(device->queues);
    blk_throttle_finish(&device->throttle);
    blk_choice_finish(&device->choice);
    pthread_cond_destroy(&device->pause.ended);
    pthread_mutex_destroy(&device->pause.lock);
    pthread_mutex_destroy(&device->live_lock);
}

void blk_device_describe(const struct blk_device *device, struct vu_device *ret_device)
{
    *ret_device = (struct vu_device){
        .name = "vblkd",
        .features = device->features,
        .n_queues = device->options.num_queues ? device->options.num_queues : VBLK_MAX_QUEUES,
        .config_len = sizeof(struct blk_config),
        .in_order = device->options.in_order,
        .worker = blk_queue_worker_ops,
        .attach = device_attach,
        .get_config = device_get_config,
        .set_config = device_set_config,
        .set_features = device_set_features,
        .reset = device_reset,
        .meet_driver = device_meet_driver,
        .commands = &blk_control_table,
        .stats = &blk_stats,
        .collect_metrics = blk_metrics_collect,
    };
}
