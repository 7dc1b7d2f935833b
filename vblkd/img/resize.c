/* SPDX-License-Identifier: Apache-2.0 */
/* vblk-img resize: a larger or smaller disk. What is cut off is gone. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vblkd/img/commands.h"
#include "vblkd/img/open-image.h"
#include "vblkd/img/size.h"

struct resize_options {
    char *format;
    int preallocation;
    bool quiet, shrink;
};

#define RESIZE_OFFSET(field) offsetof(struct resize_options, field)
#define RESIZE_GROUP         "resize"

/* clang-format off */
static const struct vu_option resize_rows[] = {
    {.name = "format", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = RESIZE_OFFSET(format), .group = RESIZE_GROUP,
     .help = "raw or qcow2; without it the image tells, which a guest may have made it do."},
    {.name = "shrink", .is_long = true, .type = VU_OPTION_FLAG, .offset = RESIZE_OFFSET(shrink),
     .group = RESIZE_GROUP, .help = "Let the image become smaller."},
    {.name = "preallocation", .is_long = true, .type = VU_OPTION_CHOICE,
     .choices = qcow2_preallocations, .offset = RESIZE_OFFSET(preallocation),
     .group = RESIZE_GROUP, .help = "What is set aside for the new part."},
    {.name = "quiet", .short_name = 'q', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = RESIZE_OFFSET(quiet), .group = RESIZE_GROUP, .help = "Print nothing."},
};
/* clang-format on */

/* SIZE, +SIZE or -SIZE. */
static bool resize_parse(const char *text, uint64_t size, uint64_t *ret_size, GError **error)
{
    bool is_relative = text[0] == '+' || text[0] == '-';
    uint64_t number;

    if (!img_size_parse(text + is_relative, &number, error))
        return false;
    if (text[0] == '-' && number > size) {
        g_set_error(error, VU_OPTION_ERROR, 0, "the image is no more than %" PRIu64 " bytes large",
                    size);
        return false;
    }
    if (is_relative)
        number = text[0] == '-' ? size - number : size + number;
    *ret_size = number;
    return true;
}

static bool resize_check(const struct vblk_image *image, uint64_t size,
                         const struct resize_options *options, GError **error)
{
    bool is_raw = strcmp(image->format->name, "raw") == 0;
    const char *problem = NULL;

    if (size == 0)
        problem = "the new size must be more than nothing";
    else if (size <= image->size && options->preallocation)
        problem = "--preallocation is for an image that becomes larger";
    else if (size < image->size && !options->shrink)
        problem = "the image would lose its end: --shrink lets it";
    else if (is_raw && options->preallocation == QCOW2_PREALLOC_METADATA)
        problem = "a raw image has no metadata to set aside";
    else if (is_raw && image->storage->is_block_device && size != image->size)
        problem = "a block device is as large as it is";
    if (problem)
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: %s", image->storage->path, problem);
    return !problem;
}

static int resize_preallocate(struct vblk_image *image, uint64_t from, int how)
{
    int ret;

    if (how == QCOW2_PREALLOC_OFF || from >= image->size)
        return 0;
    if (strcmp(image->format->name, "raw") == 0)
        return img_preallocate_raw(image->storage, from, image->size - from, how);
    ret = qcow2_preallocate(image, from, image->size - from, (enum qcow2_preallocation)how);
    return ret == 0 ? vblk_image_flush(image) : ret;
}

static bool resize_image(struct vblk_image *image, const char *text,
                         const struct resize_options *options, GError **error)
{
    uint64_t old_size = image->size, size;
    int ret;

    if (!resize_parse(text, old_size, &size, error) || !resize_check(image, size, options, error) ||
        !image->format->resize(image, size, error))
        return false;
    ret = resize_preallocate(image, old_size, options->preallocation);
    if (ret < 0)
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: preallocation: %s", image->storage->path,
                    g_strerror(-ret));
    return ret == 0;
}

static int resize_run(struct img_run *run)
{
    const struct resize_options *options = run->options;
    struct vblk_image *image;
    GError *error = NULL;
    bool resized;

    image = img_open(run->args[0], options->format, NULL, run->open_flags | IMG_OPEN_WRITE, &error);
    if (!image)
        return img_fail(1, error);
    resized = resize_image(image, run->args[1], options, &error);
    vblk_image_close(image);
    if (!resized)
        return img_fail(1, error);
    if (!options->quiet)
        puts("Image resized.");
    return 0;
}

const struct img_command img_resize = {
    .name = "resize",
    .usage = "[-f FORMAT] [--shrink] [--preallocation=HOW] [-q] FILE [+|-]SIZE",
    .help = "Makes a disk larger or smaller.",
    .rows = resize_rows,
    .n_rows = G_N_ELEMENTS(resize_rows),
    .options_len = sizeof(struct resize_options),
    .min_args = 2,
    .max_args = 2,
    .takes_negative = true,
    .run = resize_run,
};
