/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets made at a path, and their files' removal. Only a socket that nobody answers on is ever
 * replaced; two daemons that start at once are kept apart by a lock on the directory. The socket is
 * born with its final mode or a stricter one: no moment at which others could connect.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/listen-parts.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/log.h"

#define LISTEN_BACKLOG     8
#define LISTEN_LOCK_TRIES  100 /* of 10 ms */
#define LISTEN_DYING_MS    5000
#define LISTEN_MODE        0600
#define LISTEN_MODE_SHARED 0660 /* with --socket-group */
#define LISTEN_MAX_FILES   (VU_DAEMON_MAX_DEVICES + 32)

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

static int listen_make(const struct listen_place *place, const gid_t *gid, GError **error)
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
    /* The file takes the mode that the socket has when it is bound. Those who have waited for it
     * connect at once. */
    if (fd < 0 || fchmod(fd, LISTEN_MODE) < 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return listen_fail(error, errno, "%s=%s: cannot make the socket", place->option,
                           place->path);
    if (listen(fd, LISTEN_BACKLOG) < 0) {
        listen_fail(error, errno, "%s=%s: cannot listen", place->option, place->path);
        unlink(place->path);
        return -1;
    }
    if (listen_finish_file(place, gid, error) < 0) {
        vu_daemon_remove_socket();
        return -1;
    }
    return vu_steal_fd(&fd);
}

int listen_at_path(const char *option, const char *path, const gid_t *gid, GError **error)
{
    return listen_make(&(struct listen_place){option, path}, gid, error);
}

int vu_daemon_listen_at(const char *option, const char *path, GError **error)
{
    return listen_at_path(option, path, NULL, error);
}

/* --- removal --- */

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
            vu_warning("%s: the socket cannot be removed: %s", created.name, g_strerror(errno));
        listen_clear_created(&created);
    }
}
