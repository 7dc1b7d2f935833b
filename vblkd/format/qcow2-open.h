/* SPDX-License-Identifier: Apache-2.0 */
/* Between qcow2-open.c and those who open a part of an image again. */
#pragma once

#include "vblkd/format/qcow2-image.h"

/* Reads the active L1 table that the header names. False with *error. */
bool qcow2_l1_open(struct qcow2 *q, GError **error);
