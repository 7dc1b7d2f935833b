/* SPDX-License-Identifier: Apache-2.0 */
/* vblk-img bitmap: the persistent bitmaps of an image. Actions are done in the order in which they
 * are given, and end with the first that fails. */
#include <string.h>

#include "vblkd/format/qcow2-bitmap-edit.h"
#include "vblkd/img/commands.h"
#include "vblkd/img/open-image.h"
#include "vblkd/img/size.h"

#define BITMAP_MAX_ACTIONS 64

enum bitmap_kind {
    BITMAP_ADD,
    BITMAP_REMOVE,
    BITMAP_CLEAR,
    BITMAP_ENABLE,
    BITMAP_DISABLE,
    BITMAP_MERGE,
};
static const char *const bitmap_kinds[] = {"add", "remove", "clear", "enable", "disable", "merge"};

struct bitmap_action {
    enum bitmap_kind kind;
    const char *source; /* of a merge; the command line's */
};

struct bitmap_options {
    char *format, *source_file, *source_format;
    uint64_t granularity; /* 0: as is usual */
    struct bitmap_action actions[BITMAP_MAX_ACTIONS];
    unsigned n_actions;
};

#define BITMAP_OFFSET(field) offsetof(struct bitmap_options, field)
#define BITMAP_GROUP         "bitmap"

static bool bitmap_parse_action(void *target, const char *name, const char *value, GError **error)
{
    struct bitmap_options *options = target;
    struct bitmap_action *action = &options->actions[options->n_actions];

    if (options->n_actions == BITMAP_MAX_ACTIONS) {
        g_set_error(error, VU_OPTION_ERROR, 0, "more than %d actions", BITMAP_MAX_ACTIONS);
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(bitmap_kinds); i++)
        if (strcmp(bitmap_kinds[i], name) == 0)
            action->kind = (enum bitmap_kind)i;
    if (value && action->kind != BITMAP_MERGE) {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected no value, got \"%s\"", value);
        return false;
    }
    action->source = value;
    options->n_actions++;
    return true;
}

static bool bitmap_parse_granularity(void *target, const char *name, const char *value,
                                     GError **error)
{
    struct bitmap_options *options = target;

    return img_size_parse(value, &options->granularity, error);
}

/* An action without a value of its own is one "with an optional value", which is never given. */
#define BITMAP_ACTION(action_name, text)                                                      \
    {                                                                                         \
        .name = action_name, .is_long = true, .type = VU_OPTION_CALL, .value_optional = true, \
        .parse = bitmap_parse_action, .group = BITMAP_GROUP, .help = text                     \
    }

/* clang-format off */
static const struct vu_option bitmap_rows[] = {
    BITMAP_ACTION("add", "Make the bitmap, with no bit set, and have writes set them."),
    BITMAP_ACTION("remove", "Remove it."),
    BITMAP_ACTION("clear", "Clear all of its bits."),
    BITMAP_ACTION("enable", "Have writes set its bits, from now on."),
    BITMAP_ACTION("disable", "Leave it as it is whatever is written; also with --add."),
    {.name = "merge", .is_long = true, .type = VU_OPTION_CALL, .parse = bitmap_parse_action,
     .metavar = "NAME", .group = BITMAP_GROUP,
     .help = "Set the bits that are set in another bitmap too."},
    {.name = "granularity", .short_name = 'g', .is_long = true, .type = VU_OPTION_CALL,
     .parse = bitmap_parse_granularity, .metavar = "SIZE", .group = BITMAP_GROUP,
     .help = "With --add: how much a bit stands for, 512 to 2G; by default a cluster, but 4k to 64k."},
    {.name = "source-file", .short_name = 'b', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FILE", .offset = BITMAP_OFFSET(source_file), .group = BITMAP_GROUP,
     .help = "With --merge: the image that has the other bitmap."},
    {.name = "source-format", .short_name = 'F', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = BITMAP_OFFSET(source_format), .group = BITMAP_GROUP,
     .help = "With -b: the format of that image."},
    {.name = "format", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = BITMAP_OFFSET(format), .group = BITMAP_GROUP,
     .help = "qcow2; without it the image tells."},
};
/* clang-format on */

/* What does not go together; NULL: all does. */
static const char *bitmap_find_mistake(const struct bitmap_options *options)
{
    bool adds = false, merges = false;

    for (unsigned i = 0; i < options->n_actions; i++) {
        adds |= options->actions[i].kind == BITMAP_ADD;
        merges |= options->actions[i].kind == BITMAP_MERGE;
    }
    if (options->n_actions == 0)
        return "expected --add, --remove, --clear, --enable, --disable or --merge";
    if (options->granularity && !adds)
        return "-g goes with --add";
    if (options->source_file && !merges)
        return "-b goes with --merge";
    if (options->source_format && !options->source_file)
        return "-F goes with -b";
    return NULL;
}

static bool bitmap_do(struct vblk_image *image, struct vblk_image *source,
                      const struct bitmap_options *options, const struct bitmap_action *action,
                      const char *name, GError **error)
{
    switch (action->kind) {
    case BITMAP_ADD:
        return qcow2_bitmap_add(image, name, options->granularity, true, error);
    case BITMAP_REMOVE:
        return qcow2_bitmap_remove(image, name, error);
    case BITMAP_CLEAR:
        return qcow2_bitmap_clear(image, name, error);
    case BITMAP_ENABLE:
    case BITMAP_DISABLE:
        return qcow2_bitmap_enable(image, name, action->kind == BITMAP_ENABLE, error);
    case BITMAP_MERGE:
        break;
    }
    return qcow2_bitmap_merge(image, name, source ? source : image, action->source, error);
}

static bool bitmap_open(const char *path, const char *format, unsigned flags,
                        struct vblk_image **ret_image, GError **error)
{
    struct vblk_image *image = img_open(path, format, NULL, IMG_OPEN_ALONE | flags, error);

    if (image && strcmp(image->format->name, "qcow2") != 0) {
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: the format %s has no bitmaps", path,
                    image->format->name);
        g_clear_pointer(&image, vblk_image_close);
    }
    *ret_image = image;
    return image != NULL;
}

static int bitmap_run(struct img_run *run)
{
    const struct bitmap_options *options = run->options;
    const char *mistake = bitmap_find_mistake(options);
    struct vblk_image *image = NULL, *source = NULL;
    GError *error = NULL;
    bool ok;

    if (mistake)
        return img_fail_text(1, "bitmap: %s", mistake);
    ok = bitmap_open(run->args[0], options->format, run->open_flags | IMG_OPEN_WRITE, &image,
                     &error) &&
         (!options->source_file ||
          bitmap_open(options->source_file, options->source_format, 0, &source, &error));
    for (unsigned i = 0; i < options->n_actions && ok; i++) {
        const struct bitmap_action *action = &options->actions[i];

        ok = bitmap_do(image, source, options, action, run->args[1], &error);
        if (!ok)
            g_prefix_error(&error, "%s: --%s of bitmap \"%s\": ", run->args[0],
                           bitmap_kinds[action->kind], run->args[1]);
    }
    vblk_image_close(source);
    vblk_image_close(image);
    return ok ? 0 : img_fail(1, error);
}

const struct img_command img_bitmap = {
    .name = "bitmap",
    .usage = "(--add [-g SIZE] | --remove | --clear | --enable | --disable | --merge NAME "
             "[-b FILE [-F FORMAT]])... [-f FORMAT] FILE BITMAP",
    .help = "Makes, changes and removes the persistent bitmaps of an image.",
    .rows = bitmap_rows,
    .n_rows = G_N_ELEMENTS(bitmap_rows),
    .options_len = sizeof(struct bitmap_options),
    .min_args = 2,
    .max_args = 2,
    .run = bitmap_run,
};
