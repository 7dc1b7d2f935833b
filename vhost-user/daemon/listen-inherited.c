/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets that somebody else opened: inherited by number, or handed over by systemd
 * (sd_listen_fds(3)), which may have names for what each is for. Main thread, at start.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost-user/daemon/listen-parts.h"
#include "vhost-user/daemon/listen.h"

#define LISTEN_FDS_START     3
#define LISTEN_MAX_ACTIVATED (VU_DAEMON_MAX_DEVICES + 16)

bool vu_daemon_is_activated(void)
{
    const char *pid = g_getenv("LISTEN_PID"), *n_fds = g_getenv("LISTEN_FDS");

    return pid != NULL && n_fds != NULL && g_ascii_strtoll(pid, NULL, 10) == getpid() &&
           g_ascii_strtoll(n_fds, NULL, 10) > 0;
}

bool vu_daemon_is_listening(int fd)
{
    socklen_t len = sizeof(int);
    int listening = 0;

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening;
}

int listen_adopt(int fd, int wanted, const char *origin, GError **error)
{
    int domain = 0, type = 0, flags = fcntl(fd, F_GETFD);
    socklen_t len = sizeof(int);

    if (flags < 0)
        return listen_fail(error, errno, "%s: expected an open socket", origin);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 ||
        (wanted != AF_UNSPEC && domain != wanted) ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM)
        return listen_fail(error, 0, "%s: expected a %sstream socket", origin,
                           wanted == AF_UNIX ? "unix " : "");
    fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    return fd;
}

/* What systemd calls a socket that is not for front-ends. */
static const char *const listen_names[VU_DAEMON_N_SOCKETS] = {
    [VU_DAEMON_CONTROL] = "control",
    [VU_DAEMON_METRICS] = "metrics",
};

/* Those that a program has taken by names of its own. */
static bool listen_taken[LISTEN_MAX_ACTIVATED];

/* Whether systemd calls its socket i so ($LISTEN_FDNAMES, the names of a unit's
 * FileDescriptorName=). */
static bool listen_is_named(guint i, const char *name)
{
    const char *names = g_getenv("LISTEN_FDNAMES");
    g_auto(GStrv) split = g_strsplit(names ? names : "", ":", -1);

    return i < g_strv_length(split) && strcmp(split[i], name) == 0;
}

/* What systemd has its socket i for. */
static enum vu_daemon_socket listen_get_purpose(guint i)
{
    for (unsigned k = 0; k < VU_DAEMON_N_SOCKETS; k++)
        if (listen_names[k] && listen_is_named(i, listen_names[k]))
            return (enum vu_daemon_socket)k;
    return VU_DAEMON_SESSION;
}

int listen_find_activated(enum vu_daemon_socket purpose, int *ret_fds, unsigned max, GError **error)
{
    const char *n_fds = g_getenv("LISTEN_FDS");
    g_autofree char *origin = g_strdup_printf("LISTEN_FDS=%s", n_fds);
    /* Metrics may be asked for at a port. */
    int domain = purpose == VU_DAEMON_METRICS ? AF_UNSPEC : AF_UNIX;
    guint64 n = g_ascii_strtoull(n_fds, NULL, 10);
    unsigned n_found = 0;

    for (guint i = 0; i < MIN(n, LISTEN_MAX_ACTIVATED); i++) {
        if (listen_taken[i] || listen_get_purpose(i) != purpose)
            continue;
        if (n_found == max)
            return listen_fail(error, 0, "%s: expected %s from systemd%s%s", origin,
                               max == 1 ? "one socket" : "fewer sockets",
                               listen_names[purpose] ? " of the name " : "",
                               listen_names[purpose] ? listen_names[purpose] : "");
        ret_fds[n_found] = listen_adopt(LISTEN_FDS_START + (int)i, domain, origin, error);
        if (ret_fds[n_found] < 0)
            return -1;
        n_found++;
    }
    return (int)n_found;
}

int vu_daemon_take_activated(const char *name, int *ret_fds, unsigned max, GError **error)
{
    guint64 n = vu_daemon_is_activated() ? g_ascii_strtoull(g_getenv("LISTEN_FDS"), NULL, 10) : 0;
    g_autofree char *origin = g_strdup_printf("systemd's socket \"%s\"", name);
    unsigned n_found = 0;

    for (guint i = 0; i < MIN(n, LISTEN_MAX_ACTIVATED); i++) {
        if (!listen_is_named(i, name))
            continue;
        if (n_found == max)
            return listen_fail(error, 0, "%s: expected at most %u of them", origin, max);
        ret_fds[n_found] = listen_adopt(LISTEN_FDS_START + (int)i, AF_UNSPEC, origin, error);
        if (ret_fds[n_found] < 0)
            return -1;
        if (!vu_daemon_is_listening(ret_fds[n_found]))
            return listen_fail(error, 0, "%s: expected a listening socket", origin);
        fcntl(ret_fds[n_found], F_SETFL, fcntl(ret_fds[n_found], F_GETFL) | O_NONBLOCK);
        listen_taken[i] = true;
        n_found++;
    }
    return (int)n_found;
}

int listen_adopt_activated(int *ret_fds, unsigned max, GError **error)
{
    int n = listen_find_activated(VU_DAEMON_SESSION, ret_fds, max, error);

    if (n < 0)
        return -1;
    if (n == 0)
        return listen_fail(error, 0, "no socket from systemd but those for other purposes");
    g_unsetenv("LISTEN_FDS");
    g_unsetenv("LISTEN_PID");
    g_unsetenv("LISTEN_FDNAMES");
    memset(listen_taken, 0, sizeof(listen_taken));
    return n;
}

int listen_adopt_named(const char *text, const char *origin, GError **error)
{
    const char *number = text + strlen(LISTEN_FD_PREFIX);
    char *end;
    guint64 fd = g_ascii_strtoull(number, &end, 10);

    if (!g_ascii_isdigit(*number) || *end != '\0' || fd > G_MAXINT)
        return listen_fail(error, 0, "%s: expected the number of a descriptor", origin);
    if (listen_adopt((int)fd, AF_UNIX, origin, error) < 0)
        return -1;
    if (!vu_daemon_is_listening((int)fd))
        return listen_fail(error, 0, "%s: expected a listening socket", origin);
    fcntl((int)fd, F_SETFL, fcntl((int)fd, F_GETFL) | O_NONBLOCK);
    return (int)fd;
}
