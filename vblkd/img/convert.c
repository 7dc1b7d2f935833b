/* SPDX-License-Identifier: Apache-2.0 */
/* vblk-img convert: a copy of a disk, with what lies behind it, in a new image. */
#include <stdio.h>
#include <string.h>

#include "vblkd/img/commands.h"
#include "vblkd/img/concat.h"
#include "vblkd/img/convert-bitmaps.h"
#include "vblkd/img/copy.h"
#include "vblkd/img/open-image.h"
#include "vblkd/img/open-snapshot.h"
#include "vblkd/img/size.h"

#define CONVERT_SECTOR      UINT64_C(512)
#define CONVERT_SPARSE_LEN  4096 /* where nobody said how much */
#define CONVERT_MAX_SPARSE  (UINT64_C(16) << 20)
#define CONVERT_MAX_THREADS 8 /* likewise */
#define CONVERT_MAX_SOURCES 1024

struct convert_options {
    char *format, *output_format, *cache, *source_cache, *backing_file, *backing_format, *snapshot;
    bool progress, quiet, compress, no_create, any_order, force_share;
    bool target_image_opts, target_is_zero, bitmaps, skip_broken_bitmaps, salvage, offload;
    int n_threads;
    bool has_sparse_len;
    uint64_t sparse_len, rate;
};

/* One use. */
struct convert {
    const struct convert_options *options;
    struct img_run *run;
    struct vblk_image *source, *target;
    const char *source_path, *target_path; /* for messages */
    bool is_backed;                        /* the target has a backing image */
};

#define CONVERT_OFFSET(field) offsetof(struct convert_options, field)
#define CONVERT_GROUP         "convert"

static bool convert_parse_sparse(void *target, const char *name, const char *value, GError **error)
{
    struct convert_options *options = target;

    if (!img_size_parse(value, &options->sparse_len, error))
        return false;
    options->has_sparse_len = true;
    if (options->sparse_len % CONVERT_SECTOR == 0 && options->sparse_len <= CONVERT_MAX_SPARSE)
        return true;
    g_set_error(error, VU_OPTION_ERROR, 0, "expected a multiple of 512 up to 16M, or 0, got \"%s\"",
                value);
    return false;
}

static bool convert_parse_rate(void *target, const char *name, const char *value, GError **error)
{
    return img_size_parse(value, &((struct convert_options *)target)->rate, error);
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
    {.name = "backing", .short_name = 'B', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "NAME", .offset = CONVERT_OFFSET(backing_file), .group = CONVERT_GROUP,
     .help = "The target has that image behind it, which must read as what lies behind the source: "
             "only what the source has itself is copied."},
    {.name = "backing-format", .short_name = 'F', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = CONVERT_OFFSET(backing_format), .group = CONVERT_GROUP,
     .help = "With -B: the format of that image."},
    {.name = "snapshot", .short_name = 'l', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "SNAPSHOT", .offset = CONVERT_OFFSET(snapshot), .group = CONVERT_GROUP,
     .help = "Copy what an internal snapshot has kept: its ID or name, or "
             "snapshot.id=ID,snapshot.name=NAME."},
    {.name = "bitmaps", .is_long = true, .type = VU_OPTION_FLAG, .offset = CONVERT_OFFSET(bitmaps),
     .group = CONVERT_GROUP, .help = "Copy the persistent bitmaps of the source too."},
    {.name = "skip-broken-bitmaps", .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CONVERT_OFFSET(skip_broken_bitmaps), .group = CONVERT_GROUP,
     .help = "With --bitmaps: pass over those that are inconsistent."},
    {.name = "no-create", .short_name = 'n', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CONVERT_OFFSET(no_create), .group = CONVERT_GROUP,
     .help = "Write over a target that is there and large enough."},
    {.name = "target-is-zero", .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CONVERT_OFFSET(target_is_zero), .group = CONVERT_GROUP,
     .help = "With -n: the target reads as zeros, which need not be written then."},
    {.name = "target-image-opts", .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CONVERT_OFFSET(target_image_opts), .group = CONVERT_GROUP,
     .help = "With -n: the target is named as with --image-opts."},
    {.name = "sparse-size", .short_name = 'S', .is_long = true, .type = VU_OPTION_CALL,
     .parse = convert_parse_sparse, .metavar = "SIZE", .group = CONVERT_GROUP,
     .help = "As many zeros become a hole; 4k by default, 0 for never."},
    {.name = "parallel", .short_name = 'm', .is_long = true, .type = VU_OPTION_INT, .min = 1,
     .max = IMG_COPY_MAX_THREADS, .offset = CONVERT_OFFSET(n_threads), .group = CONVERT_GROUP,
     .help = "How many threads copy; by default one for each processor, two with -c, at most 8, "
             "and 8 where the target is on a disk, past the host's page cache."},
    {.name = "out-of-order", .short_name = 'W', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CONVERT_OFFSET(any_order), .group = CONVERT_GROUP,
     .help = "Without effect: with more than one thread, the order is any."},
    {.name = "copy-range", .short_name = 'C', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CONVERT_OFFSET(offload), .group = CONVERT_GROUP,
     .help = "Have the kernel copy from file to file, which some file systems do by sharing; zeros in "
             "data are not looked for then."},
    {.name = "salvage", .is_long = true, .type = VU_OPTION_FLAG, .offset = CONVERT_OFFSET(salvage),
     .group = CONVERT_GROUP,
     .help = "Go on where the source cannot be read, with zeros and a warning for each sector."},
    {.name = "rate-limit", .short_name = 'r', .is_long = true, .type = VU_OPTION_CALL,
     .parse = convert_parse_rate, .metavar = "SIZE", .group = CONVERT_GROUP,
     .help = "Copy no more bytes than that in a second."},
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
    {.name = "source-format", .is_long = true, .type = VU_OPTION_STRING,
     .offset = CONVERT_OFFSET(format)},
    {.name = "backing", .short_name = 'b', .type = VU_OPTION_STRING,
     .offset = CONVERT_OFFSET(backing_file)},
    {.name = "oob-writes", .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CONVERT_OFFSET(any_order)},
    {.name = "copy-range-offloading", .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CONVERT_OFFSET(offload)},
    {.name = "target-cache", .is_long = true, .type = VU_OPTION_STRING,
     .offset = CONVERT_OFFSET(cache)},
};
/* clang-format on */

/* --- what does not go together --- */

/* NULL: all does. */
static const char *convert_find_mistake(const struct convert_options *options,
                                        const struct img_new_image *new, unsigned n_sources)
{
    bool is_qcow2 = strcmp(options->output_format, "qcow2") == 0;
    const struct {
        bool is_wrong;
        const char *text;
    } mistakes[] = {
        {options->compress && !is_qcow2 && !options->target_image_opts,
         "-c: only qcow2 has compressed clusters"},
        {options->compress && new->data_file, "-c: not with an external data file"},
        {options->compress && new->preallocation, "-c and preallocation exclude each other"},
        {options->offload && options->compress, "-C and -c exclude each other"},
        {options->offload && options->has_sparse_len, "-C and -S exclude each other"},
        {options->target_is_zero && !options->no_create, "--target-is-zero needs -n"},
        {options->target_is_zero && new->backing_file,
         "--target-is-zero: not of a target with a backing image"},
        {options->target_image_opts && !options->no_create, "--target-image-opts needs -n"},
        {options->skip_broken_bitmaps && !options->bitmaps,
         "--skip-broken-bitmaps goes with --bitmaps"},
        {new->backing_format && !new->backing_file && !options->no_create, "-F goes with -B"},
        {new->backing_file && !new->backing_format && !options->no_create,
         "the format of the backing image must be said (-F)"},
        {n_sources > 1 && new->backing_file,
         "several disks behind each other cannot have one backing image"},
        {n_sources > 1 && options->snapshot, "-l goes with one source"},
        {n_sources > 1 && options->bitmaps, "--bitmaps goes with one source"},
        {options->bitmaps && !is_qcow2 && !options->target_image_opts,
         "--bitmaps: only qcow2 has bitmaps"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(mistakes); i++)
        if (mistakes[i].is_wrong)
            return mistakes[i].text;
    return NULL;
}

static bool convert_fail(GError **error, const char *path, const char *text)
{
    g_set_error(error, VU_OPTION_ERROR, 0, "%s: %s", path, text);
    return false;
}

/* --- the images --- */

static struct vblk_image *convert_open_one(const struct convert *convert, const char *path,
                                           GError **error)
{
    const struct convert_options *options = convert->options;
    struct vblk_image *image =
        img_open(path, options->format, options->source_cache,
                 convert->run->open_flags | (options->force_share ? IMG_OPEN_SHARE : 0), error);

    /* Locks do not tell of it with -U. */
    if (image && !options->no_create &&
        !img_open_spares(image, convert->target_path, convert->run->new->data_file, error))
        g_clear_pointer(&image, vblk_image_close);
    return image;
}

static bool convert_open_source(struct convert *convert, GError **error)
{
    const struct convert_options *options = convert->options;
    struct vblk_image *images[CONVERT_MAX_SOURCES];
    unsigned n_sources = convert->run->n_args - 1, n = 0;

    while (n < n_sources) {
        images[n] = convert_open_one(convert, convert->run->args[n], error);
        if (!images[n])
            break;
        n++;
    }
    if (n == n_sources) {
        convert->source = n > 1 ? img_concat(images, n) : images[0];
        return !options->snapshot || img_view_snapshot(convert->source, options->snapshot, error);
    }
    while (n > 0)
        vblk_image_close(images[--n]);
    return false;
}

static bool convert_create_target(struct convert *convert, GError **error)
{
    struct img_new_image *new = convert->run->new;
    const char *path = convert->target_path;

    if (new->size == UINT64_MAX)
        new->size = (convert->source->size + CONVERT_SECTOR - 1) & ~(CONVERT_SECTOR - 1);
    if (new->size < convert->source->size)
        return convert_fail(error, path, "-o size: smaller than the source");
    if (new->backing_file && !img_open_look_behind(path, new, error))
        return false;
    new->unflushed = true;
    return img_new_image_create(path, new, convert->options->output_format, error);
}

/* Makes the target, unless it is there, and opens it. */
static bool convert_open_target(struct convert *convert, GError **error)
{
    const struct convert_options *options = convert->options;
    const char *cache = options->cache ? options->cache : "unsafe";
    bool has_opts = options->target_image_opts;

    if (!options->no_create && !convert_create_target(convert, error))
        return false;
    convert->target = img_open(convert->target_path, has_opts ? NULL : options->output_format,
                               cache, IMG_OPEN_WRITE | (has_opts ? IMG_OPEN_OPTS : 0), error);
    if (!convert->target)
        return false;
    if (convert->target->size < convert->source->size)
        return convert_fail(error, convert->target_path, "smaller than the source");
    if (strcmp(convert->target->format->name, "qcow2") != 0 &&
        (options->compress || options->bitmaps))
        return convert_fail(error, convert->target_path, "-c and --bitmaps are for qcow2");
    convert->is_backed = convert->run->new->backing_file != NULL;
    return true;
}

/* --- copying --- */

static unsigned convert_n_threads(const struct convert *convert)
{
    const struct vblk_storage *target = convert->target->storage;

    if (convert->options->n_threads > 0)
        return (unsigned)convert->options->n_threads;
    if (vblk_cache_is_direct(target->cache) && !target->is_in_memory)
        return CONVERT_MAX_THREADS;
    /* Those that only copy would wait for each other at the target's file. */
    return MIN(g_get_num_processors() * (convert->options->compress ? 2 : 1), CONVERT_MAX_THREADS);
}

/* From where on the target reads as zeros before anything is copied. */
static uint64_t convert_zero_from(const struct convert *convert)
{
    const struct convert_options *options = convert->options;
    const struct vblk_image *target = convert->target;
    bool is_raw = strcmp(target->format->name, "raw") == 0;

    if (options->no_create)
        return options->target_is_zero ? 0 : UINT64_MAX;
    /* What is set aside on a device has what the device has. */
    if (target->storage->is_block_device && (is_raw || convert->run->new->preallocation))
        return UINT64_MAX;
    return target->backing ? target->backing->size : 0;
}

static bool convert_copy(struct convert *convert, GError **error)
{
    const struct convert_options *options = convert->options;
    struct img_progress progress;
    struct img_copy copy = {
        .source = convert->source,
        .target = convert->target,
        .len = convert->source->size,
        .n_threads = convert_n_threads(convert),
        .sparse_len = options->has_sparse_len ? options->sparse_len : CONVERT_SPARSE_LEN,
        .zero_from = convert_zero_from(convert),
        .compresses = options->compress,
        .is_backed = convert->is_backed,
        .salvages = options->salvage,
        .is_quiet = options->quiet,
        .offloads = options->offload,
        .rate = options->rate,
        .progress = &progress,
    };
    int ret;

    img_progress_begin(&progress, options->progress && !options->quiet, copy.len);
    ret = img_copy_run(&copy);
    if (ret == 0)
        ret = vblk_image_flush(convert->target);
    img_progress_end(&progress, ret == 0);
    if (ret < 0)
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: cannot be %s: %s",
                    copy.failed_reading ? convert->source_path : convert->target_path,
                    copy.failed_reading ? "read" : "written", g_strerror(-ret));
    return ret == 0;
}

static bool convert_do(struct convert *convert, GError **error)
{
    const struct convert_options *options = convert->options;

    return convert_open_source(convert, error) &&
           (!options->bitmaps ||
            img_convert_bitmaps_check(convert->source, options->skip_broken_bitmaps, error)) &&
           convert_open_target(convert, error) && convert_copy(convert, error) &&
           (!options->bitmaps || img_convert_bitmaps(convert->source, convert->target, error));
}

static void convert_take(char **from, char **to)
{
    if (*from) {
        g_free(*to);
        *to = g_steal_pointer(from);
    }
}

static int convert_run(struct img_run *run)
{
    struct convert_options *options = run->options;
    struct convert convert = {
        .options = options,
        .run = run,
        .source_path = run->args[0],
        .target_path = run->args[run->n_args - 1],
    };
    const char *mistake;
    GError *error = NULL;
    bool ok;

    if (options->target_image_opts && options->output_format)
        return img_fail_text(1, "convert: --target-image-opts says the format, and excludes -O");
    if (options->no_create && img_new_image_is_said(run->new))
        return img_fail_text(1, "convert: -o is for an image that is made, which -n does not");
    if (!options->output_format)
        options->output_format = g_strdup("raw");
    convert_take(&options->backing_file, &run->new->backing_file);
    convert_take(&options->backing_format, &run->new->backing_format);
    mistake = convert_find_mistake(options, run->new, run->n_args - 1);
    if (mistake)
        return img_fail_text(1, "convert: %s", mistake);
    ok = convert_do(&convert, &error);
    vblk_image_close(convert.target);
    vblk_image_close(convert.source);
    return ok ? 0 : img_fail(1, error);
}

const struct img_command img_convert = {
    .name = "convert",
    .usage = "[-f FORMAT] [-O FORMAT] [-c] [-p] [OPTION]... FILE... TARGET",
    .help = "Copies a disk, or several behind each other, into an image of any format.",
    .rows = convert_rows,
    .n_rows = G_N_ELEMENTS(convert_rows),
    .options_len = sizeof(struct convert_options),
    .min_args = 2,
    .max_args = CONVERT_MAX_SOURCES + 1,
    .takes_new_image = true,
    .new_format_offset = CONVERT_OFFSET(output_format),
    .run = convert_run,
};
