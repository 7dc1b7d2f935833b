/* SPDX-License-Identifier: Apache-2.0 */
/* Headers: each field that can be wrong, and that what is read is written again, known or not. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "vblkd/format/qcow2-header.h"

#define TEST_CLUSTER 4096u

static char *test_path;

/* --- a header as a file --- */

struct test_file {
    struct qcow2_disk_header header;
    uint8_t rest[TEST_CLUSTER - sizeof(struct qcow2_disk_header)];
};

static struct test_file test_good(void)
{
    return (struct test_file){
        .header =
            {
                .magic = be32_from(QCOW2_MAGIC),
                .version = be32_from(3),
                .cluster_bits = be32_from(12),
                .size = be64_from(UINT64_C(8) << 20),
                .l1_size = be32_from(4),
                .l1_table_offset = be64_from(3 * TEST_CLUSTER),
                .refcount_table_offset = be64_from(TEST_CLUSTER),
                .refcount_table_clusters = be32_from(1),
                .refcount_order = be32_from(4),
                .header_length = be32_from(QCOW2_HEADER_LEN),
            },
    };
}

static bool test_read(const struct test_file *file, struct qcow2_header *ret_header)
{
    struct vblk_storage_options options = {.read_only = true};
    struct vblk_storage *storage;
    bool read;

    g_assert_true(g_file_set_contents(test_path, (const char *)file, sizeof(*file), NULL));
    storage = vblk_storage_open(test_path, &options, NULL);
    g_assert_nonnull(storage);
    read = qcow2_header_read(storage, false, ret_header, NULL);
    vblk_storage_close(storage);
    return read;
}

/* Appends an extension at *at, an offset in the file. */
static void test_extend(struct test_file *file, size_t *at, uint32_t type, const void *data,
                        uint32_t len)
{
    struct qcow2_disk_extension extension = {be32_from(type), be32_from(len)};
    uint8_t *bytes = (uint8_t *)file;

    memcpy(bytes + *at, &extension, sizeof(extension));
    memcpy(bytes + *at + sizeof(extension), data, len);
    *at += sizeof(extension) + ((len + 7u) & ~7u);
}

/* --- fields --- */

struct test_field {
    const char *name;
    size_t offset;
    unsigned len;
    uint64_t value;
    bool is_good;
};

#define FIELD(field, value, is_good)                                          \
    {                                                                         \
#field "=" #value, offsetof(struct qcow2_disk_header, field),         \
            sizeof(((struct qcow2_disk_header *)NULL)->field), value, is_good \
    }

static const struct test_field test_fields[] = {
    FIELD(magic, 0x514649fa, false),
    FIELD(version, 1, false),
    FIELD(version, 2, true),
    FIELD(version, 4, false),
    FIELD(cluster_bits, 8, false),
    FIELD(cluster_bits, 22, false),
    FIELD(cluster_bits, UINT32_MAX, false),
    FIELD(crypt_method, 1, false),
    FIELD(size, UINT64_MAX, false),
    FIELD(size, UINT64_C(1) << 62, false),
    FIELD(size, (UINT64_C(8) << 20) + 1, false), /* the L1 table is too short */
    FIELD(size, 0, true),
    FIELD(l1_size, 3, false),
    FIELD(l1_size, 5, true),
    FIELD(l1_size, (32 << 20) / 8 + 1, false),
    FIELD(l1_table_offset, 0, false),
    FIELD(l1_table_offset, 3 * TEST_CLUSTER + 512, false),
    FIELD(l1_table_offset, UINT64_MAX - 4095, false),
    FIELD(refcount_table_offset, 0, false),
    FIELD(refcount_table_offset, 512, false),
    FIELD(refcount_table_clusters, 0, false),
    FIELD(refcount_table_clusters, UINT32_MAX, false),
    FIELD(nb_snapshots, 65537, false),
    FIELD(nb_snapshots, 1, false), /* and no table */
    FIELD(incompatible_features, 1, true),
    FIELD(incompatible_features, 2, true),
    FIELD(incompatible_features, 8, false),  /* zlib, all the same */
    FIELD(incompatible_features, 16, false), /* clusters are too small for it */
    FIELD(incompatible_features, 32, false),
    FIELD(incompatible_features, UINT64_C(1) << 63, false),
    FIELD(compatible_features, UINT64_MAX, true),
    FIELD(autoclear_features, UINT64_C(1) << 40, true),
    FIELD(autoclear_features, 2, false), /* raw data without a data file */
    FIELD(refcount_order, 6, true),
    FIELD(refcount_order, 7, false),
    FIELD(header_length, 103, false),
    FIELD(header_length, 104, true),
    FIELD(header_length, 105, false),
    FIELD(header_length, 4096, true),
    FIELD(header_length, 4104, false),
    FIELD(compression_type, 1, false),      /* and no feature bit */
    FIELD(backing_file_offset, 4096, true), /* of no length: there is none */
    FIELD(backing_file_offset, 4097, false),
};

static void test_field(gconstpointer data)
{
    const struct test_field *field = data;
    struct test_file file = test_good();
    struct qcow2_header header;

    for (unsigned i = 0; i < field->len; i++)
        ((uint8_t *)&file)[field->offset + i] = (uint8_t)(field->value >> 8 * (field->len - 1 - i));
    g_assert_cmpint(test_read(&file, &header), ==, field->is_good);
    qcow2_header_clear(&header);
}

/* --- extensions --- */

/* A long header, extensions that we know and some that we do not, a backing file: read, encoded,
 * and read again, everything is there. */
static void test_round_trip(void)
{
    struct test_file file = test_good();
    struct qcow2_disk_bitmaps bitmaps = {be32_from(2), be32_from(0), be64_from(96),
                                         be64_from(9 * TEST_CLUSTER)};
    struct qcow2_header header, again;
    const struct qcow2_unknown_extension *unknown;
    size_t at = 128, len;
    uint8_t *bytes;

    file.header.header_length = be32_from(128);
    file.header.autoclear_features = be64_from(QCOW2_AUTOCLEAR_BITMAPS | UINT64_C(1) << 50);
    memset((uint8_t *)&file + QCOW2_HEADER_LEN, 0x77, 16);
    test_extend(&file, &at, 0x11223344, "five!", 5);
    test_extend(&file, &at, QCOW2_EXT_BACKING_FORMAT, "qcow2", 5);
    test_extend(&file, &at, QCOW2_EXT_BITMAPS, &bitmaps, sizeof(bitmaps));
    test_extend(&file, &at, 0x55667788, "", 0);
    test_extend(&file, &at, QCOW2_EXT_END, "", 0);
    memcpy((uint8_t *)&file + at, "base.qcow2", 10);
    file.header.backing_file_offset = be64_from(at);
    file.header.backing_file_size = be32_from(10);
    g_assert_true(test_read(&file, &header));
    g_assert_cmpint(qcow2_header_encode(&header, &bytes, &len), ==, 0);
    g_assert_cmpuint(len % 512, ==, 0);
    g_assert_cmpuint(len, <=, TEST_CLUSTER);
    memset(&file, 0, sizeof(file));
    memcpy(&file, bytes, len);
    g_free(bytes);
    g_assert_true(test_read(&file, &again));
    g_assert_cmpstr(again.backing_name, ==, "base.qcow2");
    g_assert_cmpstr(again.backing_format, ==, "qcow2");
    g_assert_cmpuint(again.n_bitmaps, ==, 2);
    g_assert_cmpuint(again.bitmaps_offset, ==, 9 * TEST_CLUSTER);
    g_assert_cmphex(again.autoclear, ==, header.autoclear);
    g_assert_cmpuint(again.extra_len, ==, 16);
    g_assert_cmphex(again.extra[15], ==, 0x77);
    g_assert_cmpuint(again.unknown_extensions->len, ==, 2);
    unknown = &g_array_index(again.unknown_extensions, struct qcow2_unknown_extension, 0);
    g_assert_cmphex(unknown->type, ==, 0x11223344);
    g_assert_cmpuint(unknown->len, ==, 5);
    g_assert_true(memcmp(unknown->data, "five!", 5) == 0);
    qcow2_header_clear(&header);
    qcow2_header_clear(&again);
}

struct test_extension {
    const char *name;
    uint32_t type, len; /* as the extension says */
    const char *data;   /* of data_len bytes */
    uint32_t data_len;
    unsigned n; /* times */
    bool is_good;
};

static const struct test_extension test_extensions[] = {
    {"none", QCOW2_EXT_END, 0, "", 0, 1, true},
    {"beyond-cluster", 0x1234, TEST_CLUSTER, "", 0, 1, false},
    {"endless", 0x1234, UINT32_MAX, "", 0, 1, false},
    {"format-twice", QCOW2_EXT_BACKING_FORMAT, 3, "raw", 3, 2, false},
    {"format-with-nul", QCOW2_EXT_BACKING_FORMAT, 3, "r\0w", 3, 1, false},
    {"bitmaps-short", QCOW2_EXT_BITMAPS, 8, "12345678", 8, 1, false},
    {"crypto", QCOW2_EXT_CRYPTO, 8, "12345678", 8, 1, false},
    {"unknown-64", 0x1234, 0, "", 0, 64, true},
    {"unknown-65", 0x1234, 0, "", 0, 65, false},
    {"data-file-name-alone", QCOW2_EXT_DATA_FILE, 1, "x", 1, 1, true},
};

static void test_extension(gconstpointer data)
{
    const struct test_extension *extension = data;
    struct test_file file = test_good();
    struct qcow2_header header;
    size_t at = QCOW2_HEADER_LEN;

    for (unsigned i = 0; i < extension->n; i++) {
        size_t begin = at;
        be32_t len = be32_from(extension->len);

        test_extend(&file, &at, extension->type, extension->data, extension->data_len);
        memcpy((uint8_t *)&file + begin + 4, &len, sizeof(len));
    }
    g_assert_cmpint(test_read(&file, &header), ==, extension->is_good);
    qcow2_header_clear(&header);
}

/* Extensions fill their cluster to the last byte, without an end of their own. */
static void test_full(void)
{
    struct test_file file = test_good();
    struct qcow2_header header;
    size_t at = QCOW2_HEADER_LEN, len;
    uint8_t zeros[TEST_CLUSTER] = {0}, *bytes;

    test_extend(&file, &at, 0x1234, zeros, TEST_CLUSTER - QCOW2_HEADER_LEN - 8);
    g_assert_cmpuint(at, ==, TEST_CLUSTER);
    g_assert_true(test_read(&file, &header));
    /* With the names of features and an end it no longer fits, and that is told. */
    g_assert_cmpint(qcow2_header_encode(&header, &bytes, &len), ==, -ENOSPC);
    qcow2_header_clear(&header);
}

int main(int argc, char **argv)
{
    int fd, ret;

    g_test_init(&argc, &argv, NULL);
    fd = g_file_open_tmp("outboard-header-XXXXXX", &test_path, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    for (size_t i = 0; i < G_N_ELEMENTS(test_fields); i++) {
        g_autofree char *path =
            g_strdup_printf("/qcow2/header/field/%zu-%s", i, test_fields[i].name);

        g_test_add_data_func(path, &test_fields[i], test_field);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(test_extensions); i++) {
        g_autofree char *path =
            g_strdup_printf("/qcow2/header/extension/%s", test_extensions[i].name);

        g_test_add_data_func(path, &test_extensions[i], test_extension);
    }
    g_test_add_func("/qcow2/header/round-trip", test_round_trip);
    g_test_add_func("/qcow2/header/full", test_full);
    ret = g_test_run();
    unlink(test_path);
    g_free(test_path);
    return ret;
}
