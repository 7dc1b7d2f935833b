/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-blk driver for tests: any requests, framed in any way, on several queues of the daemon
 * that $VBLKD names, which serves an image in a folder of the test's own. The daemon can be killed
 * and started again on the same socket.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/driver.h"
#include "vhost-user/frontend.h"

#define BLK_GUEST_MAX_QUEUES 4
#define BLK_GUEST_RING       128
#define BLK_GUEST_MAX_DATA   (256u << 10)

struct blk_guest_setup {
    const char *options; /* of the daemon, with a space between them; may be NULL */
    unsigned n_queues;
    unsigned n_entries; /* of a ring, and ranges of a request; 0: BLK_GUEST_RING, and enough */
    uint64_t features;  /* of rings, beside VERSION_1: RING_PACKED, ...; and the device's */
    bool inflight;      /* the session can be taken over */
    uint64_t image_len;
    const char *qcow2; /* the image is one, made with these options of qemu-img's; NULL: raw */
    bool control;      /* the daemon takes commands at guest->control */
    const char *path;  /* the image is there; NULL: it is made */
    bool no_journal;   /* where the daemon would have one, it cannot */
};

/* One request's buffers. */
struct blk_guest_slot {
    uint8_t *out, *in; /* header and data; data and status */
    uint64_t out_gpa, in_gpa;
    uint32_t out_len, in_len;
    bool in_flight;
    /* the test's own */
    uint32_t type;
    uint64_t offset, len;
};

struct blk_guest {
    struct blk_guest_setup setup;
    char *dir, *image, *socket, *control, *journal;
    int pid; /* of the daemon */
    GRand *rand;
    struct vu_shmem shmem;
    struct vu_frontend *frontend;
    uint64_t features; /* negotiated */
    struct vu_driver *queues[BLK_GUEST_MAX_QUEUES];
    struct blk_guest_slot call; /* of blk_guest_call */
};

/* Makes the image (zeros), starts the daemon and connects. False, with the test skipped, where the
 * daemon does not start, or there is no qemu-img and it is needed. */
bool blk_guest_start(struct blk_guest *guest, const struct blk_guest_setup *setup);
/* SIGTERM; the daemon must end well. The image stays until blk_guest_clear. */
void blk_guest_stop(struct blk_guest *guest);
/* SIGTERM while the guest is there: the daemon's exit status, which does not wait for its disk. */
int blk_guest_terminate(struct blk_guest *guest);
void blk_guest_clear(struct blk_guest *guest);
/* Runs a command line made like printf's, words with one space between them; its exit status. */
int blk_guest_run(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* What the disk holds, read from its image while the daemon is stopped; g_free. A qcow2 image is
 * checked for errors, and for leaks unless these are allowed. */
uint8_t *blk_guest_read_image(struct blk_guest *guest, bool may_leak);
/* Kills the daemon, starts another, on what image and setup are by now, and takes the session over
 * (setup.inflight). */
void blk_guest_restart(struct blk_guest *guest);

/* After blk_guest_stop: another daemon and another guest on the same image. */
void blk_guest_start_again(struct blk_guest *guest);
/* Kills the daemon, and starts another and another guest on the same image. */
void blk_guest_replace(struct blk_guest *guest);

/* Buffers for one request. */
void blk_guest_slot_init(struct blk_guest *guest, struct blk_guest_slot *slot);
/* Sets a slot's header; data behind it is the caller's to write. data_out and data_in are lengths.
 */
void blk_guest_fill(struct blk_guest_slot *slot, uint32_t type, uint64_t sector, uint32_t data_out,
                    uint32_t data_in);
/* Adds a request, cut into ranges at random places. False where the ring is full. */
bool blk_guest_add(struct blk_guest *guest, unsigned queue, struct blk_guest_slot *slot);
/* Takes one that is done, waiting for it. */
struct blk_guest_slot *blk_guest_take(struct blk_guest *guest, unsigned queue);
/* Takes one that is done, if there is any. */
struct blk_guest_slot *blk_guest_try_take(struct blk_guest *guest, unsigned queue);
/* The status byte of an answered slot; checks the length that the device told. */
uint8_t blk_guest_status(const struct blk_guest_slot *slot);

/* One request, waited for: its status. Data of IN and GET_ID is in guest->call.in. */
uint8_t blk_guest_call(struct blk_guest *guest, uint32_t type, uint64_t sector, const void *data,
                       uint32_t data_out, uint32_t data_in);
