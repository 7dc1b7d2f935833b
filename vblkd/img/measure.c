/* SPDX-License-Identifier: Apache-2.0 */
/* vblk-img measure: how large a new image would become. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vblkd/format/qcow2-bitmap-edit.h"
#include "vblkd/format/qcow2-image.h"
#include "vblkd/img/commands.h"
#include "vblkd/img/holes.h"
#include "vblkd/img/json.h"
#include "vblkd/img/open-image.h"
#include "vblkd/img/open-snapshot.h"
#include "vblkd/img/size.h"

struct measure_options {
    char *format, *output_format, *snapshot;
    int output; /* of measure_outputs */
    bool force_share, image_opts;
    bool has_size;
    uint64_t size;
};

enum { MEASURE_HUMAN, MEASURE_JSON };
static const char *const measure_outputs[] = {"human", "json", NULL};

#define MEASURE_OFFSET(field) offsetof(struct measure_options, field)
#define MEASURE_GROUP         "measure"

static bool measure_parse_size(void *target, const char *name, const char *value, GError **error)
{
    ((struct measure_options *)target)->has_size = true;
    return img_size_parse(value, &((struct measure_options *)target)->size, error);
}

/* clang-format off */
static const struct vu_option measure_rows[] = {
    {.name = "format", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = MEASURE_OFFSET(format), .group = MEASURE_GROUP,
     .help = "The image's format; without it the image tells."},
    {.name = "target-format", .short_name = 'O', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = MEASURE_OFFSET(output_format), .group = MEASURE_GROUP,
     .help = "The new image's format: raw (the default) or qcow2."},
    {.name = "snapshot", .short_name = 'l', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "SNAPSHOT", .offset = MEASURE_OFFSET(snapshot), .group = MEASURE_GROUP,
     .help = "For what an internal snapshot has kept: its ID or name, or snapshot.id=ID,snapshot.name=NAME."},
    {.name = "size", .is_long = true, .type = VU_OPTION_CALL, .parse = measure_parse_size,
     .short_name = 's', .metavar = "SIZE", .group = MEASURE_GROUP,
     .help = "For an empty disk of that size, instead of an image's contents."},
    {.name = "output", .is_long = true, .type = VU_OPTION_CHOICE, .choices = measure_outputs,
     .offset = MEASURE_OFFSET(output), .group = MEASURE_GROUP, .help = "Text or JSON."},
    {.name = "force-share", .short_name = 'U', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = MEASURE_OFFSET(force_share), .group = MEASURE_GROUP,
     .help = "Look on though another program writes the image."},
    {.name = "source-format", .is_long = true, .type = VU_OPTION_STRING,
     .offset = MEASURE_OFFSET(format)},
    {.name = "source-image-opts", .is_long = true, .type = VU_OPTION_FLAG,
     .offset = MEASURE_OFFSET(image_opts)},
};
/* clang-format on */

/* Bytes of the new image's clusters that will have data. */
static int measure_data(struct vblk_image *image, uint64_t cluster_size, uint64_t *ret_len)
{
    uint64_t counted = 0; /* clusters below this one have been looked at */
    uint64_t n = 0;

    for (uint64_t at = 0, len; at < image->size; at += len) {
        struct vblk_extent extent;
        struct vblk_image *owner;
        int ret = vblk_image_map(image, at, MIN(image->size - at, VBLK_REQUEST_MAX), VBLK_HOLES,
                                 &extent, &owner);
        uint64_t first, end;

        if (ret < 0)
            return ret;
        img_holes_look(owner, &extent);
        len = extent.len;
        if (extent.kind == VBLK_EXTENT_ZERO)
            continue;
        first = MAX(counted, at / cluster_size);
        end = (at + len - 1) / cluster_size + 1;
        n += end > first ? end - first : 0;
        counted = MAX(counted, end);
    }
    *ret_len = n * cluster_size;
    return 0;
}

/* What is told. */
struct measure_result {
    uint64_t data_len, required, fully_allocated;
    bool has_bitmaps; /* the image could have some, and so could the new one */
    uint64_t bitmaps;
};

static void measure_tell(const struct measure_options *options, const struct measure_result *result)
{
    JsonBuilder *json;

    if (options->output == MEASURE_HUMAN) {
        printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n", result->required,
               result->fully_allocated);
        if (result->has_bitmaps)
            printf("bitmaps size: %" PRIu64 "\n", result->bitmaps);
        return;
    }
    json = json_builder_new();
    json_builder_begin_object(json);
    if (result->has_bitmaps)
        vu_json_add_number(json, "bitmaps", result->bitmaps);
    vu_json_add_number(json, "required", result->required);
    vu_json_add_number(json, "fully-allocated", result->fully_allocated);
    json_builder_end_object(json);
    img_json_print(json);
}

static bool measure_bitmaps(struct vblk_image *image, const struct img_new_image *new,
                            struct measure_result *result, GError **error)
{
    g_autoptr(GPtrArray) bitmaps = NULL;

    if (strcmp(image->format->name, "qcow2") != 0 || qcow2_of(image)->header.version < 3 ||
        img_new_image_qcow2(new).version < 3)
        return true;
    bitmaps = qcow2_bitmap_list(image, error);
    if (!bitmaps)
        return false;
    result->has_bitmaps = true;
    result->bitmaps = qcow2_bitmap_measure(bitmaps, image->size, new->cluster_size);
    return true;
}

static bool measure_image(const struct measure_options *options, const char *path, unsigned flags,
                          struct img_new_image *new, struct measure_result *result, GError **error)
{
    struct vblk_image *image = img_open(path, options->format, NULL,
                                        flags | (options->force_share ? IMG_OPEN_SHARE : 0), error);
    bool ok;
    int ret;

    if (!image)
        return false;
    if (options->snapshot && !img_view_snapshot(image, options->snapshot, error)) {
        vblk_image_close(image);
        return false;
    }
    new->size = image->size;
    ret = measure_data(image, new->cluster_size, &result->data_len);
    if (ret < 0)
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: cannot be mapped: %s", path, g_strerror(-ret));
    /* What shows of another image behind the new one is not known. */
    if (new->backing_file)
        result->data_len = image->size;
    ok = ret == 0 && measure_bitmaps(image, new, result, error);
    vblk_image_close(image);
    return ok;
}

static int measure_run(struct img_run *run)
{
    struct measure_options *options = run->options;
    struct img_new_image *new = run->new;
    struct measure_result result = {0};
    struct qcow2_create_options create;
    GError *error = NULL;

    if ((run->n_args == 1) == options->has_size)
        return img_fail_text(1, "measure: either an image or --size must be given");
    if (options->has_size &&
        (options->format || options->snapshot || run->open_flags || options->image_opts))
        return img_fail_text(1, "measure: -f, -l and --image-opts go with an image");
    if (!options->output_format)
        options->output_format = g_strdup("raw");
    new->size = options->size;
    if (!img_new_image_check(new, options->output_format, &error))
        return img_fail(1, error);
    if (run->n_args == 1 &&
        !measure_image(options, run->args[0],
                       run->open_flags | (options->image_opts ? IMG_OPEN_OPTS : 0), new, &result,
                       &error))
        return img_fail(1, error);
    new->size = (new->size + 511) & ~UINT64_C(511);
    if (strcmp(options->output_format, "qcow2") == 0) {
        create = img_new_image_qcow2(new);
        qcow2_measure(&create, result.data_len, &result.required, &result.fully_allocated);
        if (create.preallocation >= QCOW2_PREALLOC_FALLOC)
            result.required = result.fully_allocated;
    } else {
        result.required = result.fully_allocated = new->size;
        result.has_bitmaps = false;
    }
    measure_tell(options, &result);
    return 0;
}

const struct img_command img_measure = {
    .name = "measure",
    .usage = "[-f FORMAT] [-O FORMAT] [--output=human|json] [OPTION]... FILE|--size=SIZE",
    .help = "Tells how large a new image would become.",
    .rows = measure_rows,
    .n_rows = G_N_ELEMENTS(measure_rows),
    .options_len = sizeof(struct measure_options),
    .min_args = 0,
    .max_args = 1,
    .takes_new_image = true,
    .new_format_offset = MEASURE_OFFSET(output_format),
    .run = measure_run,
};
