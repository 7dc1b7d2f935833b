/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening images. A raw image that is written by a guest could pass for another format, so probing
 * one that is to be written is told.
 */
#include "vblkd/img/open-image.h"

#include <string.h>

#include "vblkd/format/qcow2-backing.h"
#include "vblkd/img/command.h"
#include "vblkd/img/image-opts.h"

/* The format's name, or NULL with *error. */
static const char *open_probe(const char *path, unsigned flags, GError **error)
{
    bool share = (flags & IMG_OPEN_SHARE) != 0;
    const struct vblk_image_options options = {
        .storage = {.read_only = true, .take_locks = true, .share_all = share},
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
    for (int i = 0; name && vblk_caches[i]; i++)
        if (strcmp(vblk_caches[i], name) == 0) {
            *ret_cache = (enum vblk_cache)i;
            return true;
        }
    if (name)
        g_set_error(error, VU_OPTION_ERROR, 0, "no cache mode is called \"%s\"", name);
    return !name;
}

static struct vblk_image *open_file(const char *path, const char *format, const char *cache,
                                    unsigned flags, unsigned depth, GError **error)
{
    bool share = (flags & IMG_OPEN_SHARE) != 0, writes = (flags & IMG_OPEN_WRITE) != 0;
    struct vblk_image_options options = {
        .storage = {.read_only = !writes, .take_locks = true, .share_all = share},
        .format = format,
        .allow_backing = true,
        .no_backing = (flags & IMG_OPEN_ALONE) != 0,
        .discard_in_format = true,
        .written_depth = depth,
        .repair = (flags & IMG_OPEN_REPAIR) != 0,
    };

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
    return vblk_image_open(path, &options, error);
}

static struct vblk_image *open_by_opts(const char *text, const char *cache, unsigned flags,
                                       unsigned depth, GError **error)
{
    struct vblk_image *image = NULL;
    struct img_image_opts opts;

    if (img_image_opts_parse(text, &opts, error))
        image = open_file(opts.path, opts.format, img_image_opts_cache(&opts, cache),
                          flags | (opts.force_share ? IMG_OPEN_SHARE : 0), depth, error);
    img_image_opts_clear(&opts);
    return image;
}

struct vblk_image *img_open_chain(const char *path, const char *format, const char *cache,
                                  unsigned flags, unsigned depth, GError **error)
{
    if (!(flags & IMG_OPEN_OPTS))
        return open_file(path, format, cache, flags, depth, error);
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

bool img_open_look_behind(const char *path, const char *name, const char *format, uint64_t *size,
                          GError **error)
{
    g_autofree char *backing_path = qcow2_backing_path(path, name, error);
    struct vblk_image *backing =
        backing_path ? img_open(backing_path, format, NULL, 0, error) : NULL;

    if (!backing) {
        g_prefix_error(error, "%s: the backing image: ", path);
        return false;
    }
    if (*size == UINT64_MAX)
        *size = backing->size;
    vblk_image_close(backing);
    return true;
}
