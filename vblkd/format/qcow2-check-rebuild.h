/* SPDX-License-Identifier: Apache-2.0 */
/* A refcount table and blocks made anew, where the old ones cannot be used. */
#pragma once

#include "vblkd/format/qcow2-check-walk.h"

/* Whether they lie where something else is, or are not all there. After the walk. */
bool qcow2_check_must_rebuild(struct qcow2_check *check);
/*
 * Writes them from check->counts, at a place that nothing uses, and makes the header name it. From
 * then on check->counts has them instead of the old ones. -EFBIG: the table would be too large;
 * -ENOSPC, -EIO.
 */
int qcow2_check_rebuild(struct qcow2_check *check);
