/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a device's session:
 *
 *   LISTENING --a connection speaks--> SERVING --it goes--> LISTENING, or ENDED
 *   LISTENING, SERVING --stop_fd--> ENDED
 *
 * ENDED after the first front-end: with exit_on_disconnect, or on a socket that came connected.
 *
 * A connection counts as a front-end once it has sent a byte: somebody who only looks whether the
 * socket is alive, as another daemon's start does, ends nothing, and keeps nobody out. Front-ends
 * that come while another is served wait in the socket's backlog.
 */
#include "vhost-user/daemon/session.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/log.h"
#include "vhost-user/thread.h"

#define SESSION_ACCEPT_RETRY_MS 100
#define SESSION_MAX_SILENT      8

/* Waits until fd can be read. False when the daemon is to stop instead. */
static bool session_wait(const struct vu_session *session, int fd, int timeout_ms)
{
    struct pollfd fds[] = {
        {.fd = session->stop_fd, .events = POLLIN},
        {.fd = fd, .events = POLLIN},
    };

    while (poll(fds, fd < 0 ? 1 : 2, timeout_ms) < 0)
        if (errno != EINTR)
            return false;
    return fds[0].revents == 0;
}

static void session_log_arrival(const struct vu_session *session, int conn_fd)
{
    struct ucred peer = {.pid = 0};
    socklen_t len = sizeof(peer);

    if (getsockopt(conn_fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0)
        vu_info("%s: front-end connected (process %d, user %u)", session->device->name, peer.pid,
                peer.uid);
    else
        vu_info("%s: front-end connected", session->device->name);
}

/* Serves a front-end to its end, taking it over. */
static void session_serve(const struct vu_session *session, int conn_fd)
{
    int result;

    session_log_arrival(session, conn_fd);
    result = vu_backend_serve(session->backend, conn_fd, session->stop_fd);
    if (result == 0)
        vu_info("%s: front-end left", session->device->name);
    else if (result == -ECANCELED)
        vu_info("%s: front-end let go, stopping", session->device->name);
    else
        vu_info("%s: front-end cut off: %s", session->device->name, g_strerror(-result));
}

/* Whether a connection has spoken: 1; 0: not yet; -1: it never will. */
static int session_listen_to(int conn_fd)
{
    char byte;
    ssize_t n = recv(conn_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return n > 0 ? 1 : -1;
}

/* The socket came connected. */
static void session_serve_one(struct vu_session *session)
{
    vu_autofd int conn_fd = vu_steal_fd(&session->socket_fd);

    if (session_wait(session, conn_fd, -1) && session_listen_to(conn_fd) == 1)
        session_serve(session, vu_steal_fd(&conn_fd));
    else
        vu_debug("%s: a connection closed without a word", session->device->name);
}

/* --- a socket that listens --- */

/* Connections that have not said anything yet, the oldest first: one that is no front-end, and
 * stays, is in nobody's way. */
struct session_silent {
    int fds[SESSION_MAX_SILENT];
    unsigned n;
};

static int silent_take(struct session_silent *silent, unsigned i)
{
    int fd = silent->fds[i];

    silent->n--;
    memmove(&silent->fds[i], &silent->fds[i + 1], (silent->n - i) * sizeof(silent->fds[0]));
    return fd;
}

/* The first that has spoken, or -1. Those that have gone are closed. */
static int silent_find(const struct vu_session *session, struct session_silent *silent)
{
    unsigned i = 0;

    while (i < silent->n) {
        int heard = session_listen_to(silent->fds[i]);

        if (heard > 0)
            return silent_take(silent, i);
        if (heard < 0) {
            vu_debug("%s: a connection closed without a word", session->device->name);
            close(silent_take(silent, i));
        } else {
            i++;
        }
    }
    return -1;
}

static void silent_add(const struct vu_session *session, struct session_silent *silent, int fd)
{
    if (silent->n == SESSION_MAX_SILENT) {
        vu_warning("%s: %d connections without a word, the first of them is closed",
                   session->device->name, SESSION_MAX_SILENT);
        close(silent_take(silent, 0));
    }
    silent->fds[silent->n++] = fd;
}

/* The next connection, or -1 with *ret_fatal set or clear (try again). */
static int session_accept(const struct vu_session *session, bool *ret_fatal)
{
    int fd = accept4(session->socket_fd, NULL, NULL, SOCK_CLOEXEC);

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
        vu_error("%s: cannot accept a front-end yet: %s", session->device->name, g_strerror(errno));
        session_wait(session, -1, SESSION_ACCEPT_RETRY_MS);
        break;
    default:
        vu_error("%s: cannot accept front-ends: %s", session->device->name, g_strerror(errno));
        *ret_fatal = true;
    }
    return -1;
}

/* Waits for somebody to come, to speak or to go. False when the daemon is to stop instead. */
static bool session_wait_for_all(const struct vu_session *session,
                                 const struct session_silent *silent, bool *ret_has_come)
{
    enum { STOP, LISTEN, SILENT };
    struct pollfd fds[SILENT + SESSION_MAX_SILENT] = {
        [STOP] = {.fd = session->stop_fd, .events = POLLIN},
        [LISTEN] = {.fd = session->socket_fd, .events = POLLIN},
    };

    for (unsigned i = 0; i < silent->n; i++)
        fds[SILENT + i] = (struct pollfd){.fd = silent->fds[i], .events = POLLIN};
    while (poll(fds, SILENT + silent->n, -1) < 0)
        if (errno != EINTR)
            return false;
    *ret_has_come = fds[LISTEN].revents != 0;
    return fds[STOP].revents == 0;
}

/* The next front-end, or -1: there will be none. */
static int session_next(struct vu_session *session, struct session_silent *silent)
{
    bool has_come, fatal = false;
    int fd = silent_find(session, silent);

    while (fd < 0 && !fatal && session_wait_for_all(session, silent, &has_come)) {
        int conn_fd = -1;

        /* Before who has just come takes the place of one that has just spoken. */
        fd = silent_find(session, silent);
        if (fd < 0 && has_come)
            conn_fd = session_accept(session, &fatal);
        if (conn_fd >= 0)
            silent_add(session, silent, conn_fd);
    }
    if (fatal)
        session->exit_status = EXIT_FAILURE;
    return fd;
}

static void session_serve_all(struct vu_session *session)
{
    struct session_silent silent = {.n = 0};
    int conn_fd;

    while ((conn_fd = session_next(session, &silent)) >= 0) {
        session_serve(session, conn_fd);
        if (session->exit_on_disconnect || !session_wait(session, -1, 0))
            break;
    }
    while (silent.n > 0)
        close(silent_take(&silent, 0));
}

static void *session_run(void *opaque)
{
    struct vu_session *session = opaque;

    if (vu_daemon_is_listening(session->socket_fd))
        session_serve_all(session);
    else
        session_serve_one(session);
    session->ended(session);
    return NULL;
}

int vu_session_start(struct vu_session *session)
{
    return vu_thread_create("session", session_run, session, &session->thread);
}
