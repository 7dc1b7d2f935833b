/* SPDX-License-Identifier: Apache-2.0 */
/* vblk-img check: whether an image's metadata agrees with itself, and repairing it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vblkd/format/qcow2-check.h"
#include "vblkd/img/commands.h"
#include "vblkd/img/json.h"
#include "vblkd/img/open-image.h"

enum check_status {
    CHECK_CLEAN = 0,
    CHECK_FAILED = 1,
    CHECK_CORRUPT = 2,
    CHECK_LEAKS = 3,
    CHECK_UNSUPPORTED = 63,
};

struct check_options {
    char *format, *cache;
    int output; /* of check_outputs */
    int repair; /* of check_repairs; 0: not said */
    bool quiet, force_share;
};

enum { CHECK_HUMAN, CHECK_JSON };
static const char *const check_outputs[] = {"human", "json", NULL};

/* The first cannot be written on a command line. */
static const char *const check_repairs[] = {"", "leaks", "all", NULL};
static const unsigned check_fixes[] = {0, QCOW2_FIX_LEAKS, QCOW2_FIX_LEAKS | QCOW2_FIX_ERRORS};

#define CHECK_OFFSET(field) offsetof(struct check_options, field)
#define CHECK_GROUP         "check"

static bool check_parse_repair(void *target, const char *name, const char *value, GError **error)
{
    struct check_options *options = target;

    for (int i = 1; check_repairs[i]; i++)
        if (strcmp(check_repairs[i], value) == 0) {
            options->repair = i;
            return true;
        }
    g_set_error(error, VU_OPTION_ERROR, 0, "expected leaks or all, got \"%s\"", value);
    return false;
}

/* clang-format off */
static const struct vu_option check_rows[] = {
    {.name = "format", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = CHECK_OFFSET(format), .group = CHECK_GROUP,
     .help = "qcow2; without it the image tells."},
    {.name = "repair", .short_name = 'r', .is_long = true, .type = VU_OPTION_CALL,
     .parse = check_parse_repair, .metavar = "leaks|all", .group = CHECK_GROUP,
     .help = "Repair: free clusters that nothing uses (not beside worse errors), or all that is "
             "wrong. What could only be guessed reads as zeros then: status 2 tells of that, once."},
    {.name = "output", .is_long = true, .type = VU_OPTION_CHOICE, .choices = check_outputs,
     .offset = CHECK_OFFSET(output), .group = CHECK_GROUP, .help = "Text or JSON."},
    {.name = "cache", .short_name = 'T', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "MODE", .offset = CHECK_OFFSET(cache), .group = CHECK_GROUP,
     .help = "How the image is opened, as vblkd's cache modes."},
    {.name = "quiet", .short_name = 'q', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CHECK_OFFSET(quiet), .group = CHECK_GROUP, .help = "Print no summary."},
    {.name = "force-share", .short_name = 'U', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = CHECK_OFFSET(force_share), .group = CHECK_GROUP,
     .help = "Look on though another program writes the image; what it is at will look wrong."},
};
/* clang-format on */

static void check_report(void *opaque, const char *line)
{
    fprintf(stderr, "%s\n", line);
}

/* --- what is told --- */

static void check_print(const struct qcow2_check_result *result)
{
    double allocated = (double)result->n_allocated;

    if (!result->n_corruptions && !result->n_leaks && !result->n_check_errors)
        puts("No errors were found on the image.");
    if (result->n_lost)
        printf("\n%" PRIu64 " parts of the image could not be saved.\n", result->n_lost);
    if (result->n_corruptions)
        printf("\n%" PRIu64 " errors were found on the image.\n"
               "Data may be corrupted, or further writes to the image may corrupt it.\n",
               result->n_corruptions);
    if (result->n_leaks)
        printf("\n%" PRIu64 " leaked clusters were found on the image.\n"
               "This means waste of disk space, but no harm to data.\n",
               result->n_leaks);
    if (result->n_check_errors)
        printf("\n%" PRIu64 " internal errors have occurred during the check.\n",
               result->n_check_errors);
    if (result->n_clusters && result->n_allocated)
        printf("%" PRIu64 "/%" PRIu64
               " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n",
               result->n_allocated, result->n_clusters,
               allocated * 100 / (double)result->n_clusters,
               (double)result->n_fragmented * 100 / allocated,
               (double)result->n_compressed * 100 / allocated);
    if (result->image_end)
        printf("Image end offset: %" PRIu64 "\n", result->image_end);
}

static void check_add(JsonBuilder *json, const char *name, uint64_t value)
{
    if (value)
        vu_json_add_number(json, name, value);
}

static void check_print_json(const struct vblk_image *image,
                             const struct qcow2_check_result *result)
{
    JsonBuilder *json = json_builder_new();

    json_builder_begin_object(json);
    vu_json_add_text(json, "filename", image->storage->path);
    vu_json_add_text(json, "format", image->format->name);
    vu_json_add_number(json, "check-errors", result->n_check_errors);
    check_add(json, "image-end-offset", result->image_end);
    check_add(json, "corruptions", result->n_corruptions);
    check_add(json, "leaks", result->n_leaks);
    check_add(json, "corruptions-fixed", result->n_corruptions_fixed);
    check_add(json, "leaks-fixed", result->n_leaks_fixed);
    check_add(json, "total-clusters", result->n_clusters);
    check_add(json, "allocated-clusters", result->n_allocated);
    check_add(json, "fragmented-clusters", result->n_fragmented);
    check_add(json, "compressed-clusters", result->n_compressed);
    json_builder_end_object(json);
    img_json_print(json);
}

static void check_print_fixed(const struct qcow2_check_result *result)
{
    printf("The following inconsistencies were found and repaired:\n\n"
           "    %" PRIu64 " leaked clusters\n    %" PRIu64 " corruptions\n\n"
           "Double checking the fixed image now...\n",
           result->n_leaks_fixed, result->n_corruptions_fixed - result->n_lost);
}

/* --- doing it --- */

/* What the end of the file cut off is lost: nothing mends that. */
static int check_look(struct vblk_image *image, unsigned fix, struct qcow2_check_result *ret_result)
{
    int ret = qcow2_check(image, fix, check_report, NULL, ret_result);

    ret_result->n_corruptions += ret_result->n_beyond_end;
    return ret;
}

/*
 * After a repair, what is left is what a second look finds, and what was lost: that is told as an
 * error this once, though the image is whole without it. (qemu-img leaves such entries alone, and
 * tells of them each time.)
 */
static int check_image(struct vblk_image *image, const struct check_options *options,
                       struct qcow2_check_result *ret_result)
{
    bool tells = !options->quiet && options->output == CHECK_HUMAN;
    struct qcow2_check_result again;
    int ret = check_look(image, check_fixes[options->repair], ret_result);

    if (ret < 0 || (!ret_result->n_leaks_fixed && !ret_result->n_corruptions_fixed))
        return ret;
    if (tells)
        check_print_fixed(ret_result);
    ret = check_look(image, 0, &again);
    if (ret == 0) {
        again.n_leaks_fixed = ret_result->n_leaks_fixed;
        again.n_corruptions_fixed = ret_result->n_corruptions_fixed - ret_result->n_lost;
        again.n_corruptions += ret_result->n_lost;
        again.n_lost = ret_result->n_lost;
        *ret_result = again;
    }
    return ret;
}

static int check_status_of(const struct qcow2_check_result *result)
{
    if (result->n_check_errors)
        return CHECK_FAILED;
    if (result->n_corruptions)
        return CHECK_CORRUPT;
    return result->n_leaks ? CHECK_LEAKS : CHECK_CLEAN;
}

static int check_run(struct img_run *run)
{
    const struct check_options *options = run->options;
    unsigned flags = run->open_flags | IMG_OPEN_REPAIR |
                     (options->repair ? IMG_OPEN_WRITE : IMG_OPEN_ALONE) |
                     (options->force_share ? IMG_OPEN_SHARE : 0);
    struct qcow2_check_result result = {0};
    struct vblk_image *image;
    GError *error = NULL;
    int status, ret;

    image = img_open(run->args[0], options->format, options->cache, flags, &error);
    if (!image)
        return img_fail(CHECK_FAILED, error);
    if (strcmp(image->format->name, "qcow2") != 0) {
        status = img_fail_text(CHECK_UNSUPPORTED, "%s: the format %s has no checks", run->args[0],
                               image->format->name);
        vblk_image_close(image);
        return status;
    }
    ret = check_image(image, options, &result);
    if (ret < 0) {
        status =
            img_fail_text(CHECK_FAILED, "%s: the check failed: %s", run->args[0], g_strerror(-ret));
    } else {
        status = check_status_of(&result);
        if (options->output == CHECK_JSON)
            check_print_json(image, &result);
        else if (!options->quiet)
            check_print(&result);
    }
    vblk_image_close(image);
    return status;
}

const struct img_command img_check = {
    .name = "check",
    .usage = "[-f FORMAT] [-r leaks|all] [--output=human|json] [-T MODE] [-q] [-U] FILE",
    .help = "Checks an image, and repairs it.",
    .rows = check_rows,
    .n_rows = G_N_ELEMENTS(check_rows),
    .options_len = sizeof(struct check_options),
    .min_args = 1,
    .max_args = 1,
    .run = check_run,
};
