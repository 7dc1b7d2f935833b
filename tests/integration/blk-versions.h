/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that keeps its disk busy on all queues, and knows of each sector which write it holds.
 * Around a command on the control socket it notes what the disk may hold at that instant: all that
 * had been answered before, and of each request that was on its way beside it everything or
 * nothing.
 */
#pragma once

#include "blk-guest.h"

#define VERSIONS_SLOTS 16 /* of each queue */

struct versions_request {
    uint64_t number, first, n; /* sectors */
    bool is_zero;
};

/* What the disk may have held at some instant. */
struct versions_instant {
    char *name;
    uint64_t n_sectors;
    uint64_t *since;   /* of each sector: the request before the instant that was answered last */
    bool *may_be_zero; /* of each sector */
    uint64_t last;     /* the last request that may show */
    GArray *beside;    /* struct versions_request */
};

struct versions_sector {
    uint64_t number; /* of the request that was answered last */
    bool is_zero;
};

struct versions {
    struct blk_guest guest;
    struct blk_guest_slot slots[BLK_GUEST_MAX_QUEUES][VERSIONS_SLOTS];
    struct versions_request requests[BLK_GUEST_MAX_QUEUES][VERSIONS_SLOTS];
    uint64_t n_sectors, block; /* block: in sectors */
    struct versions_sector *sectors;
    uint64_t n_begun, n_done;
    unsigned n_idle;                  /* looks in a row that found nothing answered */
    struct versions_instant *instant; /* being noted; NULL: none */
    GPtrArray *instants;
};

/* As blk_guest_start; block: bytes of the smallest request. */
bool versions_start(struct versions *versions, const struct blk_guest_setup *setup, uint32_t block);
/* Stops the daemon; the image is what it should be. Everything but the guest is gone after _clear.
 */
void versions_stop(struct versions *versions);
void versions_clear(struct versions *versions);

/* Goes on until n more requests are answered. */
void versions_run(struct versions *versions, unsigned n);
/* Takes what is answered. False where that is nothing. */
bool versions_harvest(struct versions *versions);
/* Waits for what is on its way. */
void versions_drain(struct versions *versions);
/* Sends a command (with fd, -1: none) and goes on until it is answered; g_free. With a name the
 * instant is noted. */
char *versions_command(struct versions *versions, const char *name, int fd, const char *line);
/* The disk is another size from now on; what is new is zeros. */
void versions_resize(struct versions *versions, uint64_t len);

/* Whether data, a disk's contents, may have been what the disk held then; aborts if not. */
void versions_check_instant(const struct versions_instant *instant, const uint8_t *data);
/* The same for what it holds now, nothing being on its way. */
void versions_check_now(const struct versions *versions, const uint8_t *data);
