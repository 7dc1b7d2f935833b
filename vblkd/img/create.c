/* SPDX-License-Identifier: Apache-2.0 */
/* vblk-img create: a new image, empty, or with another one behind it. */
#include <stdio.h>
#include <string.h>

#include "vblkd/img/commands.h"
#include "vblkd/img/open-image.h"
#include "vblkd/img/size.h"

struct create_options {
    char *format, *backing_file, *backing_format;
    bool quiet, unsafe;
};

#define CREATE_OFFSET(field) offsetof(struct create_options, field)
#define CREATE_GROUP         "create"

/* clang-format off */
static const struct vu_option create_rows[] = {
    {.name = "format", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = CREATE_OFFSET(format), .group = CREATE_GROUP,
     .help = "raw (the default) or qcow2."},
    {.name = "backing", .short_name = 'b', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "NAME", .offset = CREATE_OFFSET(backing_file), .group = CREATE_GROUP,
     .help = "The same as -o backing_file=NAME."},
    {.name = "backing-format", .short_name = 'F', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = CREATE_OFFSET(backing_format), .group = CREATE_GROUP,
     .help = "The same as -o backing_fmt=FORMAT."},
    {.name = "unsafe", .short_name = 'u', .type = VU_OPTION_FLAG, .is_long = true,
     .offset = CREATE_OFFSET(unsafe), .group = CREATE_GROUP,
     .help = "Do not look at the backing image; the size must be said."},
    {.name = "quiet", .short_name = 'q', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CREATE_OFFSET(quiet), .group = CREATE_GROUP, .help = "Print nothing."},
    {.name = "backing-format", .short_name = 'B', .type = VU_OPTION_STRING,
     .offset = CREATE_OFFSET(backing_format)},
    {.name = "backing-unsafe", .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CREATE_OFFSET(unsafe)},
};
/* clang-format on */

static void create_take(char **from, char **to)
{
    if (*from) {
        g_free(*to);
        *to = g_steal_pointer(from);
    }
}

static bool create_prepare(const struct create_options *options, const char *path,
                           struct img_new_image *new, GError **error)
{
    const char *format = options->format;

    if (new->backing_file && strcmp(format, "qcow2") == 0) {
        if (!new->backing_format) {
            g_set_error(error, VU_OPTION_ERROR, 0,
                        "%s: the format of the backing image must be said (-F)", path);
            return false;
        }
        if (!options->unsafe && !img_open_look_behind(path, new, error))
            return false;
    }
    if (new->backing_format && !new->backing_file) {
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: -F goes with -b", path);
        return false;
    }
    if (new->size == UINT64_MAX) {
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: the size of the new image must be said", path);
        return false;
    }
    if (!img_new_image_check(new, format, error)) {
        g_prefix_error(error, "%s: ", path);
        return false;
    }
    return true;
}

static int create_run(struct img_run *run)
{
    struct create_options *options = run->options;
    const char *path = run->args[0];
    GError *error = NULL;

    if (run->open_flags)
        return img_fail_text(1, "create: --image-opts is for images that are there");
    if (!options->format)
        options->format = g_strdup("raw");
    create_take(&options->backing_file, &run->new->backing_file);
    create_take(&options->backing_format, &run->new->backing_format);
    if (run->n_args > 1 && run->new->size != UINT64_MAX)
        return img_fail_text(1, "%s: the size is said twice", path);
    if (run->n_args > 1 && !img_size_parse(run->args[1], &run->new->size, &error))
        return img_fail(1, error);
    if (!create_prepare(options, path, run->new, &error))
        return img_fail(1, error);
    if (!options->quiet) {
        g_autofree char *text = img_new_image_describe(run->new, options->format);

        printf("Formatting '%s', %s\n", path, text);
        fflush(stdout);
    }
    /* Disks have whole sectors. */
    run->new->size = (run->new->size + 511) & ~UINT64_C(511);
    if (!img_new_image_create(path, run->new, options->format, &error))
        return img_fail(1, error);
    return 0;
}

const struct img_command img_create = {
    .name = "create",
    .usage = "[-f FORMAT] [-b NAME -F FORMAT] [-u] [-q] [-o KEY=VALUE,...] FILE [SIZE]",
    .help = "Makes an image.",
    .rows = create_rows,
    .n_rows = G_N_ELEMENTS(create_rows),
    .options_len = sizeof(struct create_options),
    .min_args = 1,
    .max_args = 2,
    .takes_new_image = true,
    .new_format_offset = CREATE_OFFSET(format),
    .run = create_run,
};
