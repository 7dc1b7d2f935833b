/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest chose in the configuration space, for as long as its driver runs: whether the
 * write cache is on. Front-ends tell it once, to a daemon that may be killed, so it is kept in a
 * small file from which a successor has it. What another boot or another image left there does not
 * count.
 */
#pragma once

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vblkd/storage/storage.h"

#define BLK_CHOICE_IMAGES 2

/* As it is in the file. */
struct blk_choice_record {
    uint64_t magic;
    char boot_id[40];
    /* The image in use; and the one before it, for a daemon may be killed before anybody knows
     * of the change. */
    struct {
        uint64_t device, inode;
    } images[BLK_CHOICE_IMAGES];
    uint8_t cache_off;
    uint8_t reserved[7];
};
static_assert(sizeof(struct blk_choice_record) == 88, "what a file has");

struct blk_choice {
    pthread_mutex_t lock; /* guards the rest */
    int fd;               /* borrowed; -1: it is kept in memory alone */
    struct blk_choice_record record;
};

/* Whether a file is empty, or one of these. */
bool blk_choice_is_one(int fd);
/* With what a predecessor left in the file. */
void blk_choice_init(struct blk_choice *choice, int fd, const struct vblk_storage *storage);
void blk_choice_finish(struct blk_choice *choice);
/* All by any thread. When keep returns, a process that is killed has left it to the next one. */
bool blk_choice_get(struct blk_choice *choice);
void blk_choice_keep(struct blk_choice *choice, bool cache_off);
/* The disk is another file from now on. */
void blk_choice_follow(struct blk_choice *choice, const struct vblk_storage *storage);
