/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internal snapshots. [Snapshots] All of these wait, and need the image for themselves: no request
 * is on its way.
 */
#pragma once

#include "vblkd/format/image.h"

struct qcow2_snapshot {
    char *id, *name;
    uint64_t l1_offset;
    uint32_t l1_size;
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_nsec, vm_state_size;
    uint64_t disk_size;
    uint64_t icount; /* UINT64_MAX: none */
    uint8_t *extra;  /* what follows these in the extra data */
    uint32_t extra_len;
};

void qcow2_snapshot_free(struct qcow2_snapshot *snapshot);

/* All of them, struct qcow2_snapshot, in the table's order. NULL with *error. */
GPtrArray *qcow2_snapshot_list(struct vblk_image *image, GError **error);
/* By ID, else by name; -1: there is none. */
int qcow2_snapshot_find(const GPtrArray *snapshots, const char *id_or_name);

bool qcow2_snapshot_create(struct vblk_image *image, const char *name, GError **error);
bool qcow2_snapshot_apply(struct vblk_image *image, const char *id_or_name, GError **error);
bool qcow2_snapshot_delete(struct vblk_image *image, const char *id_or_name, GError **error);
