/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that several queues keep busy while the control socket changes it. What the disk may hold
 * at each instant, blk-versions knows.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "blk-control.h"
#include "blk-versions.h"
#include "vblkd/virtio-blk.h"

#define LIVE_IMAGE_LEN   (4u << 20)
#define LIVE_N_SNAPSHOTS 10u
#define LIVE_N_BETWEEN   150u /* requests from one command to the next */

#define LIVE_INDIRECT    VU_BIT(VU_F_RING_INDIRECT_DESC)
#define LIVE_EVENT       VU_BIT(VU_F_RING_EVENT_IDX)
#define LIVE_PACKED      VU_BIT(VU_F_RING_PACKED)
#define LIVE_IN_ORDER    VU_BIT(VU_F_IN_ORDER)

struct live_scenario {
    const char *name, *options; /* of vblkd */
    uint64_t features;
    unsigned n_queues;
    bool kills; /* vblkd, after each command */
    uint32_t block;
    const char *qcow2; /* options of qemu-img create; NULL: a raw image */
};

/* False where the test has been skipped. */
bool live_start(struct versions *versions, const struct live_scenario *scenario);
/* A command that must succeed, while requests go on; name and fd as in versions_command. */
void live_do(struct versions *versions, const char *name, int fd, const char *format, ...)
    G_GNUC_PRINTF(4, 5);
/* One that must not, for a reason that has these words. */
void live_refused(struct versions *versions, const char *line, const char *why);
/* What the file of this length holds, which is removed. g_free. */
uint8_t *live_read(const char *path, uint64_t len);
/* A test of this name and kind for each scenario. */
void live_add(const char *kind, const struct live_scenario *scenarios, size_t n,
              GTestDataFunc test);
