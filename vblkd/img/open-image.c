/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening images. A raw image that is written by a guest could pass for another format, so probing
 * one that is to be written is told.
 */
#include "vblkd/img/open-image.h"

#include <string.h>
#include <sys/stat.h>

#include "vblkd/format/qcow2-backing.h"
#include "vblkd/format/qcow2-image.h"
#include "vblkd/img/command.h"
#include "vblkd/img/image-name.h"
#include "vblkd/img/image-opts.h"

#define OPEN_SECTOR UINT64_C(512)

/* The format's name, or NULL with *error. */
static const char *open_probe(const char *path, unsigned flags, GError **error)
{
    bool share = (flags & IMG_OPEN_SHARE) != 0;
    const struct vblk_image_options options = {
        .storage = {.read_only = true,
                    .take_locks = !(flags & IMG_OPEN_UNLOCKED),
                    .share_all = share},
        .no_backing = true,
        .repair = (flags & IMG_OPEN_REPAIR) != 0,
    };
    struct vblk_image *image = vblk_image_open(path, &options, error);
    const char *name = image ? image->format->name : NULL;

    vblk_image_close(image);
    return name;
}

static bool open_find_cache(const char *name, enum vblk_cache *ret_cache, GError **error)
{
    if (g_strcmp0(name, "off") == 0)
        name = vblk_caches[VBLK_CACHE_NONE];
    for (int i = 0; name && vblk_caches[i]; i++)
        if (strcmp(vblk_caches[i], name) == 0) {
            *ret_cache = (enum vblk_cache)i;
            return true;
        }
    if (name)
        g_set_error(error, VU_OPTION_ERROR, 0, "no cache mode is called \"%s\"", name);
    return !name;
}

/* Disks have whole sectors: what a raw file lacks of its last one reads as zeros. */
static void open_round_up(struct vblk_image *image)
{
    for (; image; image = image->backing)
        if (strcmp(image->format->name, "raw") == 0)
            image->size = (image->size + OPEN_SECTOR - 1) & ~(OPEN_SECTOR - 1);
}

static struct vblk_image *open_path(const char *path, const char *format, const char *cache,
                                    unsigned flags, unsigned depth, GError **error)
{
    bool share = (flags & IMG_OPEN_SHARE) != 0, writes = (flags & IMG_OPEN_WRITE) != 0;
    struct vblk_image *image;
    struct vblk_image_options options = {
        .storage = {.read_only = !writes,
                    .take_locks = !(flags & IMG_OPEN_UNLOCKED),
                    .share_all = share},
        .format = format,
        .allow_backing = true,
        .no_backing = (flags & IMG_OPEN_ALONE) != 0,
        .discard_in_format = true,
        .written_depth = depth,
        .repair = (flags & IMG_OPEN_REPAIR) != 0,
    };

    if (share && writes) {
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: -U goes with reading alone", path);
        return NULL;
    }
    if (!open_find_cache(cache, &options.storage.cache, error))
        return NULL;
    if (!format && writes) {
        options.format = open_probe(path, flags, error);
        if (!options.format)
            return NULL;
        if (strcmp(options.format, "raw") == 0)
            img_warn("%s: taken for a raw image, since it looks like no other; -f raw says so",
                     path);
    }
    image = vblk_image_open(path, &options, error);
    open_round_up(image);
    return image;
}

static struct vblk_image *open_by_opts(const char *text, const char *cache, unsigned flags,
                                       unsigned depth, GError **error)
{
    struct vblk_image *image = NULL;
    struct img_image_opts opts;

    if (img_image_opts_parse(text, &opts, error))
        image = open_path(opts.path, opts.format, img_image_opts_cache(&opts, cache),
                          flags | (opts.force_share ? IMG_OPEN_SHARE : 0) |
                              (opts.no_locks ? IMG_OPEN_UNLOCKED : 0),
                          depth, error);
    img_image_opts_clear(&opts);
    return image;
}

/* What json: does not say of the format, `format` may. */
static struct vblk_image *open_by_json(const char *name, const char *format, const char *cache,
                                       unsigned flags, unsigned depth, GError **error)
{
    g_autofree char *opts = img_image_name_opts(name, error);
    g_autofree char *with_format =
        opts && format ? g_strdup_printf("driver=%s,%s", format, opts) : g_steal_pointer(&opts);

    return with_format ? open_by_opts(with_format, cache, flags, depth, error) : NULL;
}

static struct vblk_image *open_by_name(const char *name, const char *format, const char *cache,
                                       unsigned flags, unsigned depth, GError **error)
{
    g_autofree char *path = NULL;

    if (img_image_name_is_json(name))
        return open_by_json(name, format, cache, flags, depth, error);
    path = img_image_name_path(name, error);
    return path ? open_path(path, format, cache, flags, depth, error) : NULL;
}

struct vblk_image *img_open_chain(const char *path, const char *format, const char *cache,
                                  unsigned flags, unsigned depth, GError **error)
{
    if (!(flags & IMG_OPEN_OPTS))
        return open_by_name(path, format, cache, flags, depth, error);
    if (!format)
        return open_by_opts(path, cache, flags, depth, error);
    g_set_error(error, VU_OPTION_ERROR, 0, "--image-opts says the format, and excludes -f");
    return NULL;
}

struct vblk_image *img_open(const char *path, const char *format, const char *cache, unsigned flags,
                            GError **error)
{
    return img_open_chain(path, format, cache, flags, 0, error);
}

/* --- what must not be overwritten --- */

static bool open_is_file(const struct vblk_storage *storage, const struct stat *file)
{
    struct stat opened;

    return fstat(storage->fd, &opened) == 0 && opened.st_dev == file->st_dev &&
           opened.st_ino == file->st_ino;
}

/* Whether an image of the chain, or what it keeps its data in, is that file. */
static bool open_chain_has(const struct vblk_image *image, const char *path)
{
    struct stat file;

    if (stat(path, &file) < 0)
        return false;
    for (; image; image = image->backing) {
        bool is_qcow2 = strcmp(image->format->name, "qcow2") == 0;

        if (open_is_file(image->storage, &file) ||
            (is_qcow2 && open_is_file(qcow2_of(image)->data_storage, &file)))
            return true;
    }
    return false;
}

bool img_open_spares(const struct vblk_image *image, const char *name, const char *data_file,
                     GError **error)
{
    g_autofree char *path = img_image_name_path(name, error);
    g_autofree char *data_path = NULL;
    const char *lost = path;

    if (path && data_file)
        data_path = qcow2_backing_path(path, data_file, error);
    if (!path || (data_file && !data_path))
        return false;
    if (!open_chain_has(image, path))
        lost = data_path && open_chain_has(image, data_path) ? data_path : NULL;
    if (lost)
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: is read from, and would be overwritten", lost);
    return !lost;
}

/* Though a guest may be writing to it: an overlay is how it is made to write elsewhere. */
bool img_open_look_behind(const char *path, struct img_new_image *new, GError **error)
{
    g_autofree char *image_path = img_image_name_path(path, error);
    g_autofree char *backing_path =
        image_path ? qcow2_backing_path(image_path, new->backing_file, error) : NULL;
    struct vblk_image *backing =
        backing_path ? open_path(backing_path, new->backing_format, NULL, IMG_OPEN_SHARE, 0, error)
                     : NULL;
    bool ok = backing && img_open_spares(backing, path, new->data_file, error);

    if (ok && new->size == UINT64_MAX)
        new->size = backing->size;
    vblk_image_close(backing);
    if (!ok)
        g_prefix_error(error, "%s: the backing image: ", path);
    return ok;
}
