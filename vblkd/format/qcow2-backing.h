/* SPDX-License-Identifier: Apache-2.0 */
/* The files that an image names: opened only where its user allowed that. */
#pragma once

#include "vblkd/format/qcow2-image.h"

/* What a name found in an image means: beside the image, unless it is absolute. g_free it. NULL
 * with *error for what is no file name. */
char *qcow2_backing_path(const char *image_path, const char *name, GError **error);

/* Opens the backing image into q->image->backing, where there is one. False with *error. */
bool qcow2_backing_open(struct qcow2 *q, const struct vblk_image_options *options, GError **error);
/* Opens the external data file into q->data_storage. False with *error. */
bool qcow2_data_file_open(struct qcow2 *q, const struct vblk_image_options *options,
                          GError **error);
