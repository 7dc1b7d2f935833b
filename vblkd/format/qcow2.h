/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The qcow2 format, as image.c sees it. Everything else of it goes through struct vblk_format.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#include "vblkd/format/image.h"

#define QCOW2_PROBE_LEN 8 /* bytes of a file's beginning that tell */

extern const struct vblk_format vblk_format_qcow2;

/* Whether a file that begins like this is a qcow2 image. */
bool qcow2_probe(const void *head, size_t len);

/*
 * Opens the image in `storage`, and with options->allow_backing the files that it names, by
 * vblk_image_open with options->chain. The storage becomes the image's on success only. NULL with
 * *error: one line that names the file.
 */
struct vblk_image *qcow2_open(struct vblk_storage *storage,
                              const struct vblk_image_options *options, GError **error);
