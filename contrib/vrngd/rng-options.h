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

struct rng_options {
    char *source;
    int num_queues;
    int sandbox; /* enum vu_sandbox_mode */
    int seccomp; /* enum vu_seccomp_mode */
};

void rng_options_init(struct rng_options *options);
void rng_options_clear(struct rng_options *options);
struct vu_option_table rng_options_table(struct rng_options *options);
/* What single rows cannot check. False with *error, which names the option. */
bool rng_options_check(const struct rng_options *options, GError **error);
