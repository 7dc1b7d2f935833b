/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where random bytes come from. --source names a kind and a place; a kind is a row of
 * source.c, and makes a struct rng_source.
 *
 * A source is either instant (getrandom): any thread reads it at any time, and never waits. Or the
 * feeder (feeder.h) has it for its own, and does this, on one thread, while requests wait:
 *
 *   CLOSED --open--> OPEN: want, poll, read, read, ... --an error--> close --back-off--> open
 *
 * A source says what it got, and nothing else: bytes it was promised and did not get do not exist.
 * What it does not deliver is waited for. Nothing here may wait, log in a loop, or end the process.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct rng_source;

struct rng_source_ops {
    bool is_instant; /* read gives all that it is asked for, on any thread; there is no other call
                        but destroy */
    /* Begins, or begins anew: 0, also where a connection is only on its way; -EPIPE: it never can
     * again in this process; or another -errno, and it is tried again later. Optional. */
    int (*open)(struct rng_source *source);
    /* So many bytes are wanted in all, those of earlier calls that have not been read included; for
     * a source that must ask for them. Before each poll; may shrink, even to 0. Optional. */
    void (*want)(struct rng_source *source, size_t size);
    /* What to poll, and for which events; -1: nothing. Asked before each poll. */
    int (*poll_fd)(const struct rng_source *source, short *ret_events);
    /*
     * Takes up to size bytes: how many there were (> 0); -EAGAIN: none yet; -ENODATA: its end,
     * there may be more later; or another -errno: it failed. Called when poll_fd is ready, and
     * every RNG_SOURCE_TICK_MS while bytes are wanted, so that a source can tell silence by a
     * clock.
     */
    ssize_t (*read)(struct rng_source *source, void *to, size_t size);
    /* Gives the connection up, and forgets what was asked for. Not called unless open. Optional. */
    void (*close)(struct rng_source *source);
    /* Frees everything but the name, the structure too; closed before. */
    void (*destroy)(struct rng_source *source);
};

#define RNG_SOURCE_TICK_MS 1000

/* The first field of each kind's own structure. */
struct rng_source {
    const struct rng_source_ops *ops;
    char *name;  /* as --source has it, for messages; rng_source_create's */
    int fd;      /* what it has had open since it was made; -1: nothing */
    bool is_raw; /* straight from hardware: to be tested (health.h), unless --health=off */
};

/* name: "getrandom", "/dev/hwrng", "egd:unix:/run/egd". NULL with *error. */
struct rng_source *rng_source_create(const char *name, GError **error);
/* NULL is allowed. */
void rng_source_destroy(struct rng_source *source);

/*
 * --- the kinds, each in source-*.c ---
 *
 * what: behind the kind's prefix. In the main thread, outside the sandbox: a path is opened now,
 * and what has to be looked up later is left to a process that is made now. NULL with *error, which
 * says what is wrong with `what` and does not name the option.
 */

/* Always there, and instant. what: "". */
struct rng_source *rng_source_create_getrandom(const char *what, GError **error);
/* A character device, a FIFO or a file. */
struct rng_source *rng_source_create_file(const char *what, GError **error);
/* An EGD server, HOST:PORT or unix:PATH; asked to wait until it has enough, or for what it has. */
struct rng_source *rng_source_create_egd(const char *what, GError **error);
struct rng_source *rng_source_create_egd_poll(const char *what, GError **error);
