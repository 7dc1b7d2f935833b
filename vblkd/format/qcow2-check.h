/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether an image's refcounts agree with what refers to its clusters, and making them so. Nobody
 * else uses the image meanwhile.
 */
#pragma once

#include "vblkd/format/image.h"

enum qcow2_check_fix {
    QCOW2_FIX_LEAKS = 1 << 0,  /* clusters that are counted and not in use */
    QCOW2_FIX_ERRORS = 1 << 1, /* what is not counted, tables that make no sense */
    QCOW2_FIX_FLAGS = 1 << 2,  /* COPIED; follows from the others, where refcounts are right */
};

struct qcow2_check_result {
    uint64_t n_corruptions, n_leaks, n_check_errors;
    uint64_t n_corruptions_fixed, n_leaks_fixed; /* of those above */
    uint64_t n_beyond_end; /* places behind the file's end, which read as zeros: it was cut off */
    uint64_t n_lost;       /* what a repair could only drop: of those fixed */
    uint64_t image_end;    /* behind the last cluster in use or leaked, bytes */
    uint64_t n_clusters, n_allocated, n_fragmented, n_compressed; /* of the disk */
};

/*
 * Walks everything. `report` (may be NULL) is given a line for each thing that is wrong. The counts
 * of a successful repair are those found before it. -ENOMEM, -EIO: the check itself failed.
 */
int qcow2_check(struct vblk_image *image, unsigned fix, void (*report)(void *opaque, const char *),
                void *opaque, struct qcow2_check_result *ret_result);
