/* SPDX-License-Identifier: Apache-2.0 */
/* Opening an image by what a command line said of it. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "vblkd/format/image.h"
#include "vblkd/img/new-image.h"

enum img_open_flags {
    IMG_OPEN_WRITE = 1 << 0,
    IMG_OPEN_SHARE = 1 << 1,  /* -U: though another writes */
    IMG_OPEN_ALONE = 1 << 2,  /* without backing and data files: for its metadata alone */
    IMG_OPEN_REPAIR = 1 << 3, /* though it is inconsistent */
    IMG_OPEN_OPTS = 1 << 4,   /* the path is what --image-opts has */
    IMG_OPEN_UNLOCKED = 1 << 5,
};

/*
 * `format` may be NULL: it is probed, with a warning where that is a risk. `cache` is one of
 * vblk_caches, or NULL. NULL with *error.
 */
struct vblk_image *img_open(const char *path, const char *format, const char *cache, unsigned flags,
                            GError **error);
/* The same, of which the image that lies `depth` behind it is opened for writing too (0: none). */
struct vblk_image *img_open_chain(const char *path, const char *format, const char *cache,
                                  unsigned flags, unsigned depth, GError **error);

/* Whether the backing image that a new image at `path` is to name is there, and is what it was said
 * to be. new->size, where it is not said, becomes its own. False with *error. */
bool img_open_look_behind(const char *path, struct img_new_image *new, GError **error);
/* Whether a new image called `name`, with that data file (may be NULL), takes the place of no file
 * that an image or its chain lies in. False with *error. */
bool img_open_spares(const struct vblk_image *image, const char *name, const char *data_file,
                     GError **error);
