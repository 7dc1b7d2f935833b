/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vblk-img rebase: another image behind an image, which reads as before. What the image has not
 * itself, and the two that lie behind it have differently, is copied into it; only when that is on
 * the disk does the header name the new one, so that an end at any time leaves an image that reads
 * as before.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vblkd/format/qcow2-amend.h"
#include "vblkd/format/qcow2-backing.h"
#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-image.h"
#include "vblkd/img/commands.h"
#include "vblkd/img/open-image.h"
#include "vblkd/img/progress.h"
#include "vblkd/img/zeros.h"

#define REBASE_CHUNK (UINT64_C(2) << 20) /* the largest cluster */

struct rebase_options {
    char *format, *cache, *source_cache, *backing_format;
    const char *backing_file; /* the command line's; NULL: not said; "": none */
    bool unsafe, progress, quiet, force_share, compress;
};

#define REBASE_OFFSET(field) offsetof(struct rebase_options, field)
#define REBASE_GROUP         "rebase"

static bool rebase_parse_backing(void *target, const char *name, const char *value, GError **error)
{
    ((struct rebase_options *)target)->backing_file = value;
    return true;
}

/* clang-format off */
static const struct vu_option rebase_rows[] = {
    {.name = "format", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = REBASE_OFFSET(format), .group = REBASE_GROUP,
     .help = "qcow2; without it the image tells."},
    {.name = "backing", .short_name = 'b', .is_long = true, .type = VU_OPTION_CALL,
     .parse = rebase_parse_backing, .metavar = "NAME", .group = REBASE_GROUP,
     .help = "The image that is to lie behind, as seen from the folder of the image; \"\" for none."},
    {.name = "backing-format", .short_name = 'F', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = REBASE_OFFSET(backing_format), .group = REBASE_GROUP,
     .help = "The format of that image, raw or qcow2."},
    {.name = "unsafe", .short_name = 'u', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = REBASE_OFFSET(unsafe), .group = REBASE_GROUP,
     .help = "Only change the name and the format that the image has for what lies behind it: for "
             "one that was moved, and has the same contents."},
    {.name = "cache", .short_name = 't', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "MODE", .offset = REBASE_OFFSET(cache), .group = REBASE_GROUP,
     .help = "How the image is opened, as vblkd's cache modes; writeback by default."},
    {.name = "source-cache", .short_name = 'T', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "MODE", .offset = REBASE_OFFSET(source_cache), .group = REBASE_GROUP,
     .help = "How the new image behind it is opened."},
    {.name = "progress", .short_name = 'p', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = REBASE_OFFSET(progress), .group = REBASE_GROUP, .help = "Show how far it is."},
    {.name = "quiet", .short_name = 'q', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = REBASE_OFFSET(quiet), .group = REBASE_GROUP, .help = "Print nothing."},
    {.name = "force-share", .short_name = 'U', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = REBASE_OFFSET(force_share), .group = REBASE_GROUP,
     .help = "Read the new image behind it though another program writes that one."},
    {.name = "compress", .short_name = 'c', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = REBASE_OFFSET(compress), .group = REBASE_GROUP,
     .help = "Compress what is copied into the image."},
    {.name = "backing-format", .short_name = 'B', .type = VU_OPTION_STRING,
     .offset = REBASE_OFFSET(backing_format)},
    {.name = "backing-unsafe", .is_long = true, .type = VU_OPTION_FLAG,
     .offset = REBASE_OFFSET(unsafe)},
    {.name = "backing-cache", .is_long = true, .type = VU_OPTION_STRING,
     .offset = REBASE_OFFSET(source_cache)},
};
/* clang-format on */

/* --- copying --- */

struct rebase {
    struct vblk_image *image;
    struct vblk_image *behind;      /* the new one; NULL: none */
    uint8_t *old_bytes, *new_bytes; /* REBASE_CHUNK each */
    uint64_t step;                  /* what is compared, and copied or not, as a whole */
    bool compresses;
};

/* What a range reads as through a chain (NULL: zeros). */
static int rebase_map(struct vblk_image *image, uint64_t at, uint64_t len,
                      struct vblk_extent *ret_extent)
{
    *ret_extent = (struct vblk_extent){.kind = VBLK_EXTENT_ZERO, .len = len};
    if (!image || at >= image->size)
        return 0;
    return vblk_image_map(image, at, MIN(len, image->size - at), VBLK_HOLES, ret_extent, NULL);
}

static int rebase_read(struct vblk_image *image, uint8_t *buf, uint64_t at, uint64_t len)
{
    uint64_t part = !image || at >= image->size ? 0 : MIN(len, image->size - at);

    memset(buf + part, 0, len - part);
    return part > 0 ? vblk_image_read(image, buf, part, at) : 0;
}

/* Whether two extents need not be read to know that they are alike. */
static bool rebase_is_same(const struct vblk_extent *a, const struct vblk_extent *b)
{
    if (a->kind == VBLK_EXTENT_ZERO || b->kind == VBLK_EXTENT_ZERO)
        return a->kind == b->kind;
    return a->kind == VBLK_EXTENT_DATA && b->kind == VBLK_EXTENT_DATA && a->offset == b->offset &&
           vblk_storage_is_same(a->storage, b->storage);
}

enum rebase_step { REBASE_ALIKE, REBASE_COPY, REBASE_ZERO };

/* Of what has been read: what is to be done with the next step. */
static enum rebase_step rebase_judge(const struct rebase *rebase, uint64_t done, uint64_t len)
{
    if (memcmp(rebase->old_bytes + done, rebase->new_bytes + done, len) == 0)
        return REBASE_ALIKE;
    return img_is_zero(rebase->old_bytes + done, len) ? REBASE_ZERO : REBASE_COPY;
}

/* Whole clusters compressed, if they are to be and become smaller. */
static int rebase_write(struct rebase *rebase, uint64_t at, const uint8_t *buf, uint64_t len)
{
    uint64_t step = rebase->compresses ? rebase->step : len;
    int ret = 0;

    for (uint64_t done = 0, part; done < len && ret == 0; done += part) {
        uint64_t offset = at + done, end;

        part = MIN(len - done, step - (rebase->compresses ? offset % step : 0));
        end = offset + part;
        ret = -ENOTSUP;
        if (rebase->compresses && offset % step == 0 &&
            (part == step || end == rebase->image->size))
            ret = qcow2_write_compressed(rebase->image, offset, part, buf + done);
        if (ret == -ENOTSUP)
            ret = vblk_image_write(rebase->image, buf + done, part, offset);
    }
    return ret;
}

static int rebase_take(struct rebase *rebase, enum rebase_step what, uint64_t at, uint64_t done,
                       uint64_t len)
{
    switch (what) {
    case REBASE_ZERO:
        return vblk_image_zero(rebase->image, at + done, len, true);
    case REBASE_COPY:
        return rebase_write(rebase, at + done, rebase->old_bytes + done, len);
    case REBASE_ALIKE:
        break;
    }
    return 0;
}

/* A range that the image has not: neighbouring steps of one kind with one call. */
static int rebase_compare(struct rebase *rebase, uint64_t at, uint64_t len)
{
    int ret = rebase_read(rebase->image, rebase->old_bytes, at, len);

    if (ret == 0)
        ret = rebase_read(rebase->behind, rebase->new_bytes, at, len);
    for (uint64_t done = 0, run; done < len && ret == 0; done += run) {
        enum rebase_step what = rebase_judge(rebase, done, MIN(rebase->step, len - done));

        for (run = MIN(rebase->step, len - done); done + run < len;
             run += MIN(rebase->step, len - done - run))
            if (rebase_judge(rebase, done + run, MIN(rebase->step, len - done - run)) != what)
                break;
        ret = rebase_take(rebase, what, at, done, run);
    }
    return ret;
}

/* [at, at + len), of which the image has nothing: as much as both chains have alike is passed over,
 * else what was looked at is compared. */
static int rebase_unallocated(struct rebase *rebase, uint64_t at, uint64_t len)
{
    uint64_t same = 0;
    int ret;

    while (same < len) {
        struct vblk_extent old, new;

        ret = rebase_map(rebase->image, at + same, len - same, &old);
        if (ret == 0)
            ret = rebase_map(rebase->behind, at + same, old.len, &new);
        if (ret < 0)
            return ret;
        if (!rebase_is_same(&old, &new))
            break;
        same += new.len;
    }
    /* Where it differs, a step begins. */
    same = same == len ? len : same / rebase->step * rebase->step;
    return same < len ? rebase_compare(rebase, at + same, len - same) : 0;
}

static int rebase_copy(struct rebase *rebase, bool shows_progress)
{
    struct vblk_image *image = rebase->image;
    struct img_progress progress;
    int ret = 0;

    img_progress_begin(&progress, shows_progress, image->size);
    for (uint64_t at = 0, len; at < image->size && ret == 0; at += len) {
        struct vblk_extent extent;

        len = MIN(image->size - at, REBASE_CHUNK - at % REBASE_CHUNK);
        ret = image->format->map(image, at, len, 0, &extent);
        if (ret < 0)
            break;
        len = extent.len;
        if (extent.kind == VBLK_EXTENT_BACKING)
            ret = rebase_unallocated(rebase, at, len);
        img_progress_add(&progress, len);
    }
    if (ret == 0)
        ret = vblk_image_flush(image);
    img_progress_end(&progress, ret == 0);
    return ret;
}

/* --- the images --- */

/* NULL: none. */
static const char *rebase_backing_name(const struct rebase_options *options)
{
    return options->backing_file && options->backing_file[0] ? options->backing_file : NULL;
}

static bool rebase_check(const struct rebase_options *options, const struct vblk_image *image,
                         GError **error)
{
    const char *problem = NULL, *format = options->backing_format;

    if (strcmp(image->format->name, "qcow2") != 0)
        problem = "only a qcow2 image has others behind it";
    else if (rebase_backing_name(options) && !format)
        problem = "the format of the new backing image must be said (-F)";
    else if (format && strcmp(format, "raw") != 0 && strcmp(format, "qcow2") != 0)
        problem = "-F: there are raw and qcow2";
    else if (options->compress && qcow2_of(image)->has_data_file)
        problem = "-c: not with an external data file";
    if (problem)
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: %s", image->storage->path, problem);
    return !problem;
}

static bool rebase_open_behind(struct rebase *rebase, const struct rebase_options *options,
                               GError **error)
{
    g_autofree char *path = NULL;

    if (!rebase_backing_name(options))
        return true;
    path = qcow2_backing_path(rebase->image->storage->path, options->backing_file, error);
    if (path)
        rebase->behind = img_open(path, options->backing_format, options->source_cache,
                                  options->force_share ? IMG_OPEN_SHARE : 0, error);
    if (!rebase->behind)
        g_prefix_error(error, "the new backing image: ");
    return rebase->behind != NULL;
}

static bool rebase_make_alike(struct rebase *rebase, const struct rebase_options *options,
                              GError **error)
{
    struct vblk_image *image = rebase->image;
    int ret;

    if (!rebase_open_behind(rebase, options, error))
        return false;
    rebase->compresses = options->compress;
    rebase->step = options->compress ? qcow2_of(image)->cluster_size : image->cluster_size;
    rebase->old_bytes = g_malloc(REBASE_CHUNK);
    rebase->new_bytes = g_malloc(REBASE_CHUNK);
    if (rebase->behind)
        qcow2_expect_backing(image);
    ret = rebase_copy(rebase, options->progress && !options->quiet);
    g_free(rebase->old_bytes);
    g_free(rebase->new_bytes);
    if (ret < 0)
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: cannot be rebased: %s", image->storage->path,
                    g_strerror(-ret));
    return ret == 0;
}

/* Who asked for it sees that nothing was to be copied. */
static void rebase_copy_nothing(bool shows_progress)
{
    struct img_progress progress;

    img_progress_begin(&progress, shows_progress, 1);
    img_progress_end(&progress, true);
}

static bool rebase_do(struct rebase *rebase, const struct rebase_options *options, GError **error)
{
    const char *name = rebase_backing_name(options);

    if (!rebase_check(options, rebase->image, error) ||
        (!options->unsafe && !rebase_make_alike(rebase, options, error)))
        return false;
    if (options->unsafe)
        rebase_copy_nothing(options->progress && !options->quiet);
    if (qcow2_amend_backing(rebase->image, name, options->backing_format, error))
        return true;
    g_prefix_error(error, "%s: ", rebase->image->storage->path);
    return false;
}

static int rebase_run(struct img_run *run)
{
    const struct rebase_options *options = run->options;
    struct rebase rebase = {0};
    GError *error = NULL;
    bool ok;

    if (!options->backing_file && !options->unsafe)
        return img_fail_text(1, "rebase: the new backing image must be said (-b NAME, or -b \"\" "
                                "for none)");
    rebase.image =
        img_open(run->args[0], options->format, options->cache,
                 run->open_flags | IMG_OPEN_WRITE | (options->unsafe ? IMG_OPEN_ALONE : 0), &error);
    ok = rebase.image && rebase_do(&rebase, options, &error);
    vblk_image_close(rebase.behind);
    vblk_image_close(rebase.image);
    return ok ? 0 : img_fail(1, error);
}

const struct img_command img_rebase = {
    .name = "rebase",
    .usage = "[-f FORMAT] [-t MODE] [-T MODE] [-u] [-c] [-p] [-q] [-U] -b NAME [-F FORMAT] FILE",
    .help = "Has another image lie behind an image, which reads as before.",
    .rows = rebase_rows,
    .n_rows = G_N_ELEMENTS(rebase_rows),
    .options_len = sizeof(struct rebase_options),
    .min_args = 1,
    .max_args = 1,
    .run = rebase_run,
};
