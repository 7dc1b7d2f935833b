/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first cluster as bytes: header, extensions, feature names, backing file name. What another
 * program put there and we do not know is kept.
 */
#include <errno.h>
#include <string.h>

#include "vblkd/format/qcow2-header.h"

#define HEADER_SECTOR 512

static const struct {
    uint8_t type, bit;
    const char *name;
} header_features[] = {
    {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},          {2, 1, "raw external data"},
};

static void header_append_extension(GByteArray *bytes, uint32_t type, const void *data, size_t len)
{
    static const uint8_t zeros[8];
    struct qcow2_disk_extension extension = {be32_from(type), be32_from((uint32_t)len)};

    g_byte_array_append(bytes, (const guint8 *)&extension, sizeof(extension));
    if (len > 0)
        g_byte_array_append(bytes, data, (guint)len);
    g_byte_array_append(bytes, zeros, (guint)(-len & 7));
}

static void header_append_string(GByteArray *bytes, uint32_t type, const char *text)
{
    if (text)
        header_append_extension(bytes, type, text, strlen(text));
}

static void header_append_feature_names(GByteArray *bytes)
{
    struct qcow2_disk_feature_name names[G_N_ELEMENTS(header_features)] = {0};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        names[i].type = header_features[i].type;
        names[i].bit = header_features[i].bit;
        memcpy(names[i].name, header_features[i].name, strlen(header_features[i].name));
    }
    header_append_extension(bytes, QCOW2_EXT_FEATURE_NAMES, names, sizeof(names));
}

static void header_append_extensions(GByteArray *bytes, const struct qcow2_header *header)
{
    header_append_string(bytes, QCOW2_EXT_BACKING_FORMAT, header->backing_format);
    header_append_string(bytes, QCOW2_EXT_DATA_FILE, header->data_file_name);
    /* As many names as a small cluster has room for is none of them. */
    if (header->version >= 3 && header->cluster_bits > 10)
        header_append_feature_names(bytes);
    if (header->has_bitmaps) {
        struct qcow2_disk_bitmaps disk = {
            .nb_bitmaps = be32_from(header->n_bitmaps),
            .directory_size = be64_from(header->bitmaps_size),
            .directory_offset = be64_from(header->bitmaps_offset),
        };

        header_append_extension(bytes, QCOW2_EXT_BITMAPS, &disk, sizeof(disk));
    }
    for (guint i = 0; i < header->unknown_extensions->len; i++) {
        const struct qcow2_unknown_extension *unknown =
            &g_array_index(header->unknown_extensions, struct qcow2_unknown_extension, i);

        header_append_extension(bytes, unknown->type, unknown->data, unknown->len);
    }
    header_append_extension(bytes, QCOW2_EXT_END, NULL, 0);
}

static struct qcow2_disk_header header_encode_fixed(const struct qcow2_header *header)
{
    return (struct qcow2_disk_header){
        .magic = be32_from(QCOW2_MAGIC),
        .version = be32_from(header->version),
        .cluster_bits = be32_from(header->cluster_bits),
        .size = be64_from(header->size),
        .l1_size = be32_from(header->l1_size),
        .l1_table_offset = be64_from(header->l1_offset),
        .refcount_table_offset = be64_from(header->reftable_offset),
        .refcount_table_clusters = be32_from(header->reftable_clusters),
        .nb_snapshots = be32_from(header->n_snapshots),
        .snapshots_offset = be64_from(header->snapshots_offset),
        .incompatible_features = be64_from(header->incompatible),
        .compatible_features = be64_from(header->compatible),
        .autoclear_features = be64_from(header->autoclear),
        .refcount_order = be32_from(header->refcount_order),
        .header_length = be32_from(QCOW2_HEADER_LEN + header->extra_len),
        .compression_type = header->compression_type,
    };
}

int qcow2_header_encode(const struct qcow2_header *header, uint8_t **ret_buf, size_t *ret_len)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    struct qcow2_disk_header disk = header_encode_fixed(header);
    size_t cluster_size = qcow2_header_cluster_size(header), name_len, len;

    g_byte_array_append(bytes, (const guint8 *)&disk,
                        header->version >= 3 ? sizeof(disk) : QCOW2_HEADER_LEN_V2);
    if (header->version >= 3 && header->extra_len > 0)
        g_byte_array_append(bytes, header->extra, header->extra_len);
    header_append_extensions(bytes, header);
    if (header->backing_name) {
        name_len = strlen(header->backing_name);
        disk.backing_file_offset = be64_from(bytes->len);
        disk.backing_file_size = be32_from((uint32_t)name_len);
        memcpy(bytes->data, &disk,
               header->version >= 3 ? sizeof(disk) : (size_t)QCOW2_HEADER_LEN_V2);
        g_byte_array_append(bytes, (const guint8 *)header->backing_name, (guint)name_len);
    }
    if (bytes->len > cluster_size)
        return -ENOSPC;
    len = bytes->len;
    *ret_len = (len + HEADER_SECTOR - 1) & ~(size_t)(HEADER_SECTOR - 1);
    g_byte_array_set_size(bytes, (guint)*ret_len);
    memset(bytes->data + len, 0, *ret_len - len);
    *ret_buf = g_byte_array_free(g_steal_pointer(&bytes), FALSE);
    return 0;
}

int qcow2_header_write(const struct qcow2_header *header, struct vblk_storage *storage)
{
    g_autofree uint8_t *buf = NULL;
    size_t len;
    int ret = qcow2_header_encode(header, &buf, &len);

    return ret < 0 ? ret : vblk_storage_write(storage, buf, len, 0);
}
