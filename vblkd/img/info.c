/* SPDX-License-Identifier: Apache-2.0 */
/* vblk-img info: what an image is, and with --backing-chain the images behind it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "vblkd/format/qcow2-backing.h"
#include "vblkd/format/qcow2-bitmap-edit.h"
#include "vblkd/format/qcow2-image.h"
#include "vblkd/img/bitmap-list.h"
#include "vblkd/img/commands.h"
#include "vblkd/img/json.h"
#include "vblkd/img/open-image.h"
#include "vblkd/img/size.h"
#include "vblkd/img/snapshot-list.h"

#define INFO_MAX_CHAIN 200

struct info_options {
    char *format;
    int output; /* of info_outputs */
    bool backing_chain, force_share;
};

enum { INFO_HUMAN, INFO_JSON };
static const char *const info_outputs[] = {"human", "json", NULL};

#define INFO_OFFSET(field) offsetof(struct info_options, field)
#define INFO_GROUP         "info"

/* clang-format off */
static const struct vu_option info_rows[] = {
    {.name = "format", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = INFO_OFFSET(format), .group = INFO_GROUP,
     .help = "raw or qcow2; without it the image tells."},
    {.name = "output", .is_long = true, .type = VU_OPTION_CHOICE, .choices = info_outputs,
     .offset = INFO_OFFSET(output), .group = INFO_GROUP, .help = "Text or JSON."},
    {.name = "backing-chain", .is_long = true, .type = VU_OPTION_FLAG,
     .offset = INFO_OFFSET(backing_chain), .group = INFO_GROUP,
     .help = "Also the images behind it."},
    {.name = "force-share", .short_name = 'U', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = INFO_OFFSET(force_share), .group = INFO_GROUP,
     .help = "Look on though another program writes the image."},
};
/* clang-format on */

/* What is told of one image. */
struct info {
    struct vblk_image *image;
    const struct qcow2_header *header; /* NULL: raw */
    GPtrArray *snapshots;              /* NULL: raw */
    GPtrArray *bitmaps;                /* NULL: raw */
    char *backing_path;                /* NULL: none, or its name names no file */
    uint64_t disk_size;
};

static void info_clear(struct info *info)
{
    g_clear_pointer(&info->snapshots, g_ptr_array_unref);
    g_clear_pointer(&info->bitmaps, g_ptr_array_unref);
    g_clear_pointer(&info->backing_path, g_free);
    g_clear_pointer(&info->image, vblk_image_close);
}

/* Of a raw image nothing is told that who writes to it could change under our eyes: no -U needed.
 */
static struct vblk_image *info_open(const char *path, const char *format, unsigned flags,
                                    GError **error)
{
    GError *why = NULL;
    struct vblk_image *image = img_open(path, format, NULL, flags, &why);

    if (!image && g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_AGAIN))
        image = img_open(path, format, NULL, flags | IMG_OPEN_SHARE, NULL);
    if (!why || (image && strcmp(image->format->name, "raw") == 0)) {
        g_clear_error(&why);
        return image;
    }
    vblk_image_close(image);
    g_propagate_error(error, why);
    return NULL;
}

static bool info_read(struct info *info, const char *path, const char *format, unsigned flags,
                      const struct info_options *options, GError **error)
{
    unsigned share = options->force_share ? IMG_OPEN_SHARE : 0;
    struct stat st;

    *info = (struct info){0};
    info->image = info_open(path, format, flags | IMG_OPEN_ALONE | IMG_OPEN_REPAIR | share, error);
    if (!info->image)
        return false;
    if (fstat(info->image->storage->fd, &st) == 0)
        info->disk_size = (uint64_t)st.st_blocks * 512;
    if (strcmp(info->image->format->name, "qcow2") != 0)
        return true;
    info->header = &qcow2_of(info->image)->header;
    if (info->header->backing_name)
        info->backing_path =
            qcow2_backing_path(info->image->storage->path, info->header->backing_name, NULL);
    info->snapshots = qcow2_snapshot_list(info->image, error);
    info->bitmaps = info->snapshots ? qcow2_bitmap_list(info->image, error) : NULL;
    return info->bitmaps != NULL;
}

static bool info_is_dirty(const struct info *info)
{
    return info->header && (info->header->incompatible & QCOW2_INCOMPAT_DIRTY) != 0;
}

/* --- what only qcow2 has, for both outputs --- */

enum info_fact_kind { INFO_TEXT, INFO_NUMBER, INFO_BOOL, INFO_BITMAPS };

struct info_fact {
    const char *name; /* as the text output has it; with dashes for spaces in JSON */
    enum info_fact_kind kind;
    const char *text;
    uint64_t number;
    const GPtrArray *bitmaps;
};

#define INFO_MAX_FACTS 9

static unsigned info_list_facts(const struct info *info, struct info_fact facts[INFO_MAX_FACTS])
{
    const struct qcow2_header *header = info->header;
    bool is_v3 = header->version >= 3;
    unsigned n = 0;

#define INFO_ADD(name, kind, field, value) \
    facts[n++] = (struct info_fact){name, kind, .field = value}
#define INFO_ADD_BOOL(name, value) INFO_ADD(name, INFO_BOOL, number, value)
    INFO_ADD("compat", INFO_TEXT, text, is_v3 ? "1.1" : "0.10");
    INFO_ADD("compression type", INFO_TEXT, text, header->compression_type ? "zstd" : "zlib");
    if (is_v3)
        INFO_ADD_BOOL("lazy refcounts", (header->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS) != 0);
    if (info->bitmaps->len > 0)
        INFO_ADD("bitmaps", INFO_BITMAPS, bitmaps, info->bitmaps);
    INFO_ADD("refcount bits", INFO_NUMBER, number, UINT64_C(1) << header->refcount_order);
    if (header->data_file_name)
        INFO_ADD("data file", INFO_TEXT, text, header->data_file_name);
    if (header->incompatible & QCOW2_INCOMPAT_DATA_FILE)
        INFO_ADD_BOOL("data file raw", (header->autoclear & QCOW2_AUTOCLEAR_RAW_DATA) != 0);
    if (is_v3) {
        INFO_ADD_BOOL("corrupt", (header->incompatible & QCOW2_INCOMPAT_CORRUPT) != 0);
        INFO_ADD_BOOL("extended l2", (header->incompatible & QCOW2_INCOMPAT_EXTENDED_L2) != 0);
    }
    return n;
}

/* --- text --- */

static void info_print_facts(const struct info *info)
{
    struct info_fact facts[INFO_MAX_FACTS];
    unsigned n = info_list_facts(info, facts);

    puts("Format specific information:");
    for (unsigned i = 0; i < n; i++) {
        printf("    %s:%s", facts[i].name, facts[i].kind == INFO_BITMAPS ? "" : " ");
        switch (facts[i].kind) {
        case INFO_NUMBER:
            printf("%" PRIu64 "\n", facts[i].number);
            break;
        case INFO_BOOL:
            puts(facts[i].number ? "true" : "false");
            break;
        case INFO_TEXT:
            puts(facts[i].text);
            break;
        case INFO_BITMAPS:
            putchar('\n');
            img_bitmap_list_print(facts[i].bitmaps);
            break;
        }
    }
}

static void info_print_backing(const struct info *info)
{
    const char *name = info->header->backing_name;

    if (!name)
        return;
    if (!info->backing_path)
        printf("backing file: %s (cannot be opened)\n", name);
    else if (strcmp(info->backing_path, name) != 0)
        printf("backing file: %s (actual path: %s)\n", name, info->backing_path);
    else
        printf("backing file: %s\n", name);
    if (info->header->backing_format)
        printf("backing file format: %s\n", info->header->backing_format);
}

static void info_print(const struct info *info)
{
    const struct vblk_image *image = info->image;
    g_autofree char *size = img_size_format(image->size);
    g_autofree char *disk_size = img_size_format(info->disk_size);

    printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRIu64 " bytes)\ndisk size: %s\n",
           image->storage->path, image->format->name, size, image->size, disk_size);
    if (!info->header)
        return;
    printf("cluster_size: %" PRIu64 "\n", qcow2_header_cluster_size(info->header));
    if (info_is_dirty(info))
        puts("cleanly shut down: no");
    info_print_backing(info);
    if (info->snapshots->len > 0)
        img_snapshot_list_print(info->snapshots);
    info_print_facts(info);
}

/* --- JSON --- */

static void info_add_facts(JsonBuilder *json, const struct info *info)
{
    struct info_fact facts[INFO_MAX_FACTS];
    unsigned n = info_list_facts(info, facts);

    json_builder_set_member_name(json, "format-specific");
    json_builder_begin_object(json);
    vu_json_add_text(json, "type", "qcow2");
    json_builder_set_member_name(json, "data");
    json_builder_begin_object(json);
    for (unsigned i = 0; i < n; i++) {
        g_autofree char *name = g_strdelimit(g_strdup(facts[i].name), " ", '-');

        switch (facts[i].kind) {
        case INFO_NUMBER:
            vu_json_add_number(json, name, facts[i].number);
            break;
        case INFO_BOOL:
            vu_json_add_bool(json, name, facts[i].number != 0);
            break;
        case INFO_TEXT:
            vu_json_add_text(json, name, facts[i].text);
            break;
        case INFO_BITMAPS:
            img_bitmap_list_add(json, facts[i].bitmaps);
            break;
        }
    }
    json_builder_end_object(json);
    json_builder_end_object(json);
}

static void info_add(JsonBuilder *json, const struct info *info)
{
    const struct vblk_image *image = info->image;

    json_builder_begin_object(json);
    vu_json_add_number(json, "virtual-size", image->size);
    vu_json_add_text(json, "filename", image->storage->path);
    vu_json_add_text(json, "format", image->format->name);
    vu_json_add_number(json, "actual-size", info->disk_size);
    vu_json_add_bool(json, "dirty-flag", info_is_dirty(info));
    if (info->header) {
        vu_json_add_number(json, "cluster-size", qcow2_header_cluster_size(info->header));
        vu_json_add_text(json, "backing-filename", info->header->backing_name);
        vu_json_add_text(json, "full-backing-filename", info->backing_path);
        vu_json_add_text(json, "backing-filename-format", info->header->backing_format);
        if (info->snapshots->len > 0)
            img_snapshot_list_add(json, info->snapshots);
        info_add_facts(json, info);
    }
    json_builder_end_object(json);
}

/* --- the chain --- */

static bool info_tell(const struct info *info, JsonBuilder *json, unsigned nth)
{
    if (json) {
        info_add(json, info);
    } else {
        if (nth > 0)
            putchar('\n');
        info_print(info);
    }
    return info->backing_path != NULL;
}

static bool info_walk(const struct info_options *options, const char *path, unsigned flags,
                      JsonBuilder *json, GError **error)
{
    g_autofree char *next = g_strdup(path);
    g_autofree char *format = g_strdup(options->format);
    bool more = true;

    for (unsigned nth = 0; more; nth++) {
        struct info info;

        if (nth > INFO_MAX_CHAIN) {
            g_set_error(error, VU_OPTION_ERROR, 0, "%s: the chain of backing images does not end",
                        path);
            return false;
        }
        if (!info_read(&info, next, format, nth == 0 ? flags : 0, options, error)) {
            info_clear(&info);
            return false;
        }
        more = info_tell(&info, json, nth) && options->backing_chain;
        g_free(next);
        g_free(format);
        next = g_strdup(info.backing_path);
        format = g_strdup(info.header ? info.header->backing_format : NULL);
        info_clear(&info);
    }
    return true;
}

static int info_run(struct img_run *run)
{
    const struct info_options *options = run->options;
    JsonBuilder *json = options->output == INFO_JSON ? json_builder_new() : NULL;
    bool is_list = json && options->backing_chain;
    GError *error = NULL;

    if (is_list)
        json_builder_begin_array(json);
    if (!info_walk(options, run->args[0], run->open_flags, json, &error)) {
        g_clear_object(&json);
        return img_fail(1, error);
    }
    if (is_list)
        json_builder_end_array(json);
    if (json)
        img_json_print(json);
    return 0;
}

const struct img_command img_info = {
    .name = "info",
    .usage = "[-f FORMAT] [--output=human|json] [--backing-chain] [-U] FILE",
    .help = "Tells what an image is: format, size, backing image, snapshots.",
    .rows = info_rows,
    .n_rows = G_N_ELEMENTS(info_rows),
    .options_len = sizeof(struct info_options),
    .min_args = 1,
    .max_args = 1,
    .run = info_run,
};
