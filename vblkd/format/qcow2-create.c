/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Creating an image: header, refcount table, refcount blocks and L1 table lie behind each other, in
 * this order, and nothing else is in the file.
 */
#include "vblkd/format/qcow2-create.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>

#include "vblkd/format/qcow2-backing.h"
#include "vblkd/format/qcow2-refcount.h"
#include "vblkd/format/qcow2.h"

#define CREATE_SECTOR 512u
#define CREATE_CHUNK  (UINT64_C(2) << 20) /* zeros written at a time */

const char *const qcow2_preallocations[] = {
    [QCOW2_PREALLOC_OFF] = "off",
    [QCOW2_PREALLOC_METADATA] = "metadata",
    [QCOW2_PREALLOC_FALLOC] = "falloc",
    [QCOW2_PREALLOC_FULL] = "full",
    NULL,
};

#define CREATE_FAIL(...) \
    (g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, __VA_ARGS__), false)

/* --- options --- */

static bool create_is_power(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

static bool create_check_version_2(const struct qcow2_create_options *options, GError **error)
{
    if (options->version == 3)
        return true;
    if (options->version != 2)
        return CREATE_FAIL("qcow2 version %u is not known", options->version);
    if (options->refcount_bits != 16 || options->lazy_refcounts || options->extended_l2 ||
        options->compression_type != QCOW2_COMPRESSION_ZLIB || options->data_file)
        return CREATE_FAIL("refcount_bits other than 16, lazy_refcounts, extended_l2, "
                           "compression_type and data_file need compat=1.1 or later");
    return true;
}

bool qcow2_create_check(const struct qcow2_create_options *options, GError **error)
{
    struct qcow2_header header = {.cluster_bits = (unsigned)__builtin_ctz(options->cluster_size)};

    if (!create_is_power(options->cluster_size) ||
        options->cluster_size < 1u << QCOW2_MIN_CLUSTER_BITS ||
        options->cluster_size > 1u << QCOW2_MAX_CLUSTER_BITS)
        return CREATE_FAIL("cluster size must be a power of two between %d and %dk",
                           1 << QCOW2_MIN_CLUSTER_BITS, 1 << (QCOW2_MAX_CLUSTER_BITS - 10));
    if (!create_is_power(options->refcount_bits) || options->refcount_bits > 64)
        return CREATE_FAIL("refcount width must be a power of two and may not exceed 64 bits");
    if (!create_check_version_2(options, error))
        return false;
    if (options->extended_l2 && options->cluster_size < 1u << QCOW2_EXT_L2_MIN_BITS)
        return CREATE_FAIL("extended L2 entries need a cluster size of at least 16k");
    if (options->data_file_raw && (!options->data_file || options->backing_name))
        return CREATE_FAIL("data_file_raw needs data_file, and no backing file");
    if (options->backing_name && strlen(options->backing_name) > QCOW2_MAX_BACKING_NAME)
        return CREATE_FAIL("the name of the backing file is too long");
    /* What is set aside reads as zeros: nothing of the backing file would show. */
    if (options->backing_name && options->preallocation != QCOW2_PREALLOC_OFF)
        return CREATE_FAIL("backing file and preallocation cannot be used at the same time");
    header.incompatible = options->extended_l2 ? QCOW2_INCOMPAT_EXTENDED_L2 : 0;
    if (options->size > INT64_MAX / 2 ||
        qcow2_header_l1_entries(&header, options->size) * sizeof(be64_t) > QCOW2_MAX_L1_SIZE)
        return CREATE_FAIL("the image is too large for its cluster size");
    return true;
}

/* --- the layout --- */

struct create_layout {
    uint64_t n_reftable, n_blocks, n_l1; /* clusters; the header is one more */
    unsigned refcount_order;
    uint64_t per_block;
};

static uint64_t create_divide(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* Clusters of refcount table and blocks for n others and themselves. */
static void create_count_refcounts(struct create_layout *layout, uint64_t n, uint64_t cluster_size)
{
    uint64_t blocks;

    layout->n_blocks = 0;
    layout->n_reftable = 1;
    for (;;) {
        blocks = create_divide(n + layout->n_blocks + layout->n_reftable, layout->per_block);
        if (blocks == layout->n_blocks)
            break;
        layout->n_blocks = blocks;
        layout->n_reftable = create_divide(blocks * sizeof(be64_t), cluster_size);
    }
}

static struct create_layout create_lay_out(const struct qcow2_create_options *options,
                                           const struct qcow2_header *header)
{
    struct create_layout layout = {.refcount_order = header->refcount_order};

    layout.n_l1 = create_divide((uint64_t)header->l1_size * sizeof(be64_t), options->cluster_size);
    layout.per_block = (uint64_t)options->cluster_size * 8 >> header->refcount_order;
    create_count_refcounts(&layout, 1 + layout.n_l1, options->cluster_size);
    return layout;
}

void qcow2_measure(const struct qcow2_create_options *options, uint64_t data_len,
                   uint64_t *ret_required, uint64_t *ret_fully_allocated)
{
    uint64_t cluster_size = options->cluster_size, entry = options->extended_l2 ? 16 : 8;
    uint64_t n_clusters = create_divide(options->size, cluster_size);
    uint64_t n_l2 = create_divide(n_clusters * entry, cluster_size);
    uint64_t n_l1 = create_divide(n_l2 * sizeof(be64_t), cluster_size), n;
    struct create_layout layout = {
        .per_block = cluster_size * 8 / options->refcount_bits,
    };

    n = 1 + n_l1 + n_l2 + (options->data_file ? 0 : n_clusters);
    create_count_refcounts(&layout, n, cluster_size);
    *ret_fully_allocated = (n + layout.n_blocks + layout.n_reftable) * cluster_size;
    *ret_required = *ret_fully_allocated;
    if (!options->data_file)
        *ret_required -=
            (n_clusters - MIN(n_clusters, create_divide(data_len, cluster_size))) * cluster_size;
}

/* --- writing it --- */

static void create_fill_header(const struct qcow2_create_options *options,
                               struct qcow2_header *header)
{
    struct create_layout layout;

    *header = (struct qcow2_header){
        .version = options->version,
        .cluster_bits = (unsigned)__builtin_ctz(options->cluster_size),
        .refcount_order = (unsigned)__builtin_ctz(options->refcount_bits),
        .size = (options->size + CREATE_SECTOR - 1) & ~(uint64_t)(CREATE_SECTOR - 1),
        .compatible = options->lazy_refcounts ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0,
        .compression_type = options->compression_type,
        .backing_name = g_strdup(options->backing_name),
        .backing_format = g_strdup(options->backing_format),
        .data_file_name = g_strdup(options->data_file),
        .unknown_extensions = g_array_new(FALSE, FALSE, sizeof(struct qcow2_unknown_extension)),
    };
    header->incompatible = (options->extended_l2 ? QCOW2_INCOMPAT_EXTENDED_L2 : 0) |
                           (options->compression_type ? QCOW2_INCOMPAT_COMPRESSION : 0) |
                           (options->data_file ? QCOW2_INCOMPAT_DATA_FILE : 0);
    header->autoclear = options->data_file_raw ? QCOW2_AUTOCLEAR_RAW_DATA : 0;
    header->l1_size = (uint32_t)MAX(1, qcow2_header_l1_entries(header, header->size));
    layout = create_lay_out(options, header);
    header->reftable_offset = options->cluster_size;
    header->reftable_clusters = (uint32_t)layout.n_reftable;
    header->l1_offset = (1 + layout.n_reftable + layout.n_blocks) * options->cluster_size;
}

static int create_write_refcounts(struct vblk_storage *storage,
                                  const struct qcow2_create_options *options,
                                  const struct create_layout *layout)
{
    uint64_t cluster_size = options->cluster_size;
    uint64_t n_used = 1 + layout->n_reftable + layout->n_blocks + layout->n_l1;
    g_autofree be64_t *table = g_malloc0(layout->n_reftable * cluster_size);
    g_autofree uint8_t *block = g_malloc(cluster_size);
    int ret = 0;

    for (uint64_t i = 0; i < layout->n_blocks && ret == 0; i++) {
        uint64_t offset = (1 + layout->n_reftable + i) * cluster_size;

        memset(block, 0, cluster_size);
        for (uint64_t c = i * layout->per_block; c < MIN(n_used, (i + 1) * layout->per_block); c++)
            qcow2_refcount_encode(block, layout->refcount_order, c - i * layout->per_block, 1);
        table[i] = be64_from(offset);
        ret = vblk_storage_write(storage, block, cluster_size, offset);
    }
    if (ret == 0)
        ret = vblk_storage_write(storage, table, layout->n_reftable * cluster_size, cluster_size);
    return ret;
}

static int create_write(struct vblk_storage *storage, const struct qcow2_create_options *options,
                        const struct qcow2_header *header)
{
    struct create_layout layout = create_lay_out(options, header);
    uint64_t l1_len = layout.n_l1 * options->cluster_size;
    int ret = 0;

    /* A device has other things where tables will be; a file has zeros. */
    if (!storage->is_block_device)
        ret = vblk_storage_truncate(storage, header->l1_offset + l1_len);
    if (ret == 0)
        ret = vblk_storage_zero(storage, header->l1_offset, l1_len, false);
    if (ret == 0)
        ret = create_write_refcounts(storage, options, &layout);
    if (ret == 0)
        ret = qcow2_header_write(header, storage);
    return ret == 0 ? vblk_storage_flush(storage) : ret;
}

/* The data file begins empty, as the image does; what another program uses is not emptied. */
static bool create_data_file(const char *path, const struct qcow2_create_options *options,
                             uint64_t size, GError **error)
{
    const struct vblk_storage_options storage_options = {.create = true, .take_locks = true};
    g_autofree char *data_path = NULL;
    struct vblk_storage *storage;
    int ret;

    if (!options->data_file)
        return true;
    data_path = qcow2_backing_path(path, options->data_file, error);
    storage = data_path ? vblk_storage_open(data_path, &storage_options, error) : NULL;
    if (!storage)
        return false;
    ret = vblk_storage_truncate(storage, size);
    vblk_storage_close(storage);
    return ret == 0 || CREATE_FAIL("%s: %s", data_path, g_strerror(-ret));
}

static bool create_preallocate(const char *path, const struct qcow2_create_options *options,
                               GError **error)
{
    struct vblk_image_options open_options = {
        .storage.cache = options->unflushed ? VBLK_CACHE_UNSAFE : VBLK_CACHE_WRITEBACK,
        .format = "qcow2",
        .allow_backing = true,
        .no_backing = options->backing_name != NULL && !options->data_file,
    };
    struct vblk_image *image;
    int ret;

    if (options->preallocation == QCOW2_PREALLOC_OFF)
        return true;
    image = vblk_image_open(path, &open_options, error);
    if (!image)
        return false;
    ret = qcow2_preallocate(image, 0, image->size, options->preallocation);
    if (ret == 0)
        ret = vblk_image_flush(image);
    vblk_image_close(image);
    return ret == 0 || CREATE_FAIL("%s: preallocation: %s", path, g_strerror(-ret));
}

bool qcow2_create(const char *path, const struct qcow2_create_options *options, GError **error)
{
    struct vblk_storage_options storage_options = {
        .cache = options->unflushed ? VBLK_CACHE_UNSAFE : VBLK_CACHE_WRITEBACK,
        .create = true,
        .take_locks = true,
    };
    struct vblk_storage *storage;
    struct qcow2_header header;
    bool ok;

    if (!qcow2_create_check(options, error))
        return false;
    storage = vblk_storage_open(path, &storage_options, error);
    if (!storage)
        return false;
    create_fill_header(options, &header);
    /* While the image is locked, so that it is not its own data file. */
    ok = create_data_file(path, options, header.size, error);
    if (ok) {
        int ret = create_write(storage, options, &header);

        ok = ret == 0 || CREATE_FAIL("%s: %s", path, g_strerror(-ret));
    }
    qcow2_header_clear(&header);
    vblk_storage_close(storage);
    return ok && create_preallocate(path, options, error);
}

/* --- space set aside --- */

static int preallocate_place(struct vblk_storage *storage, uint64_t offset, uint64_t len,
                             enum qcow2_preallocation how)
{
    g_autofree void *zeros = NULL;
    uint64_t size;
    int ret = 0;

    if (how == QCOW2_PREALLOC_FULL) {
        zeros = g_malloc0(MIN(len, CREATE_CHUNK));
        for (uint64_t done = 0, part; done < len && ret == 0; done += part) {
            part = MIN(len - done, CREATE_CHUNK);
            ret = vblk_storage_write(storage, zeros, part, offset + done);
        }
        return ret;
    }
    /* It may have grown since it was measured, and must not become shorter. */
    ret = vblk_storage_refresh_size(storage);
    size = __atomic_load_n(&storage->size, __ATOMIC_RELAXED);
    /* Clusters that were something else before, or have never been written on a device. */
    if (ret == 0 && offset < size)
        ret = vblk_storage_zero(storage, offset, MIN(len, size - offset),
                                how == QCOW2_PREALLOC_METADATA);
    if (ret < 0 || storage->is_block_device)
        return ret;
    if (how == QCOW2_PREALLOC_FALLOC) {
        ret = fallocate(storage->fd, 0, (off_t)offset, (off_t)len) < 0 ? -errno : 0;
        return ret < 0 ? ret : vblk_storage_refresh_size(storage);
    }
    return offset + len > size ? vblk_storage_truncate(storage, offset + len) : 0;
}

int qcow2_preallocate(struct vblk_image *image, uint64_t offset, uint64_t len,
                      enum qcow2_preallocation how)
{
    uint64_t end = offset + len;
    int ret = 0;

    while (ret == 0 && offset < end) {
        uint64_t part = MIN(end - offset, VBLK_REQUEST_MAX);
        struct vblk_extent extent;
        struct vblk_write write;

        ret = image->format->map_write(image, offset, part, 0, &extent);
        if (ret == 0) {
            offset += extent.len;
            continue;
        }
        if (ret != -EAGAIN)
            break;
        ret = image->format->write_begin(image, offset, part, 0, &write);
        if (ret < 0)
            break;
        offset += write.len;
        ret = preallocate_place(write.storage, write.offset, write.len, how);
        ret = image->format->write_end(image, &write, ret);
    }
    return ret;
}
