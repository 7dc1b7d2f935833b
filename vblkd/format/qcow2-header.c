/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing a header that anybody may have written: every field is checked before it is used, sizes
 * before anything is allocated. [Header], [Header extensions] of the specification.
 */
#include "vblkd/format/qcow2-header.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>

#define HEADER_FAIL(...)   g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, __VA_ARGS__)
#define HEADER_MAX_UNKNOWN 64 /* extensions */

uint64_t qcow2_header_l1_entries(const struct qcow2_header *header, uint64_t size)
{
    unsigned entry_bits = qcow2_header_has_extended_l2(header) ? 4 : 3;
    unsigned shift = header->cluster_bits + header->cluster_bits - entry_bits;

    return (size >> shift) + ((size & ((UINT64_C(1) << shift) - 1)) != 0);
}

/* --- the fixed part --- */

static void header_decode(const struct qcow2_disk_header *disk, struct qcow2_header *header)
{
    header->version = be32_value(disk->version);
    header->cluster_bits = be32_value(disk->cluster_bits);
    header->size = be64_value(disk->size);
    header->l1_size = be32_value(disk->l1_size);
    header->l1_offset = be64_value(disk->l1_table_offset);
    header->reftable_offset = be64_value(disk->refcount_table_offset);
    header->reftable_clusters = be32_value(disk->refcount_table_clusters);
    header->n_snapshots = be32_value(disk->nb_snapshots);
    header->snapshots_offset = be64_value(disk->snapshots_offset);
    header->refcount_order = 4;
    if (header->version >= 3) {
        header->incompatible = be64_value(disk->incompatible_features);
        header->compatible = be64_value(disk->compatible_features);
        header->autoclear = be64_value(disk->autoclear_features);
        header->refcount_order = be32_value(disk->refcount_order);
        if (be32_value(disk->header_length) > offsetof(struct qcow2_disk_header, compression_type))
            header->compression_type = disk->compression_type;
    }
}

/* What an image says of a feature bit in its table of names; "feature bit N" where it does not. */
static char *header_feature_name(const uint8_t *names, size_t names_len, unsigned bit)
{
    for (size_t at = 0; at + sizeof(struct qcow2_disk_feature_name) <= names_len;
         at += sizeof(struct qcow2_disk_feature_name)) {
        struct qcow2_disk_feature_name name;

        memcpy(&name, names + at, sizeof(name));
        if (name.type == 0 && name.bit == bit) {
            g_autofree char *text = g_strndup(name.name, sizeof(name.name));

            return g_utf8_make_valid(text, -1);
        }
    }
    return g_strdup_printf("feature bit %u", bit);
}

static bool header_check_features(const struct qcow2_header *header, const uint8_t *names,
                                  size_t names_len, GError **error)
{
    uint64_t unknown = header->incompatible & ~QCOW2_INCOMPAT_KNOWN;

    if (unknown) {
        g_autofree char *name =
            header_feature_name(names, names_len, (unsigned)__builtin_ctzll(unknown));

        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "the image needs a feature that is not known here: %s", name);
        return false;
    }
    if (qcow2_header_has_extended_l2(header) && header->cluster_bits < QCOW2_EXT_L2_MIN_BITS) {
        HEADER_FAIL("extended L2 entries with clusters of less than 16 KiB");
        return false;
    }
    if (((header->incompatible & QCOW2_INCOMPAT_COMPRESSION) != 0) !=
        (header->compression_type != QCOW2_COMPRESSION_ZLIB)) {
        HEADER_FAIL("compression type %u does not agree with its feature bit",
                    header->compression_type);
        return false;
    }
    if (header->compression_type > QCOW2_COMPRESSION_ZSTD) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "unknown compression type %u",
                    header->compression_type);
        return false;
    }
    if ((header->autoclear & QCOW2_AUTOCLEAR_RAW_DATA) &&
        !(header->incompatible & QCOW2_INCOMPAT_DATA_FILE)) {
        HEADER_FAIL("a raw external data file without an external data file");
        return false;
    }
    return true;
}

/* Of a table that begins at a cluster and ends where a file may. */
static bool header_table_is_sane(const struct qcow2_header *header, uint64_t offset, uint64_t len)
{
    return (offset & (qcow2_header_cluster_size(header) - 1)) == 0 &&
           offset <= QCOW2_MAX_OFFSET - len;
}

static bool header_check_l1(const struct qcow2_header *header, GError **error)
{
    uint64_t l1_len = (uint64_t)header->l1_size * sizeof(be64_t);

    if (header->size > INT64_MAX - QCOW2_MAX_OFFSET / 2 ||
        qcow2_header_l1_entries(header, header->size) * sizeof(be64_t) > QCOW2_MAX_L1_SIZE) {
        HEADER_FAIL("a disk of %" G_GUINT64_FORMAT " bytes is too large for its clusters",
                    header->size);
        return false;
    }
    if (l1_len > QCOW2_MAX_L1_SIZE) {
        HEADER_FAIL("the active L1 table is too large");
        return false;
    }
    if (header->l1_size < qcow2_header_l1_entries(header, header->size)) {
        HEADER_FAIL("the L1 table is too small");
        return false;
    }
    if (!header_table_is_sane(header, header->l1_offset, l1_len) ||
        (l1_len > 0 && header->l1_offset == 0)) {
        HEADER_FAIL("bad offset of the L1 table");
        return false;
    }
    return true;
}

static bool header_check_reftable(const struct qcow2_header *header, GError **error)
{
    uint64_t reftable_len = (uint64_t)header->reftable_clusters << header->cluster_bits;

    if (header->reftable_clusters == 0) {
        HEADER_FAIL("the image has no refcount table");
        return false;
    }
    if (reftable_len > MAX(QCOW2_MAX_REFTABLE_SIZE, qcow2_header_cluster_size(header))) {
        HEADER_FAIL("the refcount table is too large");
        return false;
    }
    if (!header_table_is_sane(header, header->reftable_offset, reftable_len) ||
        header->reftable_offset == 0) {
        HEADER_FAIL("bad offset of the refcount table");
        return false;
    }
    return true;
}

static bool header_check_snapshots(const struct qcow2_header *header, GError **error)
{
    if (header->n_snapshots > QCOW2_MAX_SNAPSHOTS) {
        HEADER_FAIL("too many snapshots");
        return false;
    }
    if (header->n_snapshots > 0 && (!header_table_is_sane(header, header->snapshots_offset, 0) ||
                                    header->snapshots_offset == 0)) {
        HEADER_FAIL("bad offset of the snapshot table");
        return false;
    }
    return true;
}

static bool header_check_tables(struct qcow2_header *header, GError **error)
{
    bool repair = header->is_for_repair;

    if (repair && !header_check_reftable(header, NULL)) {
        header->reftable_offset = header->reftable_clusters = 0;
        header->n_mended++;
    }
    if (repair && !header_check_snapshots(header, NULL)) {
        /* Too many may be fewer that are there. */
        header->n_lost += header->n_snapshots <= QCOW2_MAX_SNAPSHOTS;
        header->n_snapshots = header->n_snapshots > QCOW2_MAX_SNAPSHOTS ? QCOW2_MAX_SNAPSHOTS : 0;
        header->n_mended++;
    }
    return (repair || header_check_reftable(header, error)) &&
           header_check_snapshots(header, error);
}

static bool header_check_fixed(const struct qcow2_disk_header *disk, GError **error)
{
    uint32_t version = be32_value(disk->version), bits = be32_value(disk->cluster_bits);

    if (be32_value(disk->magic) != QCOW2_MAGIC) {
        HEADER_FAIL("not a qcow2 image");
        return false;
    }
    if (version != 2 && version != 3) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "qcow2 version %u is not known",
                    version);
        return false;
    }
    if (bits < QCOW2_MIN_CLUSTER_BITS || bits > QCOW2_MAX_CLUSTER_BITS) {
        HEADER_FAIL("clusters of 2^%u bytes are not supported", bits);
        return false;
    }
    if (be32_value(disk->crypt_method) != 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "encrypted images are not supported");
        return false;
    }
    if (version >= 3) {
        uint32_t len = be32_value(disk->header_length);

        if (len < QCOW2_HEADER_LEN_V3_MIN || len % 8 != 0 || len > (UINT32_C(1) << bits)) {
            HEADER_FAIL("a header of %u bytes", len);
            return false;
        }
        if (be32_value(disk->refcount_order) > QCOW2_MAX_REFCOUNT_ORDER) {
            HEADER_FAIL("refcounts of 2^%u bits", be32_value(disk->refcount_order));
            return false;
        }
    }
    return true;
}

/* --- extensions --- */

static bool header_take_string(const char *what, const uint8_t *data, uint32_t len, char **ret_text,
                               GError **error)
{
    if (*ret_text || len > QCOW2_MAX_BACKING_NAME || memchr(data, '\0', len)) {
        HEADER_FAIL("bad %s", what);
        return false;
    }
    *ret_text = g_strndup((const char *)data, len);
    return true;
}

static bool header_check_bitmaps(const struct qcow2_header *header, uint32_t reserved)
{
    return reserved == 0 && header->n_bitmaps > 0 && header->n_bitmaps <= QCOW2_MAX_BITMAPS &&
           header->bitmaps_size <= QCOW2_MAX_BITMAPS_SIZE && header->bitmaps_offset != 0 &&
           header_table_is_sane(header, header->bitmaps_offset, header->bitmaps_size);
}

static bool header_take_bitmaps(struct qcow2_header *header, const uint8_t *data, uint32_t len,
                                GError **error)
{
    struct qcow2_disk_bitmaps disk;

    if (len != sizeof(disk) || header->has_bitmaps) {
        HEADER_FAIL("bad bitmaps extension");
        return false;
    }
    memcpy(&disk, data, sizeof(disk));
    header->n_bitmaps = be32_value(disk.nb_bitmaps);
    header->bitmaps_size = be64_value(disk.directory_size);
    header->bitmaps_offset = be64_value(disk.directory_offset);
    header->has_bitmaps = true;
    /* Inconsistent ones are not looked at, only kept out of. */
    if (!(header->autoclear & QCOW2_AUTOCLEAR_BITMAPS) ||
        header_check_bitmaps(header, be32_value(disk.reserved)))
        return true;
    if (!header->is_for_repair) {
        HEADER_FAIL("bad bitmaps extension");
        return false;
    }
    header->has_bitmaps = false;
    header->n_mended++;
    header->n_lost++;
    return true;
}

static bool header_take_extension(struct qcow2_header *header, uint32_t type, const uint8_t *data,
                                  uint32_t len, GError **error)
{
    struct qcow2_unknown_extension unknown = {type, len, NULL};

    switch (type) {
    case QCOW2_EXT_BACKING_FORMAT:
        return header_take_string("name of the backing file's format", data, len,
                                  &header->backing_format, error);
    case QCOW2_EXT_DATA_FILE:
        return header_take_string("name of the data file", data, len, &header->data_file_name,
                                  error);
    case QCOW2_EXT_BITMAPS:
        return header_take_bitmaps(header, data, len, error);
    case QCOW2_EXT_FEATURE_NAMES: /* written anew */
        return true;
    case QCOW2_EXT_CRYPTO:
        HEADER_FAIL("an encryption header in an image that is not encrypted");
        return false;
    default:
        if (header->unknown_extensions->len >= HEADER_MAX_UNKNOWN) {
            HEADER_FAIL("too many header extensions");
            return false;
        }
        unknown.data = g_memdup2(data, len);
        g_array_append_val(header->unknown_extensions, unknown);
        return true;
    }
}

/*
 * Walks the extensions in cluster[at, end). With `take`, they are checked and kept; without, only
 * the table of feature names is looked for.
 */
static bool header_walk_extensions(struct qcow2_header *header, const uint8_t *cluster, size_t at,
                                   size_t end, bool take, const uint8_t **ret_names,
                                   size_t *ret_names_len, GError **error)
{
    struct qcow2_disk_extension extension;

    while (end >= at + sizeof(extension)) {
        uint32_t type, len;

        memcpy(&extension, cluster + at, sizeof(extension));
        type = be32_value(extension.type);
        len = be32_value(extension.length);
        at += sizeof(extension);
        if (type == QCOW2_EXT_END)
            return true;
        if (len > end - at) {
            HEADER_FAIL("a header extension reaches beyond its cluster");
            return !take;
        }
        if (type == QCOW2_EXT_FEATURE_NAMES && ret_names) {
            *ret_names = cluster + at;
            *ret_names_len = len;
        }
        if (take && !header_take_extension(header, type, cluster + at, len, error))
            return false;
        at = MIN(end, at + (((size_t)len + 7) & ~(size_t)7));
    }
    return true;
}

static bool header_take_backing_name(struct qcow2_header *header,
                                     const struct qcow2_disk_header *disk, const uint8_t *cluster,
                                     GError **error)
{
    uint64_t offset = be64_value(disk->backing_file_offset);
    uint32_t len = be32_value(disk->backing_file_size);

    if (offset == 0)
        return true;
    if (len > QCOW2_MAX_BACKING_NAME || offset > qcow2_header_cluster_size(header) ||
        len > qcow2_header_cluster_size(header) - offset) {
        HEADER_FAIL("bad name of the backing file");
        return false;
    }
    if (len == 0)
        return true;
    return header_take_string("name of the backing file", cluster + offset, len,
                              &header->backing_name, error);
}

/* All of the first cluster, the fixed part of which has been checked. */
static bool header_parse(struct qcow2_header *header, const struct qcow2_disk_header *disk,
                         const uint8_t *cluster, GError **error)
{
    size_t len = header->version >= 3 ? be32_value(disk->header_length) : QCOW2_HEADER_LEN_V2;
    uint64_t backing = be64_value(disk->backing_file_offset);
    size_t end = qcow2_header_cluster_size(header), names_len = 0;
    const uint8_t *names = NULL;

    if (backing != 0 && backing <= end && backing >= len)
        end = backing;
    header_walk_extensions(header, cluster, len, end, false, &names, &names_len, NULL);
    if (!header_check_features(header, names, names_len, error) ||
        !header_check_l1(header, error) || !header_check_tables(header, error) ||
        !header_walk_extensions(header, cluster, len, end, true, NULL, NULL, error) ||
        !header_take_backing_name(header, disk, cluster, error))
        return false;
    if (!header->has_bitmaps)
        header->autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
    if (len > QCOW2_HEADER_LEN) {
        header->extra_len = (uint32_t)(len - QCOW2_HEADER_LEN);
        header->extra = g_memdup2(cluster + QCOW2_HEADER_LEN, header->extra_len);
    }
    return true;
}

bool qcow2_header_read(struct vblk_storage *storage, bool repair, struct qcow2_header *ret_header,
                       GError **error)
{
    struct qcow2_disk_header disk;
    g_autofree uint8_t *cluster = NULL;
    int err;

    memset(ret_header, 0, sizeof(*ret_header));
    ret_header->is_for_repair = repair;
    ret_header->unknown_extensions =
        g_array_new(FALSE, FALSE, sizeof(struct qcow2_unknown_extension));
    err = vblk_storage_read(storage, &disk, sizeof(disk), 0);
    if (err < 0) {
        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-err),
                    "cannot read the header: %s", g_strerror(-err));
        return false;
    }
    if (!header_check_fixed(&disk, error))
        return false;
    cluster = g_malloc((size_t)1 << be32_value(disk.cluster_bits));
    err = vblk_storage_read(storage, cluster, UINT64_C(1) << be32_value(disk.cluster_bits), 0);
    /* What was checked is what is used, even if somebody writes there meanwhile. */
    if (err < 0 || memcmp(cluster, &disk, QCOW2_HEADER_LEN_V2) != 0) {
        HEADER_FAIL("cannot read the header: %s", g_strerror(err < 0 ? -err : EIO));
        return false;
    }
    header_decode(&disk, ret_header);
    return header_parse(ret_header, &disk, cluster, error);
}

void qcow2_header_clear(struct qcow2_header *header)
{
    if (header->unknown_extensions) {
        for (guint i = 0; i < header->unknown_extensions->len; i++)
            g_free(
                g_array_index(header->unknown_extensions, struct qcow2_unknown_extension, i).data);
        g_array_free(header->unknown_extensions, TRUE);
    }
    g_free(header->extra);
    g_free(header->backing_name);
    g_free(header->backing_format);
    g_free(header->data_file_name);
    memset(header, 0, sizeof(*header));
}
