/* SPDX-License-Identifier: Apache-2.0 */
/* The options of new images as rows, and new images of either format. */
#include "vblkd/img/new-image.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "vblkd/img/command.h"
#include "vblkd/img/image-name.h"
#include "vblkd/img/size.h"
#include "vhost-user/daemon/options-words.h"

#define NEW_GROUP         "Options of new images, -o KEY=VALUE,..."
#define NEW_OFFSET(field) offsetof(struct img_new_image, field)
#define NEW_ZERO_CHUNK    (UINT64_C(4) << 20)
#define NEW_NO_FORMAT     "no format is called \"%s\" here; there are raw and qcow2"

static const char *const new_switches[] = {"off", "on", NULL};
static const char *const new_compressions[] = {"zlib", "zstd", NULL};
static const char *const new_compats[] = {"0.10", "v2", "1.1", "v3", NULL};

enum { NEW_COMPAT_FIRST_V3 = 2 };

static bool new_parse_size(void *target, const char *name, const char *value, GError **error)
{
    struct img_new_image *new = target;

    return img_size_parse(value, strcmp(name, "size") == 0 ? &new->size : &new->cluster_size,
                          error);
}

static bool new_parse_compat(void *target, const char *name, const char *value, GError **error)
{
    struct img_new_image *new = target;

    for (int i = 0; new_compats[i]; i++)
        if (strcmp(new_compats[i], value) == 0) {
            new->compat = i;
            new->has_compat = true;
            return true;
        }
    g_set_error(error, VU_OPTION_ERROR, 0, "expected 0.10 or 1.1, got \"%s\"", value);
    return false;
}

bool img_new_image_parse_switch(const char *value, bool *ret_is_on, GError **error)
{
    static const char *const on[] = {"on", "yes", "true", "y", NULL};
    static const char *const off[] = {"off", "no", "false", "n", NULL};

    *ret_is_on = !value || g_strv_contains(on, value);
    if (*ret_is_on || g_strv_contains(off, value))
        return true;
    g_set_error(error, VU_OPTION_ERROR, 0, "expected on or off, got \"%s\"", value);
    return false;
}

static bool new_parse_switch(void *target, const char *name, const char *value, GError **error)
{
    struct img_new_image *new = target;
    bool is_on;
    const struct {
        const char *name;
        int *field;
    } fields[] = {
        {"lazy_refcounts", &new->lazy_refcounts},
        {"extended_l2", &new->extended_l2},
        {"data_file_raw", &new->data_file_raw},
    };

    if (!img_new_image_parse_switch(value, &is_on, error))
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++)
        if (strcmp(fields[i].name, name) == 0)
            *fields[i].field = is_on;
    return true;
}

static bool new_parse_encryption(void *target, const char *name, const char *value, GError **error)
{
    if (g_strcmp0(value, "off") == 0)
        return true;
    g_set_error(error, VU_OPTION_ERROR, 0, "encrypted images are not supported");
    return false;
}

#define NEW_SWITCH(key, text)                                                              \
    {                                                                                      \
        .name = key, .in_o_list = true, .type = VU_OPTION_CALL, .parse = new_parse_switch, \
        .value_optional = true, .metavar = "on|off", .group = NEW_GROUP, .help = text      \
    }
#define NEW_ENCRYPTION(key)                                                                    \
    {                                                                                          \
        .name = key, .in_o_list = true, .type = VU_OPTION_CALL, .parse = new_parse_encryption, \
    }
/* How a host keeps a file has no effect. */
#define NEW_IGNORED(key)                                          \
    {                                                             \
        .name = key, .in_o_list = true, .type = VU_OPTION_IGNORED \
    }

/* clang-format off */
const struct vu_option img_new_image_rows[] = {
    {.name = "size", .in_o_list = true, .type = VU_OPTION_CALL, .parse = new_parse_size,
     .metavar = "SIZE", .group = NEW_GROUP, .help = "The size of the disk."},
    {.name = "compat", .in_o_list = true, .type = VU_OPTION_CALL, .parse = new_parse_compat,
     .metavar = "0.10|1.1", .group = NEW_GROUP,
     .help = "What can read the image: QEMU 0.10 (qcow2 version 2) or 1.1 (version 3, the default)."},
    {.name = "cluster_size", .in_o_list = true, .type = VU_OPTION_CALL, .parse = new_parse_size,
     .metavar = "SIZE", .group = NEW_GROUP,
     .help = "512 to 2M, a power of two; 64k by default. Large ones take less metadata and more "
             "copying."},
    {.name = "refcount_bits", .in_o_list = true, .type = VU_OPTION_INT, .min = 1, .max = 64,
     .offset = NEW_OFFSET(refcount_bits), .group = NEW_GROUP,
     .help = "The width of a reference count: 1 to 64, a power of two; 16 by default."},
    NEW_SWITCH("lazy_refcounts",
               "Whether reference counts may be written late, to be counted anew after a crash."),
    NEW_SWITCH("extended_l2", "Whether clusters have 32 parts that are allocated one by one."),
    {.name = "compression_type", .in_o_list = true, .type = VU_OPTION_CHOICE,
     .choices = new_compressions, .offset = NEW_OFFSET(compression_type), .group = NEW_GROUP,
     .help = "How compressed clusters are compressed."},
    {.name = "preallocation", .in_o_list = true, .type = VU_OPTION_CHOICE,
     .choices = qcow2_preallocations, .offset = NEW_OFFSET(preallocation), .group = NEW_GROUP,
     .help = "What is set aside: nothing, tables alone, space too, or space with zeros written."},
    {.name = "backing_file", .in_o_list = true, .type = VU_OPTION_STRING, .metavar = "NAME",
     .offset = NEW_OFFSET(backing_file), .group = NEW_GROUP,
     .help = "The image that has what this one has not; as seen from the folder of the image."},
    {.name = "backing_fmt", .in_o_list = true, .type = VU_OPTION_STRING, .metavar = "FORMAT",
     .offset = NEW_OFFSET(backing_format), .group = NEW_GROUP,
     .help = "The format of that image, raw or qcow2."},
    {.name = "data_file", .in_o_list = true, .type = VU_OPTION_STRING, .metavar = "NAME",
     .offset = NEW_OFFSET(data_file), .group = NEW_GROUP,
     .help = "The raw file that holds the data, where they are not to be in the image."},
    NEW_SWITCH("data_file_raw", "Whether the data file alone can be read as a raw image."),
    NEW_ENCRYPTION("encryption"),
    NEW_ENCRYPTION("encrypt.format"),
    NEW_ENCRYPTION("encrypt.key-secret"),
    NEW_IGNORED("nocow"),
    NEW_IGNORED("extent_size_hint"),
    {.name = "help", .in_o_list = true, .type = VU_OPTION_FLAG, .offset = NEW_OFFSET(help),
     .group = NEW_GROUP, .help = "List these and exit."},
    {.name = "?", .in_o_list = true, .type = VU_OPTION_FLAG, .offset = NEW_OFFSET(help)},
};
/* clang-format on */
const size_t img_n_new_image_rows = G_N_ELEMENTS(img_new_image_rows);

void img_new_image_init(struct img_new_image *new)
{
    const struct qcow2_create_options defaults = QCOW2_CREATE_DEFAULTS;

    *new = (struct img_new_image){
        .size = UINT64_MAX,
        .compat = NEW_COMPAT_FIRST_V3,
        .cluster_size = defaults.cluster_size,
        .refcount_bits = (int)defaults.refcount_bits,
    };
}

static void new_print_row(const struct vu_option *row)
{
    g_autofree char *choices = row->choices ? vu_options_join_choices(row->choices) : NULL;
    const char *value = row->metavar ? row->metavar : "number";

    printf("  %s=<%s> - %s\n", row->name, choices ? choices : value, row->help);
}

int img_new_image_help(const char *format)
{
    bool is_raw = !format || strcmp(format, "raw") == 0;

    if (!is_raw && strcmp(format, "qcow2") != 0)
        return img_fail_text(1, NEW_NO_FORMAT, format);
    printf("Supported %s options:\n", is_raw ? "raw" : format);
    for (size_t i = 0; i < img_n_new_image_rows; i++) {
        const struct vu_option *row = &img_new_image_rows[i];
        bool is_of_raw = strcmp(row->name, "size") == 0 || strcmp(row->name, "preallocation") == 0;

        if (row->help && row->type != VU_OPTION_FLAG && (is_of_raw || !is_raw))
            new_print_row(row);
    }
    return 0;
}

bool img_new_image_is_said(const struct img_new_image *new)
{
    struct img_new_image none;

    img_new_image_init(&none);
    return new->backing_file || new->backing_format || new->data_file || new->has_compat ||
           new->lazy_refcounts || new->extended_l2 || new->compression_type || new->data_file_raw ||
           new->preallocation || new->size != none.size || new->cluster_size != none.cluster_size ||
           new->refcount_bits != none.refcount_bits;
}

void img_new_image_clear(struct img_new_image *new)
{
    g_clear_pointer(&new->backing_file, g_free);
    g_clear_pointer(&new->backing_format, g_free);
    g_clear_pointer(&new->data_file, g_free);
}

struct qcow2_create_options img_new_image_qcow2(const struct img_new_image *new)
{
    return (struct qcow2_create_options){
        .size = new->size,
        .version = new->compat >= NEW_COMPAT_FIRST_V3 ? 3 : 2,
        .cluster_size = (uint32_t)MIN(new->cluster_size, UINT32_MAX),
        .refcount_bits = (unsigned)new->refcount_bits,
        .lazy_refcounts = new->lazy_refcounts != 0,
        .extended_l2 = new->extended_l2 != 0,
        .compression_type = (uint8_t) new->compression_type,
        .backing_name = new->backing_file,
        .backing_format = new->backing_format,
        .data_file = new->data_file,
        .data_file_raw = new->data_file_raw != 0,
        .preallocation = (enum qcow2_preallocation) new->preallocation,
        .unflushed = new->unflushed,
    };
}

/* --- checks --- */

/* What a raw image cannot have. NULL: nothing of it was asked for. */
static const char *new_first_beyond_raw(const struct img_new_image *new)
{
    struct img_new_image none;

    img_new_image_init(&none);
    if (new->backing_file)
        return "backing_file";
    if (new->backing_format)
        return "backing_fmt";
    if (new->data_file || new->data_file_raw)
        return "data_file";
    if (new->has_compat)
        return "compat";
    if (new->cluster_size != none.cluster_size)
        return "cluster_size";
    if (new->refcount_bits != none.refcount_bits)
        return "refcount_bits";
    if (new->lazy_refcounts || new->extended_l2 || new->compression_type)
        return "lazy_refcounts, extended_l2 or compression_type";
    return new->preallocation == QCOW2_PREALLOC_METADATA ? "preallocation=metadata" : NULL;
}

bool img_new_image_check(const struct img_new_image *new, const char *format, GError **error)
{
    struct qcow2_create_options options = img_new_image_qcow2(new);
    const char *beyond;

    if (strcmp(format, "qcow2") == 0) {
        if (options.cluster_size == 0)
            options.cluster_size = 1; /* refused like every other that is too small */
        return qcow2_create_check(&options, error);
    }
    if (strcmp(format, "raw") != 0) {
        g_set_error(error, VU_OPTION_ERROR, 0, NEW_NO_FORMAT, format);
        return false;
    }
    beyond = new_first_beyond_raw(new);
    if (beyond)
        g_set_error(error, VU_OPTION_ERROR, 0, "-o %s: a raw image has no such thing", beyond);
    return !beyond;
}

/* --- texts --- */

static void new_add_text(GString *text, const char *key, const char *value)
{
    if (value)
        g_string_append_printf(text, " %s=%s", key, value);
}

char *img_new_image_describe(const struct img_new_image *new, const char *format)
{
    GString *text = g_string_new(NULL);
    bool is_qcow2 = strcmp(format, "qcow2") == 0;
    const char *preallocation =
        new->preallocation ? qcow2_preallocations[new->preallocation] : NULL;

    g_string_append_printf(text, "fmt=%s", format);
    if (is_qcow2) {
        g_string_append_printf(text, " cluster_size=%" G_GUINT64_FORMAT, new->cluster_size);
        new_add_text(text, "extended_l2", new_switches[new->extended_l2]);
        new_add_text(text, "preallocation", preallocation);
        new_add_text(text, "compression_type", new_compressions[new->compression_type]);
    }
    g_string_append_printf(text, " size=%" G_GUINT64_FORMAT, new->size);
    if (!is_qcow2) {
        new_add_text(text, "preallocation", preallocation);
        return g_string_free(text, FALSE);
    }
    new_add_text(text, "compat", new->has_compat ? new_compats[new->compat] : NULL);
    new_add_text(text, "backing_file", new->backing_file);
    new_add_text(text, "backing_fmt", new->backing_format);
    new_add_text(text, "data_file", new->data_file);
    new_add_text(text, "data_file_raw", new->data_file_raw ? "on" : NULL);
    new_add_text(text, "lazy_refcounts", new_switches[new->lazy_refcounts]);
    g_string_append_printf(text, " refcount_bits=%d", new->refcount_bits);
    return g_string_free(text, FALSE);
}

/* --- making it --- */

int img_preallocate_raw(struct vblk_storage *storage, uint64_t offset, uint64_t len, int how)
{
    g_autofree void *zeros = NULL;
    int ret = 0;

    if (len == 0 || storage->is_block_device)
        return 0;
    if (how == QCOW2_PREALLOC_FALLOC)
        return -posix_fallocate(storage->fd, (off_t)offset, (off_t)len);
    if (how != QCOW2_PREALLOC_FULL)
        return 0;
    zeros = g_malloc0(NEW_ZERO_CHUNK);
    for (uint64_t done = 0, part; done < len && ret == 0; done += part) {
        part = MIN(NEW_ZERO_CHUNK, len - done);
        ret = vblk_storage_write(storage, zeros, part, offset + done);
    }
    return ret == 0 ? vblk_storage_flush(storage) : ret;
}

static bool new_create_raw(const char *path, const struct img_new_image *new, GError **error)
{
    const struct vblk_storage_options options = {.create = true, .take_locks = true};
    struct vblk_storage *storage = vblk_storage_open(path, &options, error);
    int ret = 0;

    if (!storage)
        return false;
    if (!storage->is_block_device)
        ret = vblk_storage_truncate(storage, new->size);
    else if (storage->size < new->size)
        ret = -ENOSPC;
    if (ret == 0)
        ret = img_preallocate_raw(storage, 0, new->size, new->preallocation);
    vblk_storage_close(storage);
    if (ret < 0)
        g_set_error(error, G_FILE_ERROR, (int)g_file_error_from_errno(-ret),
                    "%s: cannot be made %" G_GUINT64_FORMAT " bytes large: %s", path, new->size,
                    g_strerror(-ret));
    return ret == 0;
}

bool img_new_image_create(const char *name, const struct img_new_image *new, const char *format,
                          GError **error)
{
    const struct qcow2_create_options options = img_new_image_qcow2(new);
    g_autofree char *path = img_image_name_path(name, error);

    if (!path || !img_new_image_check(new, format, error))
        return false;
    return strcmp(format, "raw") == 0 ? new_create_raw(path, new, error)
                                      : qcow2_create(path, &options, error);
}
