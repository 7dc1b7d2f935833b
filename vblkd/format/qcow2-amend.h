/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing what the header of an image says. All of these wait, and need an image that is open for
 * writing and that nobody else uses meanwhile. Each is done as a whole or not at all, whenever it
 * ends. False with *error, which does not name the image.
 */
#pragma once

#include "vblkd/format/image.h"

/* Another file lies behind the image (NULL: none does). Nothing is copied, and what is behind the
 * open image stays as it was. */
bool qcow2_amend_backing(struct vblk_image *image, const char *name, const char *format,
                         GError **error);
/* Another image is going to lie behind: zeros that are written from now on are said explicitly. */
void qcow2_expect_backing(struct vblk_image *image);
