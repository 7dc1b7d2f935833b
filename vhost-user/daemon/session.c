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
 * socket is alive, as another daemon's start does, ends nothing. Front-ends that come meanwhile
 * wait in the socket's backlog.
 */
#include "vhost-user/daemon/session.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/log.h"
#include "vhost-user/thread.h"

#define SESSION_ACCEPT_RETRY_MS 100

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

/* Serves one connection to its end, taking it over. False where it never was a front-end. */
static bool session_serve(const struct vu_session *session, int conn_fd)
{
    char byte;
    int result;

    if (!session_wait(session, conn_fd, -1) ||
        recv(conn_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0) {
        vu_debug("%s: a connection closed without a word", session->device->name);
        close(conn_fd);
        return false;
    }
    session_log_arrival(session, conn_fd);
    result = vu_backend_serve(session->backend, conn_fd, session->stop_fd);
    if (result == 0)
        vu_info("%s: front-end left", session->device->name);
    else if (result == -ECANCELED)
        vu_info("%s: front-end let go, stopping", session->device->name);
    else
        vu_info("%s: front-end cut off: %s", session->device->name, g_strerror(-result));
    return true;
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

static void session_serve_all(struct vu_session *session)
{
    bool served = false, fatal = false;

    while (!fatal && !(served && session->exit_on_disconnect) &&
           session_wait(session, session->socket_fd, -1)) {
        int conn_fd = session_accept(session, &fatal);

        if (conn_fd >= 0)
            served = session_serve(session, conn_fd);
    }
    if (fatal)
        session->exit_status = EXIT_FAILURE;
}

static void *session_run(void *opaque)
{
    struct vu_session *session = opaque;

    if (vu_daemon_is_listening(session->socket_fd))
        session_serve_all(session);
    else
        session_serve(session, vu_steal_fd(&session->socket_fd));
    session->ended(session);
    return NULL;
}

int vu_session_start(struct vu_session *session)
{
    return vu_thread_create("session", session_run, session, &session->thread);
}
