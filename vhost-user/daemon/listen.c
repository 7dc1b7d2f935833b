/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a daemon gets its sockets from, by what its options say: inherited by number, handed over
 * by systemd (listen-inherited.c), or made at a path (listen-path.c). Main thread, at start.
 */
#include "vhost-user/daemon/listen.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/address.h"
#include "vhost-user/daemon/listen-parts.h"

int listen_fail(GError **error, int err, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, VU_OPTION_ERROR, 0, "%s%s%s", text, err != 0 ? ": " : "",
                err != 0 ? g_strerror(err) : "");
    return -1;
}

/* The group's number, by name or number; -1 with *error. */
static int listen_find_group(const char *group, gid_t *ret_gid, GError **error)
{
    const struct group *entry = getgrnam(group);
    char *end = NULL;
    guint64 number = g_ascii_strtoull(group, &end, 10);

    if (entry != NULL) {
        *ret_gid = entry->gr_gid;
        return 0;
    }
    if (!g_ascii_isdigit(*group) || *end != '\0' || number >= G_MAXUINT32)
        return listen_fail(error, 0, "--socket-group: expected a group that exists, got \"%s\"",
                           group);
    *ret_gid = (gid_t)number;
    return 0;
}

/* Sockets at the paths that were given. How many, or -1 with *error and none left open. */
static int listen_at_paths(const struct vu_daemon_options *options, int *ret_fds, unsigned max,
                           GError **error)
{
    const GPtrArray *paths = max > 1 ? options->socket_paths : NULL;
    unsigned n = paths != NULL ? MIN(paths->len, max) : 1;
    gid_t gid = 0;

    if (options->socket_group != NULL && listen_find_group(options->socket_group, &gid, error) < 0)
        return -1;
    for (unsigned i = 0; i < n; i++) {
        const char *path = paths != NULL ? g_ptr_array_index(paths, i) : options->socket_path;

        ret_fds[i] =
            listen_at_path("--socket-path", path, options->socket_group ? &gid : NULL, error);
        if (ret_fds[i] >= 0)
            continue;
        while (i-- > 0)
            vu_clear_fd(&ret_fds[i]);
        return -1;
    }
    return (int)n;
}

/* The sockets for front-ends, at most max. How many, or -1 with *error. */
static int listen_open_sessions(const struct vu_daemon_options *options, int *ret_fds, unsigned max,
                                GError **error)
{
    g_autofree char *origin = g_strdup_printf("--fd=%d", options->fd);

    if (options->fd >= 0) {
        ret_fds[0] = listen_adopt(options->fd, AF_UNIX, origin, error);
        return ret_fds[0] < 0 ? -1 : 1;
    }
    if (vu_daemon_is_activated())
        return listen_adopt_activated(ret_fds, max, error);
    return listen_at_paths(options, ret_fds, max, error);
}

int vu_daemon_open_socket(const struct vu_daemon_options *options, GError **error)
{
    int fd;

    return listen_open_sessions(options, &fd, 1, error) < 0 ? -1 : fd;
}

/* systemd's, where there is one, for what no option says. False with *error. */
static bool listen_use_activated(const struct vu_daemon_options *options,
                                 enum vu_daemon_socket purpose, int *ret_fd, GError **error)
{
    *ret_fd = -1;
    if (options->fd >= 0 || !vu_daemon_is_activated())
        return true;
    if (listen_find_activated(purpose, ret_fd, 1, error) < 0)
        return false;
    if (*ret_fd >= 0)
        fcntl(*ret_fd, F_SETFL, fcntl(*ret_fd, F_GETFL) | O_NONBLOCK);
    return true;
}

static bool listen_open_metrics(const struct vu_daemon_options *options, int *ret_fd,
                                GError **error)
{
    if (options->metrics == NULL)
        return listen_use_activated(options, VU_DAEMON_METRICS, ret_fd, error);
    *ret_fd = vu_address_listen("--metrics", options->metrics, error);
    return *ret_fd >= 0;
}

static bool listen_open_control(const struct vu_daemon_options *options, int *ret_fd,
                                GError **error)
{
    g_autofree char *origin = g_strdup_printf("--control=%s", options->control);

    *ret_fd = -1;
    if (options->control == NULL)
        return listen_use_activated(options, VU_DAEMON_CONTROL, ret_fd, error);
    if (g_str_has_prefix(options->control, LISTEN_FD_PREFIX))
        *ret_fd = listen_adopt_named(options->control, origin, error);
    else
        *ret_fd = vu_daemon_listen_at("--control", options->control, error);
    return *ret_fd >= 0;
}

/* Those for front-ends. False with *error. */
static bool listen_fill_sessions(const struct vu_daemon_options *options,
                                 struct vu_daemon_sockets *sockets, GError **error)
{
    int fds[VU_DAEMON_MAX_DEVICES];
    int n = listen_open_sessions(options, fds, CLAMP(options->max_devices, 1, G_N_ELEMENTS(fds)),
                                 error);

    if (n < 0)
        return false;
    sockets->fds[VU_DAEMON_SESSION] = fds[0];
    for (int i = 1; i < n; i++)
        sockets->more[sockets->n_more++] = fds[i];
    return true;
}

bool vu_daemon_open_sockets(const struct vu_daemon_options *options,
                            struct vu_daemon_sockets *ret_sockets, GError **error)
{
    int *fds = ret_sockets->fds;
    bool ok;

    for (unsigned i = 0; i < VU_DAEMON_N_SOCKETS; i++)
        fds[i] = -1;
    ret_sockets->n_more = 0;
    /* The last of them has the environment forgotten. */
    ok = listen_open_control(options, &fds[VU_DAEMON_CONTROL], error) &&
         listen_open_metrics(options, &fds[VU_DAEMON_METRICS], error) &&
         listen_fill_sessions(options, ret_sockets, error);
    if (!ok) {
        vu_daemon_close_sockets(ret_sockets);
        vu_daemon_remove_socket();
    }
    return ok;
}

void vu_daemon_close_sockets(struct vu_daemon_sockets *sockets)
{
    for (unsigned i = 0; i < VU_DAEMON_N_SOCKETS; i++)
        vu_clear_fd(&sockets->fds[i]);
    for (unsigned i = 0; i < sockets->n_more; i++)
        vu_clear_fd(&sockets->more[i]);
}
