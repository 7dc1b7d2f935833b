/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a daemon: one front-end after another on the session thread, signals on the main
 * thread.
 *
 *   LISTENING --a connection speaks--> SERVING --it goes--> LISTENING, or ENDED
 *   LISTENING, SERVING --SIGTERM, ..., the command quit--> STOPPING
 *   STOPPING --the session ends--> ENDED
 *   STOPPING --5 s, a request hangs in the kernel--> the process exits
 *
 * ENDED after the first front-end: with --exit-on-disconnect, or on a socket that came connected.
 *
 * A connection counts as a front-end once it has sent a byte: somebody who only looks whether the
 * socket is alive, as another daemon's start does, ends nothing. Front-ends that come meanwhile
 * wait in the socket's backlog.
 */
#include "vhost-user/daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/daemon/metrics.h"
#include "vhost-user/daemon/process.h"
#include "vhost-user/daemon/ready.h"
#include "vhost-user/daemon/stats.h"
#include "vhost-user/daemon/supervise.h"
#include "vhost-user/log.h"
#include "vhost-user/thread.h"

#define DAEMON_STOP_SECONDS    5
#define DAEMON_ACCEPT_RETRY_MS 100

struct daemon {
    const char *name;
    const struct vu_device *device;
    void *opaque; /* the device's */
    struct vu_backend *backend;
    GMainLoop *loop;
    int socket_fd;
    struct vu_control *control; /* NULL: none */
    struct vu_metrics *metrics; /* NULL: none */
    int stop_fd; /* eventfd: whoever wants an end -> session thread, main; never read, so it stays
                    readable */
    int done_fd; /* eventfd: session thread -> main */
    bool exit_on_disconnect;
    int exit_status; /* session thread's until it is joined */
};

/* Waits until fd can be read. False when the daemon is to stop instead. */
static bool daemon_wait(const struct daemon *daemon, int fd, int timeout_ms)
{
    struct pollfd fds[] = {
        {.fd = daemon->stop_fd, .events = POLLIN},
        {.fd = fd, .events = POLLIN},
    };

    while (poll(fds, fd < 0 ? 1 : 2, timeout_ms) < 0)
        if (errno != EINTR)
            return false;
    return fds[0].revents == 0;
}

static void daemon_log_arrival(const struct daemon *daemon, int conn_fd)
{
    struct ucred peer = {.pid = 0};
    socklen_t len = sizeof(peer);

    if (getsockopt(conn_fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0)
        vu_info("%s: front-end connected (process %d, user %u)", daemon->name, peer.pid, peer.uid);
    else
        vu_info("%s: front-end connected", daemon->name);
}

/* Serves one connection to its end, taking it over. False where it never was a front-end. */
static bool daemon_serve(const struct daemon *daemon, int conn_fd)
{
    char byte;
    int result;

    if (!daemon_wait(daemon, conn_fd, -1) ||
        recv(conn_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0) {
        vu_debug("%s: a connection closed without a word", daemon->name);
        close(conn_fd);
        return false;
    }
    daemon_log_arrival(daemon, conn_fd);
    result = vu_backend_serve(daemon->backend, conn_fd, daemon->stop_fd);
    if (result == 0)
        vu_info("%s: front-end left", daemon->name);
    else if (result == -ECANCELED)
        vu_info("%s: front-end let go, stopping", daemon->name);
    else
        vu_info("%s: front-end cut off: %s", daemon->name, g_strerror(-result));
    return true;
}

/* The next connection, or -1 with *ret_fatal set or clear (try again). */
static int daemon_accept(const struct daemon *daemon, bool *ret_fatal)
{
    int fd = accept4(daemon->socket_fd, NULL, NULL, SOCK_CLOEXEC);

    *ret_fatal = false;
    if (fd >= 0)
        return fd;
    switch (errno) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
        break;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
        vu_error("%s: cannot accept a front-end yet: %s", daemon->name, g_strerror(errno));
        daemon_wait(daemon, -1, DAEMON_ACCEPT_RETRY_MS);
        break;
    default:
        vu_error("%s: cannot accept front-ends: %s", daemon->name, g_strerror(errno));
        *ret_fatal = true;
    }
    return -1;
}

static void daemon_serve_all(struct daemon *daemon)
{
    bool served = false, fatal = false;

    while (!fatal && !(served && daemon->exit_on_disconnect) &&
           daemon_wait(daemon, daemon->socket_fd, -1)) {
        int conn_fd = daemon_accept(daemon, &fatal);

        if (conn_fd >= 0)
            served = daemon_serve(daemon, conn_fd);
    }
    if (fatal)
        daemon->exit_status = EXIT_FAILURE;
}

static void *daemon_session(void *opaque)
{
    struct daemon *daemon = opaque;

    if (vu_daemon_is_listening(daemon->socket_fd))
        daemon_serve_all(daemon);
    else
        daemon_serve(daemon, vu_steal_fd(&daemon->socket_fd));
    /* Here, where a command that hangs is left behind like a request. */
    vu_control_stop(daemon->control);
    vu_metrics_stop(daemon->metrics);
    (void)eventfd_write(daemon->done_fd, 1);
    return NULL;
}

static gboolean daemon_on_done(int fd, GIOCondition condition, void *opaque)
{
    struct daemon *daemon = opaque;

    g_main_loop_quit(daemon->loop);
    return G_SOURCE_REMOVE;
}

/* The session thread is stuck below us, in the kernel; its locks and memory cannot be taken down.
 */
static gboolean daemon_on_stuck(void *opaque)
{
    struct daemon *daemon = opaque;

    vu_error("%s: a request hangs for more than %d seconds, leaving it behind", daemon->name,
             DAEMON_STOP_SECONDS);
    vu_daemon_remove_socket();
    _exit(EXIT_FAILURE);
}

static gboolean daemon_on_stop(int fd, GIOCondition condition, void *opaque)
{
    g_timeout_add_seconds(DAEMON_STOP_SECONDS, daemon_on_stuck, opaque);
    return G_SOURCE_REMOVE;
}

static gboolean daemon_on_signal(void *opaque)
{
    struct daemon *daemon = opaque;

    (void)eventfd_write(daemon->stop_fd, 1);
    return G_SOURCE_CONTINUE;
}

static gboolean daemon_on_usr1(void *opaque)
{
    const struct daemon *daemon = opaque;

    vu_stats_log(daemon->backend);
    if (daemon->device->log_summary)
        daemon->device->log_summary(daemon->opaque);
    return G_SOURCE_CONTINUE;
}

/* All or none. 0 or -errno. */
static int daemon_start_threads(struct daemon *daemon, pthread_t *ret_session)
{
    int err = vu_control_start(daemon->control, daemon->backend, daemon->stop_fd);

    if (err == 0)
        err = vu_metrics_start(daemon->metrics);
    if (err == 0)
        err = vu_thread_create("session", daemon_session, daemon, ret_session);
    if (err != 0) {
        vu_metrics_stop(daemon->metrics);
        vu_control_stop(daemon->control);
    }
    return err;
}

/* Runs the main loop until the session thread is done. 0 or -errno. */
static int daemon_run_loop(struct daemon *daemon)
{
    static const struct {
        int number;
        GSourceFunc handler;
    } signals[] = {{SIGTERM, daemon_on_signal},
                   {SIGINT, daemon_on_signal},
                   {SIGHUP, daemon_on_signal},
                   {SIGUSR1, daemon_on_usr1}};
    pthread_t session;
    sigset_t handled;
    int err;

    signal(SIGPIPE, SIG_IGN);
    vu_supervise_signals(&handled);
    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
        if (sigismember(&handled, signals[i].number))
            g_unix_signal_add(signals[i].number, signals[i].handler, daemon);
    /* Blocked so far where supervise.c started us. */
    pthread_sigmask(SIG_UNBLOCK, &handled, NULL);
    g_unix_fd_add(daemon->done_fd, G_IO_IN, daemon_on_done, daemon);
    g_unix_fd_add(daemon->stop_fd, G_IO_IN, daemon_on_stop, daemon);
    err = daemon_start_threads(daemon, &session);
    if (err != 0)
        return err;
    /* These very words on standard error are what Kata Containers waits for. */
    vu_info("%s: Waiting for vhost-user socket connection...", daemon->name);
    vu_ready_announce();
    g_main_loop_run(daemon->loop);
    pthread_join(session, NULL);
    return 0;
}

/* What describes the device to Prometheus; on the metrics thread. */
static void daemon_collect(void *opaque, GString *text)
{
    const struct daemon *daemon = opaque;

    vu_metrics_add_session(text, daemon->name, daemon->backend, daemon->device->n_queues);
    vu_process_add_metrics(text);
    vu_stats_add_metrics(daemon->backend, text);
    if (daemon->device->collect_metrics)
        daemon->device->collect_metrics(daemon->opaque, daemon->backend, text);
}

/* Serves, with what has been opened. 0 or -errno. */
static int daemon_run(struct daemon *daemon, const struct vu_daemon_options *options,
                      struct vu_daemon_sockets *sockets)
{
    static const struct vu_control_table no_commands;
    const struct vu_control_table *commands = daemon->device->commands;
    const struct vu_backend_options backend_options = {
        .poll_us = (unsigned)options->poll_us,
        .inband_notifications = options->inband_notifications,
    };
    int err;

    fcntl(daemon->socket_fd, F_SETFL, fcntl(daemon->socket_fd, F_GETFL) | O_NONBLOCK);
    daemon->control = vu_control_create(vu_steal_fd(&sockets->fds[VU_DAEMON_CONTROL]), daemon->name,
                                        commands ? commands : &no_commands, daemon->opaque);
    daemon->metrics =
        vu_metrics_create(vu_steal_fd(&sockets->fds[VU_DAEMON_METRICS]), daemon_collect, daemon);
    daemon->backend = vu_backend_create(daemon->device, daemon->opaque, &backend_options);
    daemon->loop = g_main_loop_new(NULL, FALSE);
    err = daemon_run_loop(daemon);
    g_main_loop_unref(daemon->loop);
    vu_metrics_destroy(daemon->metrics);
    vu_control_destroy(daemon->control);
    vu_backend_destroy(daemon->backend);
    return err;
}

int vu_daemon_run(const struct vu_daemon_options *options, const struct vu_device *device,
                  void *opaque, struct vu_daemon_sockets *sockets)
{
    struct daemon daemon = {
        .name = device->name,
        .device = device,
        .opaque = opaque,
        .socket_fd = vu_steal_fd(&sockets->fds[VU_DAEMON_SESSION]),
        .stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .exit_on_disconnect = options->exit_on_disconnect,
        .exit_status = EXIT_SUCCESS,
    };
    int err = daemon.stop_fd < 0 || daemon.done_fd < 0 ? -errno : 0;

    if (err == 0)
        err = daemon_run(&daemon, options, sockets);
    if (err != 0)
        vu_error("%s: cannot start: %s", device->name, g_strerror(-err));
    vu_daemon_remove_socket();
    vu_daemon_close_sockets(sockets);
    vu_clear_fd(&daemon.socket_fd);
    vu_clear_fd(&daemon.stop_fd);
    vu_clear_fd(&daemon.done_fd);
    return err != 0 ? EXIT_FAILURE : daemon.exit_status;
}
