/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a daemon: a session thread for each device (session.c), signals on the main thread.
 *
 *   SERVING --SIGTERM, ..., the command quit, a failure--> STOPPING
 *   SERVING, STOPPING --all sessions end--> ENDED
 *   STOPPING --5 s, a request hangs in the kernel--> the process exits
 */
#include "vhost-user/daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/daemon/metrics.h"
#include "vhost-user/daemon/process.h"
#include "vhost-user/daemon/ready.h"
#include "vhost-user/daemon/session.h"
#include "vhost-user/daemon/stats.h"
#include "vhost-user/daemon/supervise.h"
#include "vhost-user/log.h"

#define DAEMON_STOP_SECONDS 5
#define DAEMON_MAX_FD       (1 << 20) /* numbers of sockets are lower */

struct daemon {
    const char *name;
    struct vu_session *sessions;
    struct vu_backend **backends; /* theirs */
    unsigned n_sessions;
    unsigned n_running; /* atomic: sessions that have not ended, and one while they are started */
    GMainLoop *loop;
    struct vu_control *control; /* NULL: none */
    struct vu_metrics *metrics; /* NULL: none */
    int stop_fd; /* eventfd: whoever wants an end -> session threads, main; never read, so it stays
                    readable */
    int done_fd; /* eventfd: the last session thread -> main */
};

/* What vu_daemon_fail knows of the daemon that runs, or is about to. */
static struct daemon_failure {
    pthread_mutex_t lock;
    bool has_failed;
    int stop_fd; /* -1: it does not run */
} daemon_failure = {.lock = PTHREAD_MUTEX_INITIALIZER, .stop_fd = -1};

void vu_daemon_fail(void)
{
    VU_LOCK_SCOPE(&daemon_failure.lock);

    daemon_failure.has_failed = true;
    if (daemon_failure.stop_fd >= 0)
        (void)eventfd_write(daemon_failure.stop_fd, 1);
}

/* From now on a failure is told there; one that was before, at once. -1: to nobody. Whether there
 * was any. */
static bool daemon_watch_failure(int stop_fd)
{
    VU_LOCK_SCOPE(&daemon_failure.lock);

    daemon_failure.stop_fd = stop_fd;
    if (daemon_failure.has_failed && stop_fd >= 0)
        (void)eventfd_write(stop_fd, 1);
    return daemon_failure.has_failed;
}

/*
 * Sockets only: to close a file may wait for what hangs. Their numbers stay taken, for other
 * threads may still use these, and close them. To a sanitizer, dup3(2) would be a race with them.
 */
static void daemon_close_all_sockets(void)
{
    vu_autofd int nothing = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    uint64_t n_all = vu_process_n_fds(), n_seen = 0;
    socklen_t len = sizeof(int);
    int type;

    /* Behind the last of them there may be a million numbers that nobody has. */
    for (int fd = 0; fd < DAEMON_MAX_FD; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            continue;
        if (fd > STDERR_FILENO && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0)
            syscall(SYS_dup3, nothing, fd, O_CLOEXEC);
        if (++n_seen == n_all && vu_process_n_fds() <= n_all)
            break;
    }
}

void vu_daemon_abandon(void)
{
    vu_daemon_remove_socket();
    vu_supervise_take_leave();
    daemon_close_all_sockets();
    _exit(EXIT_FAILURE);
}

/* A session is over; behind the last of them everything is. Its thread, or main. */
static void daemon_release(struct daemon *daemon)
{
    if (__atomic_sub_fetch(&daemon->n_running, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    /* Here, where a command that hangs is left behind like a request. */
    vu_control_stop(daemon->control);
    vu_metrics_stop(daemon->metrics);
    (void)eventfd_write(daemon->done_fd, 1);
}

static void daemon_on_session_end(struct vu_session *session)
{
    struct daemon *daemon = session->daemon;

    /* A socket that fails would leave a device that nobody can reach. */
    if (session->exit_status != EXIT_SUCCESS)
        (void)eventfd_write(daemon->stop_fd, 1);
    daemon_release(daemon);
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
    vu_daemon_abandon();
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

    vu_stats_log(daemon->name, daemon->backends, daemon->n_sessions);
    for (unsigned i = 0; i < daemon->n_sessions; i++)
        if (daemon->sessions[i].device->log_summary)
            daemon->sessions[i].device->log_summary(daemon->sessions[i].opaque);
    return G_SOURCE_CONTINUE;
}

/* Starts a session's thread, and what all share before the first. 0 or -errno; those that were
 * started go on. */
static int daemon_start_threads(struct daemon *daemon, unsigned *ret_n_started)
{
    int err =
        vu_control_start(daemon->control, daemon->backends, daemon->n_sessions, daemon->stop_fd);

    *ret_n_started = 0;
    if (err == 0)
        err = vu_metrics_start(daemon->metrics);
    daemon->n_running = 1;
    while (err == 0 && *ret_n_started < daemon->n_sessions) {
        __atomic_add_fetch(&daemon->n_running, 1, __ATOMIC_RELAXED);
        err = vu_session_start(&daemon->sessions[*ret_n_started]);
        if (err == 0)
            ++*ret_n_started;
        else
            __atomic_sub_fetch(&daemon->n_running, 1, __ATOMIC_RELAXED);
    }
    if (err != 0)
        (void)eventfd_write(daemon->stop_fd, 1);
    daemon_release(daemon);
    return err;
}

/* Runs the main loop until the session threads are done. 0 or -errno. */
static int daemon_run_loop(struct daemon *daemon)
{
    static const struct {
        int number;
        GSourceFunc handler;
    } signals[] = {{SIGTERM, daemon_on_signal},
                   {SIGINT, daemon_on_signal},
                   {SIGHUP, daemon_on_signal},
                   {SIGUSR1, daemon_on_usr1}};
    unsigned n_started;
    sigset_t handled;
    int err;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a guest's write beyond RLIMIT_FSIZE fails, and that is all */
    vu_supervise_signals(&handled);
    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
        if (sigismember(&handled, signals[i].number))
            g_unix_signal_add(signals[i].number, signals[i].handler, daemon);
    /* Blocked so far where supervise.c started us. */
    pthread_sigmask(SIG_UNBLOCK, &handled, NULL);
    g_unix_fd_add(daemon->done_fd, G_IO_IN, daemon_on_done, daemon);
    g_unix_fd_add(daemon->stop_fd, G_IO_IN, daemon_on_stop, daemon);
    err = daemon_start_threads(daemon, &n_started);
    if (err == 0) {
        /* These very words on standard error are what Kata Containers waits for. */
        vu_info("%s: Waiting for vhost-user socket connection...", daemon->name);
        vu_ready_announce();
        g_main_loop_run(daemon->loop);
    }
    for (unsigned i = 0; i < n_started; i++)
        pthread_join(daemon->sessions[i].thread, NULL);
    return err;
}

/* What describes the devices to Prometheus; on the metrics thread. */
static void daemon_collect(void *opaque, GString *text)
{
    const struct daemon *daemon = opaque;
    const struct vu_session *first = &daemon->sessions[0];

    vu_metrics_add_sessions(text, daemon->name, daemon->backends, daemon->n_sessions);
    vu_process_add_metrics(text);
    vu_stats_add_metrics(daemon->backends, daemon->n_sessions, text);
    if (first->device->collect_metrics)
        first->device->collect_metrics(first->opaque, first->backend, text);
}

static void daemon_open_session(struct daemon *daemon, unsigned i,
                                const struct vu_daemon_options *options,
                                const struct vu_daemon_device *device, int socket_fd)
{
    const struct vu_backend_options backend_options = {
        .poll_us = (unsigned)options->poll_us,
        .inband_notifications = options->inband_notifications,
    };

    fcntl(socket_fd, F_SETFL, fcntl(socket_fd, F_GETFL) | O_NONBLOCK);
    daemon->backends[i] = vu_backend_create(device->device, device->opaque, &backend_options);
    daemon->sessions[i] = (struct vu_session){
        .device = device->device,
        .opaque = device->opaque,
        .backend = daemon->backends[i],
        .socket_fd = socket_fd,
        .stop_fd = daemon->stop_fd,
        .exit_on_disconnect = options->exit_on_disconnect,
        .ended = daemon_on_session_end,
        .daemon = daemon,
        .exit_status = EXIT_SUCCESS,
    };
}

/* The worst exit status of all sessions. */
static int daemon_close_sessions(struct daemon *daemon)
{
    int status = EXIT_SUCCESS;

    for (unsigned i = 0; i < daemon->n_sessions; i++) {
        struct vu_session *session = &daemon->sessions[i];

        vu_backend_destroy(session->backend);
        vu_clear_fd(&session->socket_fd);
        status = MAX(status, session->exit_status);
    }
    g_free(daemon->backends);
    g_free(daemon->sessions);
    return status;
}

/* Serves, with what has been opened. 0 or -errno. */
static int daemon_run(struct daemon *daemon, struct vu_daemon_sockets *sockets)
{
    static const struct vu_control_table no_commands;
    const struct vu_session *first = &daemon->sessions[0];
    int err;

    daemon->control = vu_control_create(
        vu_steal_fd(&sockets->fds[VU_DAEMON_CONTROL]), daemon->name,
        first->device->commands ? first->device->commands : &no_commands, first->opaque);
    daemon->metrics =
        vu_metrics_create(vu_steal_fd(&sockets->fds[VU_DAEMON_METRICS]), daemon_collect, daemon);
    daemon->loop = g_main_loop_new(NULL, FALSE);
    err = daemon_run_loop(daemon);
    g_main_loop_unref(daemon->loop);
    vu_metrics_destroy(daemon->metrics);
    vu_control_destroy(daemon->control);
    return err;
}

int vu_daemon_run_devices(const struct vu_daemon_options *options, const char *name,
                          const struct vu_daemon_device *devices, struct vu_daemon_sockets *sockets)
{
    struct daemon daemon = {
        .name = name,
        .sessions = g_new0(struct vu_session, 1 + sockets->n_more),
        .backends = g_new0(struct vu_backend *, 1 + sockets->n_more),
        .n_sessions = 1 + sockets->n_more,
        .stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
    };
    int err = daemon.stop_fd < 0 || daemon.done_fd < 0 ? -errno : 0, status;
    bool has_failed;

    for (unsigned i = 0; i < daemon.n_sessions; i++)
        daemon_open_session(
            &daemon, i, options, &devices[i],
            vu_steal_fd(i == 0 ? &sockets->fds[VU_DAEMON_SESSION] : &sockets->more[i - 1]));
    daemon_watch_failure(daemon.stop_fd);
    if (err == 0)
        err = daemon_run(&daemon, sockets);
    if (err != 0)
        vu_error("%s: cannot start: %s", name, g_strerror(-err));
    vu_daemon_remove_socket();
    status = daemon_close_sessions(&daemon);
    vu_daemon_close_sockets(sockets);
    has_failed = daemon_watch_failure(-1);
    vu_clear_fd(&daemon.stop_fd);
    vu_clear_fd(&daemon.done_fd);
    return err != 0 || has_failed ? EXIT_FAILURE : status;
}

int vu_daemon_run(const struct vu_daemon_options *options, const struct vu_device *device,
                  void *opaque, struct vu_daemon_sockets *sockets)
{
    return vu_daemon_run_devices(options, device->name, &(struct vu_daemon_device){device, opaque},
                                 sockets);
}
