/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying from one disk to another by several threads. Zeros are not written where the target has
 * zeros already, and runs of them that are found in data are not written either.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vblkd/format/image.h"
#include "vblkd/img/progress.h"
#include "vblkd/img/rate.h"

#define IMG_COPY_MAX_THREADS 16

struct img_copy {
    struct vblk_image *source, *target;
    uint64_t source_offset, target_offset, len;
    unsigned n_threads;
    uint64_t sparse_len; /* as many zeros are not written, if aligned; 0: everything is */
    uint64_t zero_from;  /* from there on the target reads as zeros; UINT64_MAX: nowhere */
    bool compresses;     /* whole clusters; the offsets are aligned to them */
    bool is_backed; /* what the source has not itself is not copied: it lies behind the target */
    bool salvages;  /* sectors that cannot be read become zeros, with a warning */
    bool is_quiet;  /* without that one */
    bool offloads;  /* atomic: data goes from file to file inside the kernel, while that works */
    uint64_t rate;  /* bytes a second; 0: any */
    struct img_progress *progress;

    /* The extent of the source that was found last, counted from source_offset on. */
    pthread_mutex_t map_lock;
    struct vblk_extent map_extent; /* under map_lock: kind, and where it begins */
    uint64_t map_start;            /* under map_lock */

    struct img_rate pace;
    uint64_t next;       /* atomic: what is not yet taken, from the beginning */
    int failed;          /* atomic: the first -errno */
    bool failed_reading; /* with it */
};

/* Does all of it. 0, or -errno, with copy->failed_reading telling which image it was. */
int img_copy_run(struct img_copy *copy);
