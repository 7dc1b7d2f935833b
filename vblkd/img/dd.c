/* SPDX-License-Identifier: Apache-2.0 */
/* vblk-img dd: a part of a disk in a new image, with the operands of dd(1). */
#include <string.h>

#include "vblkd/img/commands.h"
#include "vblkd/img/copy.h"
#include "vblkd/img/open-image.h"
#include "vblkd/img/size.h"

#define DD_BLOCK      512
#define DD_SPARSE_LEN 4096
#define DD_THREADS    2

struct dd_options {
    char *format, *output_format;
    bool force_share;
};

/* KEY=VALUE */
struct dd_operands {
    const char *source, *target;
    uint64_t block_len, skip, count; /* count: UINT64_MAX: to the end */
};

#define DD_OFFSET(field) offsetof(struct dd_options, field)
#define DD_GROUP         "dd"

/* clang-format off */
static const struct vu_option dd_rows[] = {
    {.name = "format", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = DD_OFFSET(format), .group = DD_GROUP,
     .help = "The source's format; without it the image tells."},
    {.name = "target-format", .short_name = 'O', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = DD_OFFSET(output_format), .group = DD_GROUP,
     .help = "The target's format: raw (the default) or qcow2."},
    {.name = "force-share", .short_name = 'U', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = DD_OFFSET(force_share), .group = DD_GROUP,
     .help = "Read the source though another program writes it."},
};
/* clang-format on */

static bool dd_parse_one(struct dd_operands *operands, const char *arg, GError **error)
{
    const struct {
        const char *key;
        const char **text;
        uint64_t *size;
    } keys[] = {
        {"if=", &operands->source, NULL},    {"of=", &operands->target, NULL},
        {"bs=", NULL, &operands->block_len}, {"skip=", NULL, &operands->skip},
        {"count=", NULL, &operands->count},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        const char *value = arg + strlen(keys[i].key);

        if (!g_str_has_prefix(arg, keys[i].key))
            continue;
        if (keys[i].text) {
            *keys[i].text = value;
            return true;
        }
        if (img_size_parse(value, keys[i].size, error))
            return true;
        g_prefix_error(error, "%s: ", arg);
        return false;
    }
    g_set_error(error, VU_OPTION_ERROR, 0, "%s: expected if=, of=, bs=, count= or skip=", arg);
    return false;
}

static bool dd_parse(struct dd_operands *operands, char **args, GError **error)
{
    *operands = (struct dd_operands){.block_len = DD_BLOCK, .count = UINT64_MAX};
    for (; *args; args++)
        if (!dd_parse_one(operands, *args, error))
            return false;
    if (operands->source && operands->target && operands->block_len > 0 &&
        operands->block_len <= INT32_MAX)
        return true;
    g_set_error(error, VU_OPTION_ERROR, 0,
                "dd: expected if=FILE and of=FILE, and a bs of 1 to 2147483647");
    return false;
}

/* blocks * block_len, at most max. */
static uint64_t dd_multiply(uint64_t blocks, uint64_t block_len, uint64_t max)
{
    return blocks > max / block_len ? max : blocks * block_len;
}

static int dd_copy(const struct dd_options *options, const struct dd_operands *operands,
                   struct vblk_image *source, struct img_new_image *new)
{
    uint64_t offset = dd_multiply(operands->skip, operands->block_len, source->size);
    uint64_t len = dd_multiply(operands->count, operands->block_len, source->size - offset);
    const char *format = options->output_format ? options->output_format : "raw";
    struct img_progress progress;
    struct img_copy copy = {
        .source = source,
        .source_offset = offset,
        .len = len,
        .n_threads = DD_THREADS,
        .sparse_len = DD_SPARSE_LEN,
        .progress = &progress,
    };
    GError *error = NULL;
    int ret;

    /* An empty image may be less than was thought of. */
    if (operands->skip > source->size / operands->block_len)
        img_warn("%s: ends before what skip= passes over: nothing is copied", operands->source);
    new->size = (len + DD_BLOCK - 1) & ~(uint64_t)(DD_BLOCK - 1);
    if (!img_open_spares(source, operands->target, NULL, &error) ||
        !img_new_image_create(operands->target, new, format, &error))
        return img_fail(1, error);
    copy.target = img_open(operands->target, format, NULL, IMG_OPEN_WRITE, &error);
    if (!copy.target)
        return img_fail(1, error);
    copy.zero_from = copy.target->storage->is_block_device ? UINT64_MAX : 0;
    img_progress_begin(&progress, false, len);
    ret = img_copy_run(&copy);
    if (ret == 0)
        ret = vblk_image_flush(copy.target);
    img_progress_end(&progress, ret == 0);
    vblk_image_close(copy.target);
    if (ret < 0)
        return img_fail_text(1, "%s: cannot be %s: %s",
                             copy.failed_reading ? operands->source : operands->target,
                             copy.failed_reading ? "read" : "written", g_strerror(-ret));
    return 0;
}

static int dd_run(struct img_run *run)
{
    const struct dd_options *options = run->options;
    struct dd_operands operands;
    struct img_new_image new;
    struct vblk_image *source;
    GError *error = NULL;
    int status;

    if (!dd_parse(&operands, run->args, &error))
        return img_fail(1, error);
    source = img_open(operands.source, options->format, NULL,
                      run->open_flags | (options->force_share ? IMG_OPEN_SHARE : 0), &error);
    if (!source)
        return img_fail(1, error);
    img_new_image_init(&new);
    status = dd_copy(options, &operands, source, &new);
    vblk_image_close(source);
    return status;
}

const struct img_command img_dd = {
    .name = "dd",
    .usage = "[-f FORMAT] [-O FORMAT] [-U] [bs=SIZE] [count=N] [skip=N] if=FILE of=TARGET",
    .help = "Copies a part of a disk into a new image.",
    .rows = dd_rows,
    .n_rows = G_N_ELEMENTS(dd_rows),
    .options_len = sizeof(struct dd_options),
    .min_args = 2,
    .max_args = 5,
    .run = dd_run,
};
