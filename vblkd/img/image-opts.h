/* SPDX-License-Identifier: Apache-2.0 */
/* An image as --image-opts names it: driver=qcow2,file.filename=disk.qcow2,... */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct img_image_opts {
    char *path, *format;   /* format: NULL to be probed */
    bool direct, no_flush; /* cache.direct, cache.no-flush */
    bool force_share;
    bool no_locks; /* file.locking=off */
};

/* False with *error. Clear it in either case. */
bool img_image_opts_parse(const char *text, struct img_image_opts *ret_opts, GError **error);
void img_image_opts_clear(struct img_image_opts *opts);

/* One of vblk_caches for these, or `cache` (may be NULL) where they say nothing. */
const char *img_image_opts_cache(const struct img_image_opts *opts, const char *cache);
