/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of vrngd: limits after QEMU's virtio-rng, and the names that vhost-device-rng has, from
 * one table.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/daemon/options.h"

/* Whether what the source gives is tested. */
enum rng_health_choice {
    RNG_HEALTH_AUTO, /* where it is raw */
    RNG_HEALTH_ON,
    RNG_HEALTH_OFF,
};

struct rng_options {
    char *source;
    int health; /* enum rng_health_choice */
    double min_entropy;
    uint64_t max_bytes, total_max_bytes; /* in a period, of each device and of all; 0: no limit */
    int period_ms;
    int socket_count; /* 0: sockets are those whose paths were given */
    int num_queues;
    int sandbox; /* enum vu_sandbox_mode */
    int seccomp; /* enum vu_seccomp_mode */
};

void rng_options_init(struct rng_options *options);
void rng_options_clear(struct rng_options *options);
struct vu_option_table rng_options_table(struct rng_options *options);

struct vu_daemon_options;

/* A row of a table of its own, whose target is a struct vu_daemon_options: -s. */
struct vu_option_table rng_options_daemon_table(struct vu_daemon_options *daemon);

/* What single rows cannot check. Makes --socket-count's paths of the one that was given. False with
 * *error, which names the option. */
bool rng_options_check(struct rng_options *options, struct vu_daemon_options *daemon,
                       GError **error);
