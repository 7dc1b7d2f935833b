/* SPDX-License-Identifier: Apache-2.0 */
/* vblk-img map: which parts of a disk have data, and where these lie. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vblkd/img/commands.h"
#include "vblkd/img/layers.h"
#include "vblkd/img/open-image.h"
#include "vblkd/img/size.h"

struct map_options {
    char *format;
    int output; /* of map_outputs */
    bool force_share;
    uint64_t start;
    bool has_max_len; /* else to the end */
    uint64_t max_len;
};

enum { MAP_HUMAN, MAP_JSON };
static const char *const map_outputs[] = {"human", "json", NULL};

#define MAP_OFFSET(field) offsetof(struct map_options, field)
#define MAP_GROUP         "map"

static bool map_parse_start(void *target, const char *name, const char *value, GError **error)
{
    return img_size_parse(value, &((struct map_options *)target)->start, error);
}

static bool map_parse_len(void *target, const char *name, const char *value, GError **error)
{
    ((struct map_options *)target)->has_max_len = true;
    return img_size_parse(value, &((struct map_options *)target)->max_len, error);
}

/* clang-format off */
static const struct vu_option map_rows[] = {
    {.name = "format", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = MAP_OFFSET(format), .group = MAP_GROUP,
     .help = "raw or qcow2; without it the image tells."},
    {.name = "output", .is_long = true, .type = VU_OPTION_CHOICE, .choices = map_outputs,
     .offset = MAP_OFFSET(output), .group = MAP_GROUP,
     .help = "Text, which has data alone, or JSON, which has everything."},
    {.name = "start-offset", .short_name = 's', .is_long = true, .type = VU_OPTION_CALL,
     .parse = map_parse_start, .metavar = "OFFSET", .group = MAP_GROUP,
     .help = "Begin there, instead of at the disk's beginning."},
    {.name = "max-length", .short_name = 'l', .is_long = true, .type = VU_OPTION_CALL,
     .parse = map_parse_len, .metavar = "LEN", .group = MAP_GROUP,
     .help = "End after LEN bytes, instead of at the disk's end."},
    {.name = "force-share", .short_name = 'U', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = MAP_OFFSET(force_share), .group = MAP_GROUP,
     .help = "Look on though another program writes the image."},
};
/* clang-format on */

/* --- printing --- */

static const char *map_bool(bool value)
{
    return value ? "true" : "false";
}

static int map_print(const struct img_layer_extent *extent)
{
    if (!extent->is_data)
        return 0;
    if (!extent->has_offset)
        return img_fail_text(1, "%s: has compressed clusters; --output=json shows them",
                             extent->image->storage->path);
    printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", extent->start, extent->len,
           extent->offset, extent->storage->path);
    return 0;
}

static void map_print_json(const struct img_layer_extent *extent, bool is_first, bool is_last)
{
    printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
           ", \"depth\": %u, \"present\": %s, \"zero\": %s, \"data\": %s, \"compressed\": %s",
           is_first ? "[" : "", extent->start, extent->len, extent->depth,
           map_bool(extent->is_present), map_bool(!extent->is_data),
           map_bool(extent->is_data || extent->is_hole), map_bool(extent->is_compressed));
    if (extent->has_offset)
        printf(", \"offset\": %" PRIu64, extent->offset);
    puts(is_last ? "}]" : "},");
}

static int map_tell(const struct img_layer_extent *extent, int output, bool is_first, bool is_last)
{
    if (output == MAP_HUMAN)
        return map_print(extent);
    map_print_json(extent, is_first, is_last);
    return 0;
}

/* --- the walk --- */

static bool map_continues(const struct img_layer_extent *a, const struct img_layer_extent *b)
{
    return a->image == b->image && a->storage == b->storage && a->depth == b->depth &&
           a->is_data == b->is_data && a->is_hole == b->is_hole && a->is_present == b->is_present &&
           a->is_compressed == b->is_compressed && a->has_offset == b->has_offset &&
           (!a->has_offset || b->offset == a->offset + a->len);
}

static int map_walk(struct vblk_image *image, const struct map_options *options)
{
    uint64_t len = image->size - MIN(image->size, options->start);
    uint64_t end = options->start + (options->has_max_len ? MIN(options->max_len, len) : len);
    struct img_layer_extent run = {0}, next;
    bool is_first = true;
    int status = 0, ret;

    for (uint64_t at = options->start; at < end && status == 0; at += next.len) {
        ret = img_layers_map(image, at, end - at, &next);
        if (ret < 0)
            return img_fail_text(1, "%s: cannot be mapped at %" PRIu64 ": %s", image->storage->path,
                                 at, g_strerror(-ret));
        if (run.len > 0 && map_continues(&run, &next)) {
            run.len += next.len;
            continue;
        }
        if (run.len > 0) {
            status = map_tell(&run, options->output, is_first, false);
            is_first = false;
        }
        run = next;
    }
    if (status == 0 && run.len > 0)
        return map_tell(&run, options->output, is_first, true);
    if (status == 0 && options->output == MAP_JSON)
        puts("[]");
    return status;
}

static int map_run(struct img_run *run)
{
    const struct map_options *options = run->options;
    struct vblk_image *image;
    GError *error = NULL;
    int status;

    image = img_open(run->args[0], options->format, NULL,
                     run->open_flags | (options->force_share ? IMG_OPEN_SHARE : 0), &error);
    if (!image)
        return img_fail(1, error);
    if (options->output == MAP_HUMAN)
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    status = map_walk(image, options);
    vblk_image_close(image);
    return status;
}

const struct img_command img_map = {
    .name = "map",
    .usage = "[-f FORMAT] [--output=human|json] [-s OFFSET] [-l LEN] [-U] FILE",
    .help = "Tells which parts of a disk have data, and where.",
    .rows = map_rows,
    .n_rows = G_N_ELEMENTS(map_rows),
    .options_len = sizeof(struct map_options),
    .min_args = 1,
    .max_args = 1,
    .run = map_run,
};
