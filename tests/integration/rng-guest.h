/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-rng drivers for tests: one or more devices of the daemon that $VRNGD names, each with
 * front-end, memory and queues of its own. The daemon can be killed and started again.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/driver.h"
#include "vhost-user/frontend.h"

#define RNG_GUEST_MAX_DEVICES 3
#define RNG_GUEST_MAX_QUEUES  2
#define RNG_GUEST_RING        64
#define RNG_GUEST_BUFFER      (512u << 10) /* bytes of a request's memory */
#define RNG_GUEST_PATIENCE_MS 60000

struct rng_guest_setup {
    const char *options; /* of the daemon, with a space between them; may be NULL */
    unsigned n_devices, n_queues;
    unsigned ring;     /* descriptors; 0: RNG_GUEST_RING */
    uint64_t features; /* of rings, beside VERSION_1 */
    bool inflight;
    bool unsealed; /* its memory can become less */
};

/* A request: where it is written to. */
struct rng_guest_slot {
    uint8_t *bytes; /* RNG_GUEST_BUFFER of them */
    uint64_t gpa;
    uint32_t len; /* asked for */
    uint32_t got; /* written, as the device says */
};

struct rng_guest_device {
    char *socket;
    struct vu_shmem shmem;
    struct vu_frontend *frontend;
    struct vu_driver *queues[RNG_GUEST_MAX_QUEUES];
};

struct rng_guest {
    struct rng_guest_setup setup;
    char *dir, *control, *log;
    int pid; /* of the daemon */
    struct rng_guest_device devices[RNG_GUEST_MAX_DEVICES];
};

/* Starts the daemon and connects all devices. False, with the test skipped, where it does not. */
bool rng_guest_start(struct rng_guest *guest, const struct rng_guest_setup *setup);
/* SIGTERM; the daemon must end well, and soon. */
void rng_guest_stop(struct rng_guest *guest);
/* Where the daemon has ended already. */
void rng_guest_clear(struct rng_guest *guest);
/* Kills the daemon, starts another and takes the sessions over. */
void rng_guest_restart(struct rng_guest *guest);
/* Sends a command, and waits for an answer that has this text in it. */
void rng_guest_expect_answer(struct rng_guest *guest, const char *command, const char *text);
/* Waits until the log has a line with this text in it. */
void rng_guest_expect_log(struct rng_guest *guest, const char *text);

/* Memory for a request, filled with a pattern. */
void rng_guest_slot_init(struct rng_guest *guest, unsigned device, struct rng_guest_slot *slot);
/* Asks for bytes in n ranges of these lengths, and kicks. */
void rng_guest_ask(struct rng_guest *guest, unsigned device, unsigned queue,
                   struct rng_guest_slot *slot, const uint32_t *lens, unsigned n);
/* The next request that is done, if there is one. What lies behind its bytes is as it was. */
struct rng_guest_slot *rng_guest_try_take(struct rng_guest *guest, unsigned device, unsigned queue);
/* The same, waiting for it. */
struct rng_guest_slot *rng_guest_take(struct rng_guest *guest, unsigned device, unsigned queue);
/* Asks for len bytes, waits for them, and returns how many they were. */
uint32_t rng_guest_read(struct rng_guest *guest, unsigned device, unsigned queue,
                        struct rng_guest_slot *slot, uint32_t len);
