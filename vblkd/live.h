/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done to a disk while a guest uses it: another size, snapshots. The guest sees nothing of
 * it but a moment in which its requests take longer.
 *
 * Any thread that may wait; one operation runs at a time. Each pauses the device for as long as it
 * takes, and where that cannot be (a disk hangs), or anything else fails, the device goes on as it
 * was. False with *error: one line that names the image.
 */
#pragma once

#include "vblkd/device.h"
#include "vblkd/format/qcow2-snapshot.h"

#define BLK_LIVE_TIMEOUT_MS 10000 /* for the requests that have begun; where nobody says */

struct blk_live {
    struct blk_device *device;
    unsigned timeout_ms;
};

/* --- live-resize.c --- */

/*
 * The disk becomes `size` bytes, smaller only with may_shrink: what lies behind is gone then. The
 * front-end is told; *ret_told (optional): whether it could be.
 */
bool blk_live_resize(const struct blk_live *live, uint64_t size, bool may_shrink, bool *ret_told,
                     GError **error);
/* A raw image's file or device has grown (with may_shrink: or shrunk) from outside: likewise. */
bool blk_live_refresh_size(const struct blk_live *live, bool may_shrink, bool *ret_told,
                           GError **error);

/* --- live-snapshot.c: snapshots inside a qcow2 image --- */

/* struct qcow2_snapshot; NULL with *error. */
GPtrArray *blk_live_snapshot_list(const struct blk_live *live, GError **error);
/* All that was written before the call, of what was sent beside it none or all of each request.
 * Refused where the name is taken. */
bool blk_live_snapshot_create(const struct blk_live *live, const char *name, GError **error);
/* By ID and name; one of them may be NULL. *ret_snapshot: what it was, to be freed; optional. */
bool blk_live_snapshot_delete(const struct blk_live *live, const char *id, const char *name,
                              struct qcow2_snapshot **ret_snapshot, GError **error);
/*
 * The disk becomes what it was. Under a guest's file system that is its end, so it is refused while
 * any queue runs (is_forced: done all the same). *ret_told: as above, where the size is another.
 */
bool blk_live_snapshot_apply(const struct blk_live *live, const char *id, const char *name,
                             bool is_forced, bool *ret_told, GError **error);

/* --- live-overlay.c: external snapshots --- */

/*
 * From now on everything is written to the empty qcow2 image in fd, which is taken over in any
 * case, and what there is stays as it is behind it. `name` is how the overlay is called in
 * messages. The successor of a killed daemon must be given the overlay.
 */
bool blk_live_insert_overlay(const struct blk_live *live, int fd, const char *name, GError **error);
