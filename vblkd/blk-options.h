/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of vblkd: the names of QEMU's -drive and -blockdev, and those that back-ends have by
 * convention (--blk-file, --read-only), from one table.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vblkd/device.h"
#include "vhost-user/daemon/options.h"

#define BLK_FORMAT_UNSAID (-1) /* raw */
#define BLK_AIO_AUTO      (-1) /* io_uring where the kernel allows it, else threads */

/* Whether guest memory is pinned. */
enum blk_fixed_buffers {
    BLK_FIXED_BUFFERS_AUTO, /* where no limit is set to that */
    BLK_FIXED_BUFFERS_ON,
    BLK_FIXED_BUFFERS_OFF,
};

struct blk_options {
    char *file;
    int format; /* of options_formats, or BLK_FORMAT_UNSAID */
    int cache;  /* enum vblk_cache */
    int aio;    /* enum vblk_aio_kind, or BLK_AIO_AUTO */
    bool discard_ignored;
    int detect_zeroes; /* enum blk_detect_zeroes */
    bool read_only;
    bool backing; /* open the files that the image names */
    bool locking;
    bool in_order;
    int fixed_buffers; /* enum blk_fixed_buffers */
    char *serial;
    char *journal;  /* a path, "none", or NULL: beside the socket */
    int num_queues; /* 0: as many as the front-end likes */
    int queue_size;
    int logical_block_size, physical_block_size; /* 0: the storage's */
    uint64_t cache_size, l2_cache_size, refcount_cache_size;
    struct blk_limits limits;
    int sandbox; /* enum vu_sandbox_mode */
    int seccomp; /* enum vu_seccomp_mode */
};

void blk_options_init(struct blk_options *options);
void blk_options_clear(struct blk_options *options);
struct vu_option_table blk_options_table(struct blk_options *options);
/* What single rows cannot check. False with *error, which names the option. */
bool blk_options_check(const struct blk_options *options, GError **error);
/* How to open the image, and how to serve it. */
struct vblk_image_options blk_options_image(const struct blk_options *options);
/* The place of a journal; "none" where the image needs none. has_control: it may get an overlay. */
const char *blk_options_journal(const struct blk_options *options, bool has_control);
/* The same for what the guest chose; "none" where it can choose nothing. */
const char *blk_options_choice(const struct blk_options *options);
struct blk_device_options blk_options_device(const struct blk_options *options);
