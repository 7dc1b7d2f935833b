/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vrngd: parse, open the sockets and the source, go into the sandbox, give up rights, serve.
 */
#include <stdio.h>

#include "contrib/vrngd/device.h"
#include "contrib/vrngd/egd-server.h"
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

/* What the command line asks for, and what is opened before the sandbox. */
struct vrngd {
    struct vu_daemon_options daemon;
    struct rng_options options;
    struct egd_options egd_options;
    struct vu_daemon_sockets sockets;
    struct egd_sockets egd_sockets;
    struct rng_source *source;
};

/* With everything in place: the threads of the feeder and of the EGD server, and the session. */
static int run(struct vrngd *vrngd)
{
    struct rng_pool *pool = rng_pool_create();
    struct rng_feeder *feeder = rng_feeder_create(pool, vrngd->source);
    const struct egd_server_options egd_options = {
        .pool = pool,
        .instant = vrngd->source->ops->is_instant ? vrngd->source : NULL,
    };
    struct egd_server *egd = egd_server_create(&egd_options, &vrngd->egd_sockets);
    struct rng_device device;
    struct vu_device described;
    int status = 1;

    rng_device_init(&device, program.name, pool, vrngd->source,
                    (unsigned)vrngd->options.num_queues);
    rng_device_describe(&device, &described);
    if (rng_feeder_start(feeder) == 0 && egd_server_start(egd) == 0)
        status = vu_daemon_run(&vrngd->daemon, &described, &device, &vrngd->sockets);
    egd_server_stop(egd);
    rng_feeder_stop(feeder);
    egd_server_destroy(egd);
    rng_device_finish(&device);
    rng_feeder_destroy(feeder);
    rng_pool_destroy(pool);
    return status;
}

/* In the sandbox: gives up what serving does not take, and serves. Uses up the sockets. */
static int serve(struct vrngd *vrngd)
{
    enum vu_seccomp_mode mode = (enum vu_seccomp_mode)vrngd->options.seccomp;
    GError *error = NULL;

    if (vu_capabilities_limit(0, &(struct vu_capability_changes){0}, &error) &&
        vu_seccomp_install(mode, &rng_syscall_rules, &error))
        return run(vrngd);
    vu_daemon_close_sockets(&vrngd->sockets);
    egd_sockets_close(&vrngd->egd_sockets);
    return fail(error);
}

/* Before the sandbox. False with *error, and nothing left. */
static bool open_all(struct vrngd *vrngd, GError **error)
{
    if (!vu_daemon_open_sockets(&vrngd->daemon, &vrngd->sockets, error))
        return false;
    if (egd_sockets_open(&vrngd->egd_sockets, &vrngd->egd_options, error)) {
        vrngd->source = rng_source_create(vrngd->options.source, error);
        if (vrngd->source)
            return true;
        g_prefix_error(error, "--source: ");
        egd_sockets_close(&vrngd->egd_sockets);
    }
    vu_daemon_close_sockets(&vrngd->sockets);
    vu_daemon_remove_socket();
    return false;
}

/* Those that the process outside of the sandbox has no use for. */
static unsigned list_fds(const struct vrngd *vrngd, int *ret_fds)
{
    unsigned n = 0;

    for (unsigned i = VU_DAEMON_CONTROL; i < VU_DAEMON_N_SOCKETS; i++)
        ret_fds[n++] = vrngd->sockets.fds[i];
    for (unsigned i = 0; i < EGD_MAX_LISTEN; i++)
        ret_fds[n++] = vrngd->egd_sockets.fds[i];
    ret_fds[n++] = vrngd->egd_sockets.mix_fd;
    return n;
}

static int start(struct vrngd *vrngd)
{
    int fds[VU_DAEMON_N_SOCKETS + EGD_MAX_LISTEN + 1];
    struct vu_sandbox_options sandbox_options = {
        .program = program.name,
        .mode = (enum vu_sandbox_mode)vrngd->options.sandbox,
        .fds = fds,
    };
    struct vu_sandbox sandbox;
    GError *error = NULL;
    int status;

    if (!rng_options_check(&vrngd->options, &error))
        return fail(error);
    if (!vu_ready_prepare(program.name, vrngd->daemon.background, &status))
        return status;
    if (!open_all(vrngd, &error))
        return fail(error);
    sandbox_options.n_fds = list_fds(vrngd, fds);
    if (!vu_sandbox_enter(&sandbox_options, vrngd->sockets.fds[VU_DAEMON_SESSION], &sandbox,
                          &status))
        return status;
    status = serve(vrngd);
    rng_source_destroy(vrngd->source);
    vu_daemon_remove_socket();
    vu_sandbox_clear(&sandbox);
    return status;
}

int main(int argc, char **argv)
{
    struct vrngd vrngd = {0};
    struct vu_option_table tables[2];
    int status = 1;

    vu_daemon_options_init(&vrngd.daemon);
    rng_options_init(&vrngd.options);
    egd_options_init(&vrngd.egd_options);
    tables[0] = rng_options_table(&vrngd.options);
    tables[1] = egd_options_table(&vrngd.egd_options);
    if (vu_daemon_parse(&program, &vrngd.daemon, tables, G_N_ELEMENTS(tables), argc, argv, &status))
        status = start(&vrngd);
    egd_options_clear(&vrngd.egd_options);
    rng_options_clear(&vrngd.options);
    vu_daemon_options_clear(&vrngd.daemon);
    return status;
}
