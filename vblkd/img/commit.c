/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vblk-img commit: what an image has in front of a backing image goes into that one. The image is
 * emptied only when the backing image has everything on the disk, so that an end at any time leaves
 * the image reading as before.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "vblkd/format/qcow2-backing.h"
#include "vblkd/format/qcow2-discard.h"
#include "vblkd/img/commands.h"
#include "vblkd/img/layers.h"
#include "vblkd/img/open-image.h"
#include "vblkd/img/progress.h"
#include "vblkd/img/rate.h"
#include "vblkd/img/size.h"

#define COMMIT_CHUNK  (UINT64_C(2) << 20)
#define COMMIT_SECTOR UINT64_C(512)

struct commit_options {
    char *format, *cache, *base;
    bool keep, progress, quiet;
    uint64_t rate;
};

#define COMMIT_OFFSET(field) offsetof(struct commit_options, field)
#define COMMIT_GROUP         "commit"

static bool commit_parse_rate(void *target, const char *name, const char *value, GError **error)
{
    return img_size_parse(value, &((struct commit_options *)target)->rate, error);
}

/* clang-format off */
static const struct vu_option commit_rows[] = {
    {.name = "format", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = COMMIT_OFFSET(format), .group = COMMIT_GROUP,
     .help = "The image's format; without it the image tells."},
    {.name = "base", .short_name = 'b', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FILE", .offset = COMMIT_OFFSET(base), .group = COMMIT_GROUP,
     .help = "Into this image of the chain, by default the next one, and with -d: those between "
             "are of no use afterwards."},
    {.name = "keep", .short_name = 'd', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = COMMIT_OFFSET(keep), .group = COMMIT_GROUP,
     .help = "Do not empty the image: it is going to be deleted."},
    {.name = "cache", .short_name = 't', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "MODE", .offset = COMMIT_OFFSET(cache), .group = COMMIT_GROUP,
     .help = "How the images are opened, as vblkd's cache modes; writeback by default."},
    {.name = "rate-limit", .short_name = 'r', .is_long = true, .type = VU_OPTION_CALL,
     .parse = commit_parse_rate, .metavar = "SIZE", .group = COMMIT_GROUP,
     .help = "Copy no more bytes than that in a second."},
    {.name = "progress", .short_name = 'p', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = COMMIT_OFFSET(progress), .group = COMMIT_GROUP, .help = "Show how far it is."},
    {.name = "quiet", .short_name = 'q', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = COMMIT_OFFSET(quiet), .group = COMMIT_GROUP, .help = "Print nothing."},
    {.name = "drop", .is_long = true, .type = VU_OPTION_FLAG, .offset = COMMIT_OFFSET(keep)},
};
/* clang-format on */

/* --- the chain --- */

static bool commit_is_file(const struct vblk_image *image, const char *path)
{
    struct stat named, opened;

    return path && stat(path, &named) == 0 && fstat(image->storage->fd, &opened) == 0 &&
           named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

/* How far behind the image `base` lies (NULL: the next one); 0 with *error where it does not. */
static unsigned commit_find_base(struct vblk_image *image, const char *base, GError **error)
{
    const char *path = image->storage->path;
    g_autofree char *beside = base ? qcow2_backing_path(path, base, NULL) : NULL;
    unsigned depth = 1;

    if (!image->backing) {
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: has no backing image", path);
        return 0;
    }
    for (image = image->backing; image; image = image->backing, depth++)
        if (!base || commit_is_file(image, base) || commit_is_file(image, beside))
            return depth;
    g_set_error(error, VU_OPTION_ERROR, 0, "%s: does not lie behind %s", base, path);
    return 0;
}

/* The image with its chain, of which the image and the base are to be written. */
static struct vblk_image *commit_open(const struct commit_options *options, const char *path,
                                      unsigned flags, unsigned *ret_depth, GError **error)
{
    struct vblk_image *image = img_open(path, options->format, options->cache, flags, error);
    unsigned depth = image ? commit_find_base(image, options->base, error) : 0;

    vblk_image_close(image);
    if (depth == 0)
        return NULL;
    *ret_depth = depth;
    return img_open_chain(path, options->format, options->cache, flags | IMG_OPEN_WRITE, depth,
                          error);
}

static struct vblk_image *commit_base(struct vblk_image *image, unsigned depth)
{
    for (; image && depth > 0; depth--)
        image = image->backing;
    return image;
}

/* --- copying --- */

struct commit {
    struct vblk_image *image, *base;
    unsigned depth; /* of the base */
    uint8_t *buf;   /* COMMIT_CHUNK */
    struct img_progress progress;
    struct img_rate rate;
};

/* What the images in front of the base have at `at`, if anything; how much in *ret_len. */
static int commit_extent(struct commit *commit, uint64_t at, uint64_t len, uint64_t *ret_len)
{
    struct img_layer_extent extent;
    int ret = img_layers_map(commit->image, at, len, &extent);

    if (ret < 0)
        return ret;
    *ret_len = extent.len;
    /* What no image has is zeros by the end of the last one that was asked. */
    if (extent.depth + !extent.is_present >= commit->depth)
        return 0;
    if (!extent.is_data)
        return vblk_image_zero(commit->base, at, extent.len, true);
    img_rate_wait(&commit->rate, extent.len);
    ret = vblk_image_read(commit->image, commit->buf, extent.len, at);
    return ret < 0 ? ret : vblk_image_write(commit->base, commit->buf, extent.len, at);
}

static int commit_copy(struct commit *commit, bool shows_progress)
{
    uint64_t size = commit->image->size;
    int ret = 0;

    img_progress_begin(&commit->progress, shows_progress, size);
    for (uint64_t at = 0, part = 0; at < size && ret == 0; at += part) {
        ret = commit_extent(commit, at, MIN(size - at, COMMIT_CHUNK), &part);
        if (ret == 0)
            img_progress_add(&commit->progress, part);
    }
    if (ret == 0)
        ret = vblk_image_flush(commit->base);
    img_progress_end(&commit->progress, ret == 0);
    return ret;
}

static bool commit_grow_base(const struct commit *commit, GError **error)
{
    uint64_t size = (commit->image->size + COMMIT_SECTOR - 1) & ~(COMMIT_SECTOR - 1);

    return commit->base->size >= commit->image->size ||
           commit->base->format->resize(commit->base, size, error);
}

static bool commit_do(struct commit *commit, const struct commit_options *options, GError **error)
{
    struct vblk_image *image = commit->image, *base = commit->base;
    int ret;

    if (!commit_grow_base(commit, error))
        return false;
    ret = commit_copy(commit, options->progress && !options->quiet);
    if (ret < 0) {
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: cannot be committed to %s: %s",
                    image->storage->path, base->storage->path, g_strerror(-ret));
        return false;
    }
    ret = options->keep || options->base ? 0 : qcow2_forget(image);
    if (ret < 0)
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: is committed, but cannot be emptied: %s",
                    image->storage->path, g_strerror(-ret));
    return ret == 0;
}

static int commit_run(struct img_run *run)
{
    const struct commit_options *options = run->options;
    struct commit commit = {0};
    GError *error = NULL;
    bool is_done;

    commit.image = commit_open(options, run->args[0], run->open_flags, &commit.depth, &error);
    if (!commit.image)
        return img_fail(1, error);
    commit.base = commit_base(commit.image, commit.depth);
    commit.buf = g_malloc(COMMIT_CHUNK);
    img_rate_init(&commit.rate, options->rate);
    is_done = commit.base && commit_do(&commit, options, &error);
    img_rate_finish(&commit.rate);
    g_free(commit.buf);
    vblk_image_close(commit.image);
    if (error)
        return img_fail(1, error);
    if (!is_done)
        return img_fail_text(1, "%s: its chain has changed meanwhile", run->args[0]);
    if (!options->quiet)
        puts("Image committed.");
    return 0;
}

const struct img_command img_commit = {
    .name = "commit",
    .usage = "[-f FORMAT] [-t MODE] [-b BASE] [-r RATE] [-d] [-p] [-q] FILE",
    .help = "Moves what an image changes into its backing image, which grows if need be.",
    .rows = commit_rows,
    .n_rows = G_N_ELEMENTS(commit_rows),
    .options_len = sizeof(struct commit_options),
    .min_args = 1,
    .max_args = 1,
    .run = commit_run,
};
