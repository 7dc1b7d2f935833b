/* SPDX-License-Identifier: Apache-2.0 */
/* Between qcow2-open.c and those who close and reopen parts of an image. */
#pragma once

#include "vblkd/format/qcow2-image.h"

/* Operation of struct vblk_format. */
void qcow2_close(struct vblk_image *image);

/* Reads the active L1 table that the header names. False with *error. */
bool qcow2_l1_open(struct qcow2 *q, GError **error);
