/* SPDX-License-Identifier: Apache-2.0 */
/* vblk-img compare: whether two disks have the same contents. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vblkd/img/commands.h"
#include "vblkd/img/layers.h"
#include "vblkd/img/open-image.h"
#include "vblkd/img/progress.h"
#include "vblkd/img/zeros.h"

#define COMPARE_CHUNK (UINT64_C(2) << 20)

enum compare_status {
    COMPARE_SAME = 0,
    COMPARE_DIFFERENT = 1,
    COMPARE_NOT_OPENED = 2,
    COMPARE_NOT_MAPPED = 3,
    COMPARE_NOT_READ = 4,
};

struct compare_options {
    char *formats[2], *cache;
    bool progress, quiet, strict, force_share;
};

struct compare {
    const struct compare_options *options;
    struct vblk_image *images[2];
    uint8_t *bufs[2]; /* COMPARE_CHUNK each */
};

#define COMPARE_OFFSET(field) offsetof(struct compare_options, field)
#define COMPARE_GROUP         "compare"

/* clang-format off */
static const struct vu_option compare_rows[] = {
    {.name = "format", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = COMPARE_OFFSET(formats[0]), .group = COMPARE_GROUP,
     .help = "The first image's format; without it the image tells."},
    {.name = "second-format", .short_name = 'F', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = COMPARE_OFFSET(formats[1]), .group = COMPARE_GROUP,
     .help = "The second image's."},
    {.name = "a-format", .is_long = true, .type = VU_OPTION_STRING,
     .offset = COMPARE_OFFSET(formats[0])},
    {.name = "b-format", .is_long = true, .type = VU_OPTION_STRING,
     .offset = COMPARE_OFFSET(formats[1])},
    {.name = "cache", .short_name = 'T', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "MODE", .offset = COMPARE_OFFSET(cache), .group = COMPARE_GROUP,
     .help = "How the images are opened, as vblkd's cache modes."},
    {.name = "strict", .short_name = 's', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = COMPARE_OFFSET(strict), .group = COMPARE_GROUP,
     .help = "Disks of different sizes differ, and so do zeros that one of them keeps as data, or that only one of them says are there."},
    {.name = "progress", .short_name = 'p', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = COMPARE_OFFSET(progress), .group = COMPARE_GROUP, .help = "Show how far it is."},
    {.name = "quiet", .short_name = 'q', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = COMPARE_OFFSET(quiet), .group = COMPARE_GROUP,
     .help = "Print nothing; the exit status tells."},
    {.name = "force-share", .short_name = 'U', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = COMPARE_OFFSET(force_share), .group = COMPARE_GROUP,
     .help = "Look on though another program writes an image."},
};
/* clang-format on */

/* --- one range --- */

static int compare_differ(const struct compare *compare, const char *before, uint64_t offset,
                          const char *after)
{
    if (!compare->options->quiet)
        printf("%s %" PRIu64 "%s\n", before, offset, after);
    return COMPARE_DIFFERENT;
}

static int compare_fail(enum compare_status status, const struct vblk_image *image, uint64_t offset,
                        int ret)
{
    return img_fail_text((int)status, "%s: cannot be %s at %" PRIu64 ": %s", image->storage->path,
                         status == COMPARE_NOT_READ ? "read" : "mapped", offset, g_strerror(-ret));
}

/* What a range of one image has to say without being read. */
struct compare_side {
    struct img_layer_extent extent;
    bool is_zero;
};

static int compare_look(struct vblk_image *image, uint64_t offset, uint64_t len,
                        struct compare_side *side)
{
    int ret = img_layers_map(image, offset, len, &side->extent);

    side->is_zero = ret == 0 && !side->extent.is_data;
    return ret;
}

/* Reads what has data; the other side's zeros need no buffer. *ret_offset is the first sector that
 * differs. */
static int compare_contents(struct compare *compare, const struct compare_side sides[2],
                            uint64_t offset, uint64_t len)
{
    for (unsigned i = 0; i < 2; i++) {
        int ret = 0;

        if (sides[i].is_zero)
            memset(compare->bufs[i], 0, len);
        else
            ret = vblk_image_read(compare->images[i], compare->bufs[i], len, offset);
        if (ret < 0)
            return compare_fail(COMPARE_NOT_READ, compare->images[i], offset, ret);
    }
    if (memcmp(compare->bufs[0], compare->bufs[1], len) == 0)
        return COMPARE_SAME;
    for (uint64_t at = 0; at < len; at += 512)
        if (memcmp(compare->bufs[0] + at, compare->bufs[1] + at, MIN(512, len - at)) != 0)
            return compare_differ(compare, "Content mismatch at offset", offset + at, "!");
    return COMPARE_SAME;
}

/* The next range that both have alike; its length in *ret_len. */
static int compare_next(struct compare *compare, uint64_t offset, uint64_t end, uint64_t *ret_len)
{
    struct compare_side sides[2];
    uint64_t len = end - offset;

    for (unsigned i = 0; i < 2; i++) {
        int ret = compare_look(compare->images[i], offset, len, &sides[i]);

        if (ret < 0)
            return compare_fail(COMPARE_NOT_MAPPED, compare->images[i], offset, ret);
        len = sides[i].extent.len;
    }
    if (compare->options->strict &&
        (sides[0].extent.is_present != sides[1].extent.is_present ||
         sides[0].extent.is_compressed != sides[1].extent.is_compressed ||
         sides[0].extent.is_hole != sides[1].extent.is_hole ||
         sides[0].is_zero != sides[1].is_zero)) {
        *ret_len = len;
        return compare_differ(compare, "Strict mode: Offset", offset, " block status mismatch!");
    }
    if (sides[0].is_zero && sides[1].is_zero) {
        *ret_len = len;
        return COMPARE_SAME;
    }
    *ret_len = MIN(len, COMPARE_CHUNK);
    return compare_contents(compare, sides, offset, *ret_len);
}

/* --- all of it --- */

/* What only the larger one has must be zeros. */
static int compare_rest(struct compare *compare, uint64_t offset)
{
    unsigned larger = compare->images[1]->size > compare->images[0]->size;
    struct vblk_image *image = compare->images[larger];
    uint64_t len;

    for (; offset < image->size; offset += len) {
        struct img_layer_extent extent;
        int ret = img_layers_map(image, offset, MIN(image->size - offset, COMPARE_CHUNK), &extent);

        if (ret < 0)
            return compare_fail(COMPARE_NOT_MAPPED, image, offset, ret);
        len = extent.len;
        if (!extent.is_data)
            continue;
        ret = vblk_image_read(image, compare->bufs[0], len, offset);
        if (ret < 0)
            return compare_fail(COMPARE_NOT_READ, image, offset, ret);
        for (uint64_t at = 0; at < len; at += 512)
            if (!img_is_zero(compare->bufs[0] + at, MIN(512, len - at)))
                return compare_differ(compare, "Content mismatch at offset", offset + at, "!");
    }
    return COMPARE_SAME;
}

static int compare_images(struct compare *compare)
{
    uint64_t sizes[2] = {compare->images[0]->size, compare->images[1]->size};
    uint64_t common = MIN(sizes[0], sizes[1]), len = 0;
    struct img_progress progress;
    int status = COMPARE_SAME;

    if (sizes[0] != sizes[1] && compare->options->strict) {
        if (!compare->options->quiet)
            puts("Strict mode: Image size mismatch!");
        return COMPARE_DIFFERENT;
    }
    img_progress_begin(&progress, compare->options->progress && !compare->options->quiet, common);
    for (uint64_t at = 0; at < common && status == COMPARE_SAME; at += len) {
        status = compare_next(compare, at, common, &len);
        img_progress_add(&progress, len);
    }
    img_progress_end(&progress, status == COMPARE_SAME);
    if (status == COMPARE_SAME && sizes[0] != sizes[1]) {
        if (!compare->options->quiet)
            puts("Warning: Image size mismatch!");
        status = compare_rest(compare, common);
    }
    if (status == COMPARE_SAME && !compare->options->quiet)
        puts("Images are identical.");
    return status;
}

static int compare_run(struct img_run *run)
{
    const struct compare_options *options = run->options;
    struct compare compare = {.options = options};
    GError *error = NULL;
    int status = COMPARE_SAME;

    for (unsigned i = 0; i < 2 && status == COMPARE_SAME; i++) {
        compare.images[i] =
            img_open(run->args[i], options->formats[i], options->cache,
                     run->open_flags | (options->force_share ? IMG_OPEN_SHARE : 0), &error);
        compare.bufs[i] = g_malloc(COMPARE_CHUNK);
        if (!compare.images[i])
            status = img_fail(COMPARE_NOT_OPENED, error);
    }
    if (status == COMPARE_SAME)
        status = compare_images(&compare);
    for (unsigned i = 0; i < 2; i++) {
        vblk_image_close(compare.images[i]);
        g_free(compare.bufs[i]);
    }
    return status;
}

const struct img_command img_compare = {
    .name = "compare",
    .usage = "[-f FORMAT] [-F FORMAT] [-T MODE] [-s] [-p] [-q] [-U] FILE FILE",
    .help = "Tells whether two disks have the same contents.",
    .rows = compare_rows,
    .n_rows = G_N_ELEMENTS(compare_rows),
    .options_len = sizeof(struct compare_options),
    .min_args = 2,
    .max_args = 2,
    .run = compare_run,
};
