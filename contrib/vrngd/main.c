/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vrngd: parse, open the sockets and the source, go into the sandbox, give up rights, serve.
 */
#include <stdio.h>

#include "contrib/vrngd/device.h"
#include "contrib/vrngd/feeder.h"
#include "contrib/vrngd/rng-options.h"
#include "contrib/vrngd/syscalls.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/capabilities.h"
#include "vhost-user/daemon/daemon.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/daemon/ready.h"
#include "vhost-user/daemon/sandbox.h"

static const struct vu_program program = {
    .name = "vrngd",
    .usage = "vrngd --socket-path=PATH [OPTION]...",
    .summary = "give random bytes to virtual machines",
    .device_type = "rng",
};

static int fail(GError *error)
{
    fprintf(stderr, "%s: %s\n", program.name, error->message);
    g_error_free(error);
    return 1;
}

/* With everything in place: the feeder's thread, and the session. */
static int run(const struct vu_daemon_options *daemon, const struct rng_options *options,
               struct rng_source *source, struct vu_daemon_sockets *sockets)
{
    struct rng_pool *pool = rng_pool_create();
    struct rng_feeder *feeder = rng_feeder_create(pool, source);
    struct rng_device device;
    struct vu_device described;
    int status = 1;

    rng_device_init(&device, program.name, pool, source, (unsigned)options->num_queues);
    rng_device_describe(&device, &described);
    if (rng_feeder_start(feeder) == 0)
        status = vu_daemon_run(daemon, &described, &device, sockets);
    rng_feeder_stop(feeder);
    rng_device_finish(&device);
    rng_feeder_destroy(feeder);
    rng_pool_destroy(pool);
    return status;
}

/* In the sandbox: gives up what serving does not take, and serves. Uses up the sockets. */
static int serve(const struct vu_daemon_options *daemon, const struct rng_options *options,
                 struct rng_source *source, struct vu_daemon_sockets *sockets)
{
    GError *error = NULL;

    if (vu_capabilities_limit(0, &(struct vu_capability_changes){0}, &error) &&
        vu_seccomp_install((enum vu_seccomp_mode)options->seccomp, &rng_syscall_rules, &error))
        return run(daemon, options, source, sockets);
    vu_daemon_close_sockets(sockets);
    return fail(error);
}

/* Before the sandbox. False with *error, and nothing left. */
static bool open_all(const struct vu_daemon_options *daemon, const struct rng_options *options,
                     struct vu_daemon_sockets *ret_sockets, struct rng_source **ret_source,
                     GError **error)
{
    if (!vu_daemon_open_sockets(daemon, ret_sockets, error))
        return false;
    *ret_source = rng_source_create(options->source, error);
    if (*ret_source)
        return true;
    g_prefix_error(error, "--source: ");
    vu_daemon_close_sockets(ret_sockets);
    vu_daemon_remove_socket();
    return false;
}

static int start(const struct vu_daemon_options *daemon, const struct rng_options *options)
{
    struct vu_daemon_sockets sockets;
    const struct vu_sandbox_options sandbox_options = {
        .program = program.name,
        .mode = (enum vu_sandbox_mode)options->sandbox,
        .fds = &sockets.fds[VU_DAEMON_CONTROL],
        .n_fds = VU_DAEMON_N_SOCKETS - VU_DAEMON_CONTROL,
    };
    struct rng_source *source;
    struct vu_sandbox sandbox;
    GError *error = NULL;
    int status;

    if (!rng_options_check(options, &error))
        return fail(error);
    if (!vu_ready_prepare(program.name, daemon->background, &status))
        return status;
    if (!open_all(daemon, options, &sockets, &source, &error))
        return fail(error);
    if (!vu_sandbox_enter(&sandbox_options, sockets.fds[VU_DAEMON_SESSION], &sandbox, &status))
        return status;
    status = serve(daemon, options, source, &sockets);
    rng_source_destroy(source);
    vu_daemon_remove_socket();
    vu_sandbox_clear(&sandbox);
    return status;
}

int main(int argc, char **argv)
{
    struct vu_daemon_options daemon;
    struct rng_options options;
    struct vu_option_table table;
    int status = 1;

    vu_daemon_options_init(&daemon);
    rng_options_init(&options);
    table = rng_options_table(&options);
    if (vu_daemon_parse(&program, &daemon, &table, 1, argc, argv, &status))
        status = start(&daemon, &options);
    rng_options_clear(&options);
    vu_daemon_options_clear(&daemon);
    return status;
}
