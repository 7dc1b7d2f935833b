/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vrngd: parse, open the sockets and the source, go into the sandbox, give up rights, serve.
 */
#include <stdio.h>

#include "contrib/vrngd/manual.h"
#include "contrib/vrngd/rng-options.h"
#include "contrib/vrngd/service.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/capabilities.h"
#include "vhost-user/daemon/daemon.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/daemon/ready.h"
#include "vhost-user/daemon/sandbox.h"
#include "vhost-user/daemon/seccomp.h"
#include "vhost-user/daemon/supervise.h"

static const struct vu_program program = {
    .name = "vrngd",
    .usage = "vrngd --socket-path=PATH [OPTION]...",
    .summary = "give random bytes to virtual machines",
    .device_type = "rng",
    .commands = &rng_control_table,
    .man_description = rng_manual_description,
    .man_text = rng_manual_sections,
    .max_devices = VU_DAEMON_MAX_DEVICES,
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

/* With everything in place. */
static int run(struct vrngd *vrngd)
{
    struct rng_service service;
    int status;

    rng_service_init(&service, &vrngd->options, 1 + vrngd->sockets.n_more, vrngd->source,
                     &vrngd->egd_sockets);
    status = rng_service_run(&service, &vrngd->daemon, &vrngd->sockets);
    rng_service_finish(&service);
    return status;
}

/* In the sandbox: gives up what serving does not take, and serves. Uses up the sockets. */
static int serve(struct vrngd *vrngd)
{
    enum vu_seccomp_mode mode = (enum vu_seccomp_mode)vrngd->options.seccomp;
    GError *error = NULL;

    if (vu_capabilities_limit(0, &(struct vu_capability_changes){0}, &error) &&
        vu_seccomp_install(mode, NULL, &error))
        return run(vrngd);
    vu_daemon_close_sockets(&vrngd->sockets);
    egd_sockets_close(&vrngd->egd_sockets);
    return fail(error);
}

static struct rng_source *open_source(const struct rng_options *options, GError **error)
{
    struct rng_source *source = rng_source_create(options->source, error);

    if (!source)
        g_prefix_error(error, "--source: ");
    else if (options->health == RNG_HEALTH_ON && source->ops->is_instant) {
        g_set_error(error, VU_OPTION_ERROR, 0,
                    "--health: expected auto or off with --source=%s, whose bytes come from a "
                    "generator and are never raw",
                    source->name);
        g_clear_pointer(&source, rng_source_destroy);
    }
    return source;
}

/* Before the sandbox. False with *error, and nothing left. */
static bool open_all(struct vrngd *vrngd, GError **error)
{
    if (!egd_sockets_open(&vrngd->egd_sockets, &vrngd->egd_options, error))
        return false;
    if (vu_daemon_open_sockets(&vrngd->daemon, &vrngd->sockets, error)) {
        vrngd->source = open_source(&vrngd->options, error);
        if (vrngd->source)
            return true;
        vu_daemon_close_sockets(&vrngd->sockets);
    }
    egd_sockets_close(&vrngd->egd_sockets);
    vu_daemon_remove_socket();
    return false;
}

/* Those that the process outside of the sandbox has no use for, and might wait for at its end. */
static unsigned list_fds(const struct vrngd *vrngd, int *ret_fds)
{
    unsigned n = 0;

    for (unsigned i = VU_DAEMON_CONTROL; i < VU_DAEMON_N_SOCKETS; i++)
        ret_fds[n++] = vrngd->sockets.fds[i];
    for (unsigned i = 0; i < vrngd->sockets.n_more; i++)
        ret_fds[n++] = vrngd->sockets.more[i];
    for (unsigned i = 0; i < EGD_MAX_LISTEN; i++)
        ret_fds[n++] = vrngd->egd_sockets.fds[i];
    ret_fds[n++] = vrngd->egd_sockets.mix_fd;
    ret_fds[n++] = vrngd->source->fd;
    return n;
}

static int start(struct vrngd *vrngd)
{
    int fds[VU_DAEMON_N_SOCKETS + VU_DAEMON_MAX_DEVICES + EGD_MAX_LISTEN + 2];
    struct vu_sandbox_options sandbox_options = {
        .program = program.name,
        .mode = (enum vu_sandbox_mode)vrngd->options.sandbox,
        .fds = fds,
    };
    struct vu_sandbox sandbox;
    GError *error = NULL;
    int status;

    if (!rng_options_check(&vrngd->options, &vrngd->daemon, &error))
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
    vu_daemon_remove_socket();
    /* A file may be one whose end somebody has to be told of, who does not listen. */
    vu_supervise_take_leave();
    rng_source_destroy(vrngd->source);
    vu_sandbox_clear(&sandbox);
    return status;
}

int main(int argc, char **argv)
{
    struct vrngd vrngd = {0};
    struct vu_option_table tables[3];
    int status = 1;

    vu_daemon_options_init(&vrngd.daemon);
    rng_options_init(&vrngd.options);
    egd_options_init(&vrngd.egd_options);
    tables[0] = rng_options_table(&vrngd.options);
    tables[1] = egd_options_table(&vrngd.egd_options);
    tables[2] = rng_options_daemon_table(&vrngd.daemon);
    if (vu_daemon_parse(&program, &vrngd.daemon, tables, G_N_ELEMENTS(tables), argc, argv, &status))
        status = start(&vrngd);
    egd_options_clear(&vrngd.egd_options);
    rng_options_clear(&vrngd.options);
    vu_daemon_options_clear(&vrngd.daemon);
    return status;
}
