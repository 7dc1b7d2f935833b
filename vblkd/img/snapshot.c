/* SPDX-License-Identifier: Apache-2.0 */
/* vblk-img snapshot: the snapshots inside an image. */
#include <string.h>

#include "vblkd/img/commands.h"
#include "vblkd/img/open-image.h"
#include "vblkd/img/snapshot-list.h"

enum snapshot_kind { SNAPSHOT_LIST, SNAPSHOT_CREATE, SNAPSHOT_APPLY, SNAPSHOT_DELETE };
static const char *const snapshot_kinds[] = {"list", "create", "apply", "delete"};

struct snapshot_options {
    char *format;
    enum snapshot_kind kind;
    const char *name; /* the command line's */
    unsigned n_actions;
    bool quiet, force_share;
};

#define SNAPSHOT_OFFSET(field) offsetof(struct snapshot_options, field)
#define SNAPSHOT_GROUP         "snapshot"

/* One of them, and once: of two that were to be deleted, none is to be forgotten. */
static bool snapshot_parse_action(void *target, const char *name, const char *value, GError **error)
{
    struct snapshot_options *options = target;

    for (unsigned i = 0; i < G_N_ELEMENTS(snapshot_kinds); i++)
        if (strcmp(snapshot_kinds[i], name) == 0)
            options->kind = (enum snapshot_kind)i;
    options->name = value;
    if (options->n_actions++ == 0)
        return true;
    g_set_error(error, VU_OPTION_ERROR, 0, "only one of -l, -c, -a and -d, and once");
    return false;
}

#define SNAPSHOT_ACTION(action_name, letter, text)                                               \
    {                                                                                            \
        .name = action_name, .short_name = letter, .is_long = true, .type = VU_OPTION_CALL,      \
        .parse = snapshot_parse_action, .metavar = "NAME", .group = SNAPSHOT_GROUP, .help = text \
    }

/* clang-format off */
static const struct vu_option snapshot_rows[] = {
    {.name = "format", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = SNAPSHOT_OFFSET(format), .group = SNAPSHOT_GROUP,
     .help = "qcow2; without it the image tells."},
    {.name = "list", .short_name = 'l', .is_long = true, .type = VU_OPTION_CALL,
     .value_optional = true, .parse = snapshot_parse_action, .group = SNAPSHOT_GROUP,
     .help = "List the snapshots; the same as nothing."},
    SNAPSHOT_ACTION("create", 'c', "Keep the disk as it is now."),
    SNAPSHOT_ACTION("apply", 'a',
                    "Make the disk what it was; what it is now is lost. NAME is an ID or a name."),
    SNAPSHOT_ACTION("delete", 'd',
                    "Delete a snapshot, which is called so; an ID is not taken here."),
    {.name = "quiet", .short_name = 'q', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = SNAPSHOT_OFFSET(quiet), .group = SNAPSHOT_GROUP, .help = "Without effect."},
    {.name = "force-share", .short_name = 'U', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = SNAPSHOT_OFFSET(force_share), .group = SNAPSHOT_GROUP,
     .help = "List though another program writes the image."},
};
/* clang-format on */

static bool snapshot_list(struct vblk_image *image, GError **error)
{
    g_autoptr(GPtrArray) snapshots = qcow2_snapshot_list(image, error);

    if (snapshots && snapshots->len > 0)
        img_snapshot_list_print(snapshots);
    return snapshots != NULL;
}

/* By its name alone, as qemu-img does: the ID of one may be the name of another. */
static bool snapshot_delete(struct vblk_image *image, const char *name, GError **error)
{
    g_autoptr(GPtrArray) snapshots = qcow2_snapshot_list(image, error);

    if (!snapshots)
        return false;
    for (guint i = 0; i < snapshots->len; i++) {
        const struct qcow2_snapshot *snapshot = g_ptr_array_index(snapshots, i);

        if (strcmp(snapshot->name, name) == 0)
            return qcow2_snapshot_delete(image, snapshot->id, error);
    }
    g_set_error(error, VU_OPTION_ERROR, 0, "no snapshot is called \"%s\"", name);
    return false;
}

static bool snapshot_do(struct vblk_image *image, const struct snapshot_options *options,
                        GError **error)
{
    bool ok = false;

    switch (options->kind) {
    case SNAPSHOT_LIST:
        ok = snapshot_list(image, error);
        break;
    case SNAPSHOT_CREATE:
        ok = qcow2_snapshot_create(image, options->name, error);
        break;
    case SNAPSHOT_APPLY:
        ok = qcow2_snapshot_apply(image, options->name, error);
        break;
    case SNAPSHOT_DELETE:
        ok = snapshot_delete(image, options->name, error);
        break;
    }
    if (!ok)
        g_prefix_error(error, "%s: ", image->storage->path);
    return ok;
}

static int snapshot_run(struct img_run *run)
{
    const struct snapshot_options *options = run->options;
    bool changes = options->kind != SNAPSHOT_LIST;
    unsigned flags = run->open_flags | (changes ? IMG_OPEN_WRITE : IMG_OPEN_ALONE);
    struct vblk_image *image;
    GError *error = NULL;
    bool ok = false;

    image = img_open(run->args[0], options->format, NULL,
                     flags | (options->force_share ? IMG_OPEN_SHARE : 0), &error);
    if (!image)
        return img_fail(1, error);
    if (strcmp(image->format->name, "qcow2") == 0)
        ok = snapshot_do(image, options, &error);
    else if (!changes)
        ok = true;
    else
        g_set_error(&error, VU_OPTION_ERROR, 0, "%s: the format %s has no snapshots", run->args[0],
                    image->format->name);
    vblk_image_close(image);
    return ok ? 0 : img_fail(1, error);
}

const struct img_command img_snapshot = {
    .name = "snapshot",
    .usage = "[-f FORMAT] [-l | -c NAME | -a NAME | -d NAME] [-q] [-U] FILE",
    .help = "Lists, makes, applies or deletes the snapshots inside an image.",
    .rows = snapshot_rows,
    .n_rows = G_N_ELEMENTS(snapshot_rows),
    .options_len = sizeof(struct snapshot_options),
    .min_args = 1,
    .max_args = 1,
    .run = snapshot_run,
};
