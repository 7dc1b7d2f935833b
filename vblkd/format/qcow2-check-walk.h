/* SPDX-License-Identifier: Apache-2.0 */
/* Counting the references to each cluster of an image. */
#pragma once

#include "vblkd/format/qcow2-check.h"
#include "vblkd/format/qcow2-image.h"

struct qcow2_check {
    struct qcow2 *q;
    unsigned fix;
    void (*report)(void *opaque, const char *line);
    void *opaque;
    struct qcow2_check_result *result;
    uint32_t *counts; /* for each cluster of the file, and for some behind its end */
    uint64_t n_counts, n_file;
};

/* One thing that is wrong, of a kind that result counts in *counter. */
void qcow2_check_report(struct qcow2_check *check, uint64_t *counter, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* [offset, offset + len) is referred to once more. */
void qcow2_check_count(struct qcow2_check *check, uint64_t offset, uint64_t len);

/* Fills check->counts. -errno: it could not be done. */
int qcow2_check_walk(struct qcow2_check *check);

/* Compares (with QCOW2_FIX_FLAGS: sets) the COPIED flags of the active tables with refcounts.
 * Reads and writes the file: nothing is dirty, and L2 slices in memory may be outdated afterwards.
 */
int qcow2_check_flags(struct qcow2_check *check);
