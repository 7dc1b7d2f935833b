/* SPDX-License-Identifier: Apache-2.0 */
/* An image as one of its internal snapshots has it. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "vblkd/format/image.h"

/*
 * `spec` is an ID or a name, or snapshot.id=ID,snapshot.name=NAME. The image, which is open for
 * reading, is the disk that the snapshot has kept from now on. False with *error.
 */
bool img_view_snapshot(struct vblk_image *image, const char *spec, GError **error);
