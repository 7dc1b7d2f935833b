/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that a process serves: the source with its feeder, the pool, a device for each socket,
 * the EGD server. What commands and metrics are about.
 */
#pragma once

#include "contrib/vrngd/device.h"
#include "contrib/vrngd/egd-server.h"
#include "contrib/vrngd/feeder.h"
#include "contrib/vrngd/rng-options.h"
#include "vhost-user/daemon/control.h"
#include "vhost-user/daemon/daemon.h"

struct rng_service {
    struct rng_source *source; /* borrowed */
    struct rng_pool *pool;
    struct rng_feeder *feeder;
    struct egd_server *egd; /* NULL: none */
    struct rng_device *devices;
    unsigned n_devices;
};

/* n_devices: at least 1. The EGD sockets are taken over; the source is borrowed. Never fails. */
void rng_service_init(struct rng_service *service, const struct rng_options *options,
                      unsigned n_devices, struct rng_source *source,
                      struct egd_sockets *egd_sockets);
void rng_service_finish(struct rng_service *service);
/* Starts the threads, serves until the daemon's end, ends the threads. Uses up the sockets. Returns
 * main's exit status. */
int rng_service_run(struct rng_service *service, const struct vu_daemon_options *daemon,
                    struct vu_daemon_sockets *sockets);

/* --- control.c --- */

extern const struct vu_control_table rng_control_table;

/* --- metrics.c --- */

/* What is counted beside the queues' requests; any thread. device: the first. */
void rng_metrics_collect(void *device, struct vu_backend *backend, GString *text);
