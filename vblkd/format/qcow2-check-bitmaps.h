/* SPDX-License-Identifier: Apache-2.0 */
/* What persistent bitmaps refer to, in a check. */
#pragma once

#include "vblkd/format/qcow2-check-walk.h"

/*
 * Drops all bitmaps where their directory makes no sense: others refuse such an image. A bad entry
 * of a bitmap's table is made one that says that all has changed. Before the walk.
 */
int qcow2_check_mend_bitmaps(struct qcow2_check *check);
/* Counts what they refer to, and tells what is wrong. */
int qcow2_check_walk_bitmaps(struct qcow2_check *check);
