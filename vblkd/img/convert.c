/* SPDX-License-Identifier: Apache-2.0 */
/* vblk-img convert: a copy of a disk, with what lies behind it, in a new image. */
#include <stdio.h>
#include <string.h>

#include "vblkd/img/commands.h"
#include "vblkd/img/copy.h"
#include "vblkd/img/open-image.h"
#include "vblkd/img/size.h"

#define CONVERT_SECTOR      UINT64_C(512)
#define CONVERT_SPARSE_LEN  4096 /* where nobody said how much */
#define CONVERT_MAX_THREADS 8    /* likewise */

struct convert_options {
    char *format, *output_format, *cache, *source_cache;
    bool progress, quiet, compress, no_create, any_order, force_share;
    int n_threads;
    bool has_sparse_len;
    uint64_t sparse_len;
};

#define CONVERT_OFFSET(field) offsetof(struct convert_options, field)
#define CONVERT_GROUP         "convert"

static bool convert_parse_sparse(void *target, const char *name, const char *value, GError **error)
{
    struct convert_options *options = target;

    if (!img_size_parse(value, &options->sparse_len, error))
        return false;
    options->has_sparse_len = true;
    if (options->sparse_len % CONVERT_SECTOR == 0)
        return true;
    g_set_error(error, VU_OPTION_ERROR, 0, "expected a multiple of 512, or 0, got \"%s\"", value);
    return false;
}

/* clang-format off */
static const struct vu_option convert_rows[] = {
    {.name = "format", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = CONVERT_OFFSET(format), .group = CONVERT_GROUP,
     .help = "The source's format; without it the image tells."},
    {.name = "target-format", .short_name = 'O', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = CONVERT_OFFSET(output_format), .group = CONVERT_GROUP,
     .help = "The target's format: raw (the default) or qcow2."},
    {.name = "compress", .short_name = 'c', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CONVERT_OFFSET(compress), .group = CONVERT_GROUP,
     .help = "Compress the target, by -o compression_type; qcow2 alone."},
    {.name = "no-create", .short_name = 'n', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CONVERT_OFFSET(no_create), .group = CONVERT_GROUP,
     .help = "Write over a target that is there and large enough."},
    {.name = "sparse-size", .short_name = 'S', .is_long = true, .type = VU_OPTION_CALL,
     .parse = convert_parse_sparse, .metavar = "SIZE", .group = CONVERT_GROUP,
     .help = "As many zeros become a hole; 4k by default, 0 for never."},
    {.name = "parallel", .short_name = 'm', .is_long = true, .type = VU_OPTION_INT, .min = 1,
     .max = IMG_COPY_MAX_THREADS, .offset = CONVERT_OFFSET(n_threads), .group = CONVERT_GROUP,
     .help = "How many threads copy; by default two for each processor, at most 8."},
    {.name = "out-of-order", .short_name = 'W', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CONVERT_OFFSET(any_order), .group = CONVERT_GROUP,
     .help = "Without effect: with more than one thread, the order is any."},
    {.name = "cache", .short_name = 't', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "MODE", .offset = CONVERT_OFFSET(cache), .group = CONVERT_GROUP,
     .help = "How the target is opened, as vblkd's cache modes; unsafe by default: when the copy "
             "is done, the host may not have written all of it to the disk."},
    {.name = "source-cache", .short_name = 'T', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "MODE", .offset = CONVERT_OFFSET(source_cache), .group = CONVERT_GROUP,
     .help = "How the source is opened."},
    {.name = "progress", .short_name = 'p', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CONVERT_OFFSET(progress), .group = CONVERT_GROUP, .help = "Show how far it is."},
    {.name = "quiet", .short_name = 'q', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CONVERT_OFFSET(quiet), .group = CONVERT_GROUP, .help = "Print nothing."},
    {.name = "force-share", .short_name = 'U', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CONVERT_OFFSET(force_share), .group = CONVERT_GROUP,
     .help = "Read the source though another program writes it; the copy may be of no use."},
};
/* clang-format on */

static bool convert_fail(GError **error, const char *path, const char *text)
{
    g_set_error(error, VU_OPTION_ERROR, 0, "%s: %s", path, text);
    return false;
}

static bool convert_check(const struct convert_options *options, const struct img_new_image *new,
                          const char *path, GError **error)
{
    if (options->compress && strcmp(options->output_format, "qcow2") != 0)
        return convert_fail(error, path, "-c: only qcow2 has compressed clusters");
    if (options->compress && new->data_file)
        return convert_fail(error, path, "-c: not with an external data file");
    if (new->backing_file)
        return convert_fail(error, path, "a copy has no backing image; see create -b");
    return true;
}

static unsigned convert_n_threads(const struct convert_options *options)
{
    if (options->n_threads > 0)
        return (unsigned)options->n_threads;
    return MIN(2 * g_get_num_processors(), CONVERT_MAX_THREADS);
}

/* Makes the target, unless it is there, and opens it. */
static struct vblk_image *convert_open_target(const struct convert_options *options,
                                              const struct vblk_image *source,
                                              struct img_new_image *new, const char *path,
                                              GError **error)
{
    const char *cache = options->cache ? options->cache : "unsafe";
    struct vblk_image *target;

    if (new->size == UINT64_MAX)
        new->size = (source->size + CONVERT_SECTOR - 1) & ~(CONVERT_SECTOR - 1);
    if (!options->no_create) {
        if (new->size < source->size) {
            convert_fail(error, path, "-o size: smaller than the source");
            return NULL;
        }
        if (!img_new_image_create(path, new, options->output_format, error))
            return NULL;
    }
    target = img_open(path, options->output_format, cache, IMG_OPEN_WRITE, error);
    if (target && target->size < source->size) {
        convert_fail(error, path, "smaller than the source");
        vblk_image_close(target);
        return NULL;
    }
    return target;
}

static int convert_copy(const struct convert_options *options, struct vblk_image *source,
                        struct vblk_image *target)
{
    struct img_progress progress;
    struct img_copy copy = {
        .source = source,
        .target = target,
        .len = source->size,
        .n_threads = convert_n_threads(options),
        .sparse_len = options->has_sparse_len ? options->sparse_len : CONVERT_SPARSE_LEN,
        .target_is_zero = !options->no_create && !target->storage->is_block_device,
        .compresses = options->compress,
        .progress = &progress,
    };
    int ret;

    img_progress_begin(&progress, options->progress && !options->quiet, source->size);
    ret = img_copy_run(&copy);
    if (ret == 0)
        ret = vblk_image_flush(target);
    img_progress_end(&progress, ret == 0);
    if (ret == 0)
        return 0;
    return img_fail_text(1, "%s: cannot be %s: %s",
                         copy.failed_reading ? source->storage->path : target->storage->path,
                         copy.failed_reading ? "read" : "written", g_strerror(-ret));
}

static int convert_run(struct img_run *run)
{
    struct convert_options *options = run->options;
    struct vblk_image *source, *target;
    GError *error = NULL;
    int status;

    if (!options->output_format)
        options->output_format = g_strdup("raw");
    if (!convert_check(options, run->new, run->args[1], &error))
        return img_fail(1, error);
    source = img_open(run->args[0], options->format, options->source_cache,
                      options->force_share ? IMG_OPEN_SHARE : 0, &error);
    if (!source)
        return img_fail(1, error);
    target = convert_open_target(options, source, run->new, run->args[1], &error);
    status = target ? convert_copy(options, source, target) : img_fail(1, error);
    vblk_image_close(target);
    vblk_image_close(source);
    return status;
}

const struct img_command img_convert = {
    .name = "convert",
    .usage = "[-f FORMAT] [-O FORMAT] [-c] [-p] [OPTION]... FILE TARGET",
    .help = "Copies a disk into a new image, of another format too.",
    .rows = convert_rows,
    .n_rows = G_N_ELEMENTS(convert_rows),
    .options_len = sizeof(struct convert_options),
    .min_args = 2,
    .max_args = 2,
    .takes_new_image = true,
    .run = convert_run,
};
