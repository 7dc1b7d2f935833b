/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a daemon gets its socket from: inherited by number, handed over by systemd
 * (sd_listen_fds(3)), or made at a path. At a path, only a socket that nobody answers on is ever
 * replaced; two daemons that start at once are kept apart by a lock on the directory. The socket is
 * born with its final mode or a stricter one: no moment at which others could connect.
 */
#include "vhost-user/daemon/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/address.h"
#include "vhost-user/daemon/daemon.h"
#include "vhost-user/log.h"

#define LISTEN_FDS_START     3
#define LISTEN_BACKLOG       8
#define LISTEN_LOCK_TRIES    100 /* of 10 ms */
#define LISTEN_DYING_MS      5000
#define LISTEN_MODE          0600
#define LISTEN_MODE_SHARED   0660 /* with --socket-group */
#define LISTEN_MAX_FILES     (VU_DAEMON_MAX_DEVICES + 32)
#define LISTEN_FD_PREFIX     "fd:"
#define LISTEN_MAX_ACTIVATED (VU_DAEMON_MAX_DEVICES + 16)

/* Where a socket is to be made, and the option that says so, for messages. */
struct listen_place {
    const char *option, *path;
};

/* A socket file we made, for its removal. */
struct listen_created {
    int dir_fd; /* O_PATH */
    char *name;
    dev_t dev;
    ino_t ino;
};
static struct listen_created listen_created[LISTEN_MAX_FILES];
static unsigned listen_n_created;
static pthread_mutex_t listen_created_lock = PTHREAD_MUTEX_INITIALIZER; /* of both */
/* Main thread, at start. */
static bool listen_was_stale;

static int listen_fail(GError **error, int err, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* Sets *error to the formatted text and the text of err (0: none); returns -1. */
static int listen_fail(GError **error, int err, const char *format, ...)
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

/* Checks a descriptor that somebody else opened: a stream socket of that domain (AF_UNSPEC: any).
 * `origin` names it: "--fd=5". */
static int listen_adopt(int fd, int wanted, const char *origin, GError **error)
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

/* Those that a program has taken by names of its own. Main thread, at start. */
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

/* Those of systemd's sockets that are for that, in their order. How many; -1 with *error: more than
 * max, or what is no socket. */
static int listen_find_activated(enum vu_daemon_socket purpose, int *ret_fds, unsigned max,
                                 GError **error)
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

/* For front-ends; the last to be asked for. */
static int listen_adopt_activated(int *ret_fds, unsigned max, GError **error)
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

/* Keeps other daemons from doing the same in this directory until the descriptor is closed. */
static int listen_lock_dir(const struct listen_place *place, GError **error)
{
    g_autofree char *dir = g_path_get_dirname(place->path);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 && errno == EACCES) /* a directory one may write to and not list */
        return open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return listen_fail(error, errno, "%s=%s: cannot open its directory", place->option,
                           place->path);
    for (int i = 0; i < LISTEN_LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
            break;
        g_usleep(10000);
    }
    return fd;
}

/* Whether that process is no more, waited for or not. 0 stands for none that is known. */
static bool listen_has_ended(pid_t pid)
{
    vu_autofd int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    struct pollfd end = {.fd = fd, .events = POLLIN};

    if (fd < 0)
        return pid > 0 && errno == ESRCH;
    return poll(&end, 1, 0) == 1;
}

/* A connection to whoever listens there, or -errno. */
static int listen_connect(const struct sockaddr_un *address)
{
    vu_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
        return -errno;
    return vu_steal_fd(&fd);
}

/*
 * The same, or -ECONNREFUSED when who listens is about to end: who made the socket is the outside
 * of a sandbox, and when it is killed the inside dies with it, but may take a moment longer.
 */
static int listen_probe(const struct sockaddr_un *address)
{
    vu_autofd int probe = listen_connect(address);
    struct pollfd hangup = {.fd = probe};
    struct ucred maker = {0};
    socklen_t len = sizeof(maker);

    if (probe >= 0 && getsockopt(probe, SOL_SOCKET, SO_PEERCRED, &maker, &len) == 0 &&
        listen_has_ended(maker.pid) && poll(&hangup, 1, LISTEN_DYING_MS) == 1)
        return listen_connect(address);
    return vu_steal_fd(&probe);
}

/* Removes a socket file that nobody listens on. 0 where the path is free then, -1 with *error. */
static int listen_clear_path(const struct listen_place *place, const struct sockaddr_un *address,
                             GError **error)
{
    vu_autofd int probe = -1;
    struct stat st;

    if (lstat(place->path, &st) < 0)
        return errno == ENOENT ? 0 : listen_fail(error, errno, "%s=%s", place->option, place->path);
    if (!S_ISSOCK(st.st_mode))
        return listen_fail(error, 0, "%s=%s: exists and is not a socket", place->option,
                           place->path);
    probe = listen_probe(address);
    if (probe >= 0 || probe == -EAGAIN)
        return listen_fail(error, 0, "%s=%s: another process is listening there", place->option,
                           place->path);
    if (probe != -ECONNREFUSED && probe != -ENOENT)
        return listen_fail(error, -probe, "%s=%s: exists", place->option, place->path);
    if (unlink(place->path) < 0 && errno != ENOENT)
        return listen_fail(error, errno, "%s=%s: cannot remove the stale socket", place->option,
                           place->path);
    listen_was_stale = true;
    return 0;
}

bool vu_daemon_is_successor(void)
{
    return listen_was_stale;
}

static void listen_note_created(struct listen_created created)
{
    VU_LOCK_SCOPE(&listen_created_lock);

    g_assert(listen_n_created < LISTEN_MAX_FILES);
    listen_created[listen_n_created++] = created;
}

/* Remembers the file for its removal, and opens it to the group. Nothing is followed on the way. */
static int listen_finish_file(const struct listen_place *place, const gid_t *gid, GError **error)
{
    g_autofree char *dir = g_path_get_dirname(place->path),
                    *name = g_path_get_basename(place->path);
    vu_autofd int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    vu_autofd int file_fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    char proc_path[64];
    struct stat st;

    if (file_fd < 0 || fstat(file_fd, &st) < 0)
        return listen_fail(error, errno, "%s=%s", place->option, place->path);
    listen_note_created((struct listen_created){
        .dir_fd = vu_steal_fd(&dir_fd),
        .name = g_steal_pointer(&name),
        .dev = st.st_dev,
        .ino = st.st_ino,
    });
    if (gid == NULL)
        return 0;
    g_snprintf(proc_path, sizeof(proc_path), "/proc/self/fd/%d", file_fd);
    if (fchownat(file_fd, "", (uid_t)-1, *gid, AT_EMPTY_PATH) < 0 ||
        chmod(proc_path, LISTEN_MODE_SHARED) < 0)
        return listen_fail(error, errno, "--socket-group: cannot give %s to the group",
                           place->path);
    return 0;
}

static int listen_at_path(const struct listen_place *place, const gid_t *gid, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    vu_autofd int fd = -1, dir_fd = -1;

    if (g_strlcpy(address.sun_path, place->path, sizeof(address.sun_path)) >=
        sizeof(address.sun_path))
        return listen_fail(error, 0, "%s: expected at most %zu bytes, got %zu", place->option,
                           sizeof(address.sun_path) - 1, strlen(place->path));
    dir_fd = listen_lock_dir(place, error);
    if (dir_fd < 0 || listen_clear_path(place, &address, error) < 0)
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The file takes the mode that the socket has when it is bound. */
    if (fd < 0 || fchmod(fd, LISTEN_MODE) < 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return listen_fail(error, errno, "%s=%s: cannot make the socket", place->option,
                           place->path);
    if (listen_finish_file(place, gid, error) < 0) {
        vu_daemon_remove_socket();
        return -1;
    }
    if (listen(fd, LISTEN_BACKLOG) < 0) {
        listen_fail(error, errno, "%s=%s: cannot listen", place->option, place->path);
        vu_daemon_remove_socket();
        return -1;
    }
    return vu_steal_fd(&fd);
}

int vu_daemon_listen_at(const char *option, const char *path, GError **error)
{
    return listen_at_path(&(struct listen_place){option, path}, NULL, error);
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

        ret_fds[i] = listen_at_path(&(struct listen_place){"--socket-path", path},
                                    options->socket_group ? &gid : NULL, error);
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

/* "fd:5": the inherited socket 5, which listens. -1 with *error. */
static int listen_adopt_named(const char *text, const char *origin, GError **error)
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

/* The same as vu_daemon_open_control, for --metrics. */
static bool listen_open_metrics(const struct vu_daemon_options *options, int *ret_fd,
                                GError **error)
{
    if (options->metrics == NULL)
        return listen_use_activated(options, VU_DAEMON_METRICS, ret_fd, error);
    *ret_fd = vu_address_listen("--metrics", options->metrics, error);
    return *ret_fd >= 0;
}

bool vu_daemon_open_control(const struct vu_daemon_options *options, int *ret_fd, GError **error)
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
    ok = vu_daemon_open_control(options, &fds[VU_DAEMON_CONTROL], error) &&
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

/* One of the files we made, which is ours no more. False: there is none. */
static bool listen_take_created(struct listen_created *ret_created)
{
    VU_LOCK_SCOPE(&listen_created_lock);

    if (listen_n_created == 0)
        return false;
    *ret_created = listen_created[--listen_n_created];
    return true;
}

static void listen_clear_created(struct listen_created *created)
{
    vu_clear_fd(&created->dir_fd);
    g_free(created->name);
}

void vu_daemon_forget_socket(void)
{
    struct listen_created created;

    while (listen_take_created(&created))
        listen_clear_created(&created);
}

void vu_daemon_remove_socket(void)
{
    struct listen_created created;
    struct stat st;

    while (listen_take_created(&created)) {
        if (fstatat(created.dir_fd, created.name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            st.st_dev == created.dev && st.st_ino == created.ino &&
            unlinkat(created.dir_fd, created.name, 0) < 0)
            vu_warning("cannot remove the socket %s: %s", created.name, g_strerror(errno));
        listen_clear_created(&created);
    }
}
