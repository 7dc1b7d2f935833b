/* SPDX-License-Identifier: Apache-2.0 */
/* vblk-img amend: other options for an image that is there. What has been done before one of them
 * fails stays done; each leaves an image that reads as before. */
#include <stdio.h>
#include <string.h>

#include "vblkd/format/qcow2-amend.h"
#include "vblkd/img/commands.h"
#include "vblkd/img/new-image.h"
#include "vblkd/img/open-image.h"
#include "vblkd/img/progress.h"
#include "vblkd/img/size.h"

#define AMEND_SECTOR 512

enum { AMEND_UNSAID = 0, AMEND_OFF, AMEND_ON }; /* of the switches */

struct amend_options {
    char *format, *cache;
    bool progress, quiet, force;
    /* -o */
    bool help, says_something;
    unsigned version;                                 /* 0: not to be changed */
    uint64_t size;                                    /* likewise */
    int lazy_refcounts, data_file_raw, refcount_bits; /* likewise */
    char *data_file, *backing_file, *backing_format;
};

#define AMEND_OFFSET(field) offsetof(struct amend_options, field)
#define AMEND_GROUP         "amend"
#define AMEND_KEY_GROUP     "Options that amend can change, -o KEY=VALUE,..."

static bool amend_parse_compat(void *target, const char *name, const char *value, GError **error)
{
    struct amend_options *options = target;

    if (strcmp(value, "0.10") == 0 || strcmp(value, "v2") == 0)
        options->version = 2;
    else if (strcmp(value, "1.1") == 0 || strcmp(value, "v3") == 0)
        options->version = 3;
    else
        g_set_error(error, VU_OPTION_ERROR, 0, "expected 0.10 or 1.1, got \"%s\"", value);
    return options->version != 0;
}

/* Bare, it is on. */
static bool amend_parse_switch(void *target, const char *name, const char *value, GError **error)
{
    struct amend_options *options = target;
    int *field =
        strcmp(name, "data_file_raw") == 0 ? &options->data_file_raw : &options->lazy_refcounts;
    bool is_on;

    if (!img_new_image_parse_switch(value, &is_on, error))
        return false;
    *field = is_on ? AMEND_ON : AMEND_OFF;
    return true;
}

/* Nothing is no size of a disk: it stays as it is then. */
static bool amend_parse_size(void *target, const char *name, const char *value, GError **error)
{
    struct amend_options *options = target;

    options->says_something = true;
    if (!img_size_parse(value, &options->size, error))
        return false;
    if (options->size % AMEND_SECTOR == 0)
        return true;
    g_set_error(error, VU_OPTION_ERROR, 0, "expected a multiple of 512, got \"%s\"", value);
    return false;
}

static bool amend_refuse(void *target, const char *name, const char *value, GError **error)
{
    g_set_error(error, VU_OPTION_ERROR, 0, "can only be said of a new image; see create, convert");
    return false;
}

#define AMEND_FIXED(key)                                                               \
    {                                                                                  \
        .name = key, .in_o_list = true, .type = VU_OPTION_CALL, .parse = amend_refuse, \
        .value_optional = true                                                         \
    }

/* clang-format off */
static const struct vu_option amend_rows[] = {
    {.name = "format", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = AMEND_OFFSET(format), .group = AMEND_GROUP,
     .help = "qcow2; without it the image tells."},
    {.name = "cache", .short_name = 't', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "MODE", .offset = AMEND_OFFSET(cache), .group = AMEND_GROUP,
     .help = "How the image is opened, as vblkd's cache modes; writeback by default."},
    {.name = "force", .is_long = true, .type = VU_OPTION_FLAG, .offset = AMEND_OFFSET(force),
     .group = AMEND_GROUP, .help = "Without effect: it is for encrypted images."},
    {.name = "progress", .short_name = 'p', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = AMEND_OFFSET(progress), .group = AMEND_GROUP, .help = "Show how far it is."},
    {.name = "quiet", .short_name = 'q', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = AMEND_OFFSET(quiet), .group = AMEND_GROUP, .help = "Print nothing."},
    {.name = "compat", .in_o_list = true, .type = VU_OPTION_CALL, .parse = amend_parse_compat,
     .metavar = "0.10|1.1", .group = AMEND_KEY_GROUP,
     .help = "What can read the image: version 2 or 3 of the format. To version 2 it goes only "
             "without what that one has not: bitmaps, data files, extended_l2, other refcount_bits."},
    {.name = "size", .in_o_list = true, .type = VU_OPTION_CALL, .parse = amend_parse_size,
     .metavar = "SIZE", .group = AMEND_KEY_GROUP,
     .help = "The size of the disk. What is cut off is gone."},
    {.name = "lazy_refcounts", .in_o_list = true, .type = VU_OPTION_CALL,
     .parse = amend_parse_switch, .value_optional = true, .metavar = "on|off", .group = AMEND_KEY_GROUP,
     .help = "Whether reference counts may be written late, to be counted anew after a crash."},
    {.name = "refcount_bits", .in_o_list = true, .type = VU_OPTION_INT, .min = 1, .max = 64,
     .offset = AMEND_OFFSET(refcount_bits), .group = AMEND_KEY_GROUP,
     .help = "The width of a reference count: 1 to 64, a power of two."},
    {.name = "data_file", .in_o_list = true, .type = VU_OPTION_STRING, .metavar = "NAME",
     .offset = AMEND_OFFSET(data_file), .group = AMEND_KEY_GROUP,
     .help = "The name of the raw file that holds the data, if there is one already."},
    {.name = "data_file_raw", .in_o_list = true, .type = VU_OPTION_CALL,
     .parse = amend_parse_switch, .value_optional = true, .metavar = "on|off", .group = AMEND_KEY_GROUP,
     .help = "off: the data file alone need no longer be readable as a raw image."},
    {.name = "backing_file", .in_o_list = true, .type = VU_OPTION_STRING, .metavar = "NAME",
     .offset = AMEND_OFFSET(backing_file), .group = AMEND_KEY_GROUP,
     .help = "Only what it is already; rebase changes it."},
    {.name = "backing_fmt", .in_o_list = true, .type = VU_OPTION_STRING, .metavar = "FORMAT",
     .offset = AMEND_OFFSET(backing_format), .group = AMEND_KEY_GROUP,
     .help = "Only what it is already; rebase -u -F changes it."},
    {.name = "help", .in_o_list = true, .type = VU_OPTION_FLAG, .offset = AMEND_OFFSET(help),
     .group = AMEND_KEY_GROUP, .help = "List these and exit."},
    {.name = "?", .in_o_list = true, .type = VU_OPTION_FLAG, .offset = AMEND_OFFSET(help)},
    AMEND_FIXED("cluster_size"),
    AMEND_FIXED("extended_l2"),
    AMEND_FIXED("compression_type"),
    AMEND_FIXED("preallocation"),
};
/* clang-format on */

/* --- checks --- */

static bool amend_says_something(const struct amend_options *options)
{
    return options->version || options->says_something || options->lazy_refcounts ||
           options->refcount_bits || options->data_file || options->data_file_raw ||
           options->backing_file || options->backing_format;
}

static bool amend_check_backing(const struct amend_options *options,
                                const struct qcow2_header *header)
{
    return (!options->backing_file && !options->backing_format) ||
           (g_strcmp0(options->backing_file, header->backing_name) == 0 &&
            g_strcmp0(options->backing_format, header->backing_format) == 0);
}

/* What would fail for sure does so before anything is changed. */
static bool amend_check(const struct amend_options *options, const struct vblk_image *image,
                        GError **error)
{
    const struct qcow2_header *header;
    const char *problem = NULL;
    unsigned version;

    if (strcmp(image->format->name, "qcow2") != 0) {
        g_set_error(error, VU_OPTION_ERROR, 0, "nothing of a %s image can be amended",
                    image->format->name);
        return false;
    }
    header = &qcow2_of(image)->header;
    version = options->version ? options->version : header->version;
    if (!amend_check_backing(options, header))
        problem = "amend does not change what lies behind an image; rebase does";
    else if (options->refcount_bits & (options->refcount_bits - 1))
        problem = "refcount_bits is a power of two from 1 to 64";
    else if (version < 3 && options->refcount_bits && options->refcount_bits != 16)
        problem = "refcount_bits other than 16 need compat=1.1 or later";
    else if (version < 3 && options->lazy_refcounts == AMEND_ON &&
             !(header->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS))
        problem = "lazy_refcounts needs compat=1.1 or later";
    else if (options->data_file_raw == AMEND_ON && !(header->autoclear & QCOW2_AUTOCLEAR_RAW_DATA))
        problem = "data_file_raw can only be said of a new image";
    else if (options->data_file && !qcow2_of(image)->has_data_file)
        problem = "data_file is for images that keep their data in another file";
    else if (options->data_file && options->size)
        problem = "data_file and size cannot be changed at once";
    if (problem)
        g_set_error(error, VU_OPTION_ERROR, 0, "%s", problem);
    return !problem;
}

/* --- changes, in the order in which they are made --- */

static bool amend_upgrade(struct vblk_image *image, const struct amend_options *options,
                          GError **error)
{
    return options->version != 3 || qcow2_upgrade(image, error);
}

static bool amend_data_file(struct vblk_image *image, const struct amend_options *options,
                            GError **error)
{
    return (!options->data_file || qcow2_amend_data_file(image, options->data_file, error)) &&
           (options->data_file_raw != AMEND_OFF || qcow2_amend_data_file_raw(image, false, error));
}

static bool amend_refcounts(struct vblk_image *image, const struct amend_options *options,
                            GError **error)
{
    return options->refcount_bits == 0 ||
           qcow2_amend_refcount_bits(image, (unsigned)options->refcount_bits, error);
}

static bool amend_lazy(struct vblk_image *image, const struct amend_options *options,
                       GError **error)
{
    /* What version 2 has not is not switched on to be switched off. */
    if (options->lazy_refcounts == AMEND_UNSAID || qcow2_of(image)->header.version < 3 ||
        options->version == 2)
        return true;
    return qcow2_amend_lazy_refcounts(image, options->lazy_refcounts == AMEND_ON, error);
}

static bool amend_size(struct vblk_image *image, const struct amend_options *options,
                       GError **error)
{
    return options->size == 0 || options->size == image->size ||
           image->format->resize(image, options->size, error);
}

static bool amend_downgrade(struct vblk_image *image, const struct amend_options *options,
                            GError **error)
{
    return options->version != 2 || qcow2_downgrade(image, error);
}

static bool (*const amend_steps[])(struct vblk_image *image, const struct amend_options *options,
                                   GError **error) = {
    amend_upgrade, amend_data_file, amend_refcounts, amend_lazy, amend_size, amend_downgrade,
};

static bool amend_do(struct vblk_image *image, const struct amend_options *options, GError **error)
{
    struct img_progress progress;
    bool ok = amend_check(options, image, error);

    if (!ok)
        return false;
    img_progress_begin(&progress, options->progress && !options->quiet, G_N_ELEMENTS(amend_steps));
    for (size_t i = 0; i < G_N_ELEMENTS(amend_steps) && ok; i++) {
        ok = amend_steps[i](image, options, error);
        img_progress_add(&progress, 1);
    }
    img_progress_end(&progress, ok);
    return ok;
}

static int amend_run(struct img_run *run)
{
    const struct amend_options *options = run->options;
    unsigned flags = run->open_flags | IMG_OPEN_WRITE;
    struct vblk_image *image;
    GError *error = NULL;
    bool ok;

    if (options->help)
        return img_command_help(&img_amend);
    if (run->n_args != 1)
        return img_fail_text(1, "amend: usage: vblk-img amend %s", img_amend.usage);
    if (!amend_says_something(options))
        return img_fail_text(1, "amend: what is to be changed must be said (-o); -o help lists it");
    /* A data file that has another name now cannot be opened by the old one. */
    if (options->data_file)
        flags |= IMG_OPEN_ALONE;
    image = img_open(run->args[0], options->format, options->cache, flags, &error);
    if (!image)
        return img_fail(1, error);
    ok = amend_do(image, options, &error);
    vblk_image_close(image);
    if (ok)
        return 0;
    g_prefix_error(&error, "%s: ", run->args[0]);
    return img_fail(1, error);
}

const struct img_command img_amend = {
    .name = "amend",
    .usage = "[-f FORMAT] [-t MODE] [-p] [-q] [--force] -o KEY=VALUE,... FILE",
    .help = "Changes options of an image.",
    .rows = amend_rows,
    .n_rows = G_N_ELEMENTS(amend_rows),
    .options_len = sizeof(struct amend_options),
    .min_args = 0,
    .max_args = 1,
    .run = amend_run,
};
