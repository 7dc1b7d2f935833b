/* SPDX-License-Identifier: Apache-2.0 */
/* listen.h: which files a daemon replaces, which it must not touch, and which descriptors it takes.
 */
#include "vhost-user/daemon/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/daemon.h"

struct fixture {
    char *dir, *path;
    struct vu_daemon_options options;
};

static void set_up(struct fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("test-listen-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "sock", NULL);
    vu_daemon_options_init(&f->options);
    f->options.socket_path = g_strdup(f->path);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    vu_daemon_remove_socket();
    vu_daemon_options_clear(&f->options);
    g_remove(f->path);
    g_assert_cmpint(g_rmdir(f->dir), ==, 0); /* nothing else is left behind */
    g_free(f->path);
    g_free(f->dir);
}

static int expect_open(struct fixture *f)
{
    GError *error = NULL;
    int fd = vu_daemon_open_socket(&f->options, &error);

    g_assert_no_error(error);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, !=, 0);
    return fd;
}

static void expect_sockets_refused(struct fixture *f, const char *pattern)
{
    struct vu_daemon_sockets sockets;
    GError *error = NULL;

    g_assert_false(vu_daemon_open_sockets(&f->options, &sockets, &error));
    if (!g_pattern_match_simple(pattern, error->message))
        g_error("expected %s, got %s", pattern, error->message);
    g_clear_error(&error);
    for (unsigned i = 0; i < VU_DAEMON_N_SOCKETS; i++)
        g_assert_cmpint(sockets.fds[i], ==, -1);
}

static void expect_refused(struct fixture *f, const char *pattern)
{
    GError *error = NULL;

    g_assert_cmpint(vu_daemon_open_socket(&f->options, &error), ==, -1);
    g_assert_nonnull(error);
    if (!g_pattern_match_simple(pattern, error->message))
        g_error("expected %s, got %s", pattern, error->message);
    g_error_free(error);
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    g_assert_cmpint(lstat(path, &st), ==, 0);
    return st.st_mode;
}

static void test_fresh(struct fixture *f, gconstpointer data)
{
    mode_t saved = umask(0);
    vu_autofd int fd = expect_open(f);
    vu_autofd int peer = connect_to(f->path);

    umask(saved);
    g_assert_cmpint(peer, >=, 0);
    g_assert_true(vu_daemon_is_listening(fd));
    g_assert_false(vu_daemon_is_listening(peer));
    g_assert_cmpuint(mode_of(f->path), ==, S_IFSOCK | 0600);
    vu_daemon_remove_socket();
    g_assert_cmpint(access(f->path, F_OK), ==, -1);
    vu_daemon_remove_socket();
}

static void test_group(struct fixture *f, gconstpointer data)
{
    mode_t saved = umask(077);
    vu_autofd int fd = -1;
    struct stat st;

    f->options.socket_group = g_strdup("no-such-group");
    expect_refused(f, "--socket-group: expected a group that exists, got \"no-such-group\"");
    g_assert_cmpint(access(f->path, F_OK), ==, -1);
    g_free(f->options.socket_group);
    f->options.socket_group = g_strdup_printf("%u", getgid());
    fd = expect_open(f);
    umask(saved);
    g_assert_cmpint(stat(f->path, &st), ==, 0);
    g_assert_cmpuint(st.st_mode, ==, S_IFSOCK | 0660);
    g_assert_cmpuint(st.st_gid, ==, getgid());
}

/* A socket that its daemon left behind is replaced, and removed by the new one alone. */
static void test_stale(struct fixture *f, gconstpointer data)
{
    vu_autofd int fd = expect_open(f);
    vu_autofd int fresh = -1, peer = -1;

    vu_clear_fd(&fd);
    g_assert_cmpint(connect_to(f->path), ==, -1);
    g_assert_false(vu_daemon_is_successor());
    fresh = expect_open(f);
    g_assert_true(vu_daemon_is_successor());
    peer = connect_to(f->path);
    g_assert_cmpint(peer, >=, 0);
}

static void test_live(struct fixture *f, gconstpointer data)
{
    vu_autofd int fd = expect_open(f);
    int crowd[64], n = 0;

    expect_refused(f, "--socket-path=*: another process is listening there");
    /* Even where it is so busy that nobody gets through. */
    while (n < 64) {
        crowd[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        g_strlcpy(address.sun_path, f->path, sizeof(address.sun_path));
        if (connect(crowd[n++], (struct sockaddr *)&address, sizeof(address)) < 0)
            break;
    }
    g_assert_cmpint(n, <, 64);
    expect_refused(f, "--socket-path=*: another process is listening there");
    while (n > 0)
        close(crowd[--n]);
    g_assert_cmpuint(mode_of(f->path) & S_IFMT, ==, S_IFSOCK);
}

/* The outside of a sandbox was killed, and its inside, which has the socket too, lives on a while.
 */
static void test_dying(struct fixture *f, gconstpointer data)
{
    pid_t outside = fork();
    vu_autofd int fd = -1;
    int life[2];

    g_assert_cmpint(outside, >=, 0);
    if (outside == 0) {
        expect_open(f);
        g_assert_cmpint(pipe(life), ==, 0);
        if (fork() == 0) {
            close(life[1]);
            g_assert_cmpint((int)read(life[0], life, 1), ==, 0);
            g_usleep(300000);
        }
        _exit(0);
    }
    g_assert_cmpint(waitpid(outside, NULL, 0), ==, outside);
    fd = expect_open(f);
    g_assert_true(vu_daemon_is_listening(fd));
}

static void test_not_sockets(struct fixture *f, gconstpointer data)
{
    g_autofree char *other = g_build_filename(f->dir, "other", NULL);

    g_assert_true(g_file_set_contents(f->path, "precious", -1, NULL));
    expect_refused(f, "--socket-path=*: exists and is not a socket");
    g_assert_cmpuint(mode_of(f->path) & S_IFMT, ==, S_IFREG);
    g_remove(f->path);

    g_assert_cmpint(symlink(other, f->path), ==, 0); /* dangling */
    expect_refused(f, "--socket-path=*: exists and is not a socket");
    g_assert_cmpuint(mode_of(f->path) & S_IFMT, ==, S_IFLNK);
    g_assert_cmpint(access(other, F_OK), ==, -1);
    g_remove(f->path);

    g_assert_cmpint(g_mkdir(f->path, 0700), ==, 0);
    expect_refused(f, "--socket-path=*: exists and is not a socket");
}

static void test_bad_paths(struct fixture *f, gconstpointer data)
{
    g_autofree char *too_long = g_strnfill(108, 'x');

    g_free(f->options.socket_path);
    f->options.socket_path = g_steal_pointer(&too_long);
    expect_refused(f, "--socket-path: expected at most 107 bytes, got 108");
    g_free(f->options.socket_path);
    f->options.socket_path = g_build_filename(f->dir, "no", "such", NULL);
    expect_refused(f, "--socket-path=*: cannot open its directory: No such file or directory");
}

/* The file at the path is another's by now: it stays. */
static void test_remove_only_own(struct fixture *f, gconstpointer data)
{
    vu_autofd int fd = expect_open(f);

    g_assert_cmpint(g_remove(f->path), ==, 0);
    g_assert_true(g_file_set_contents(f->path, "another's", -1, NULL));
    vu_daemon_remove_socket();
    g_assert_cmpint(access(f->path, F_OK), ==, 0);
}

static void test_remove_after_chdir(struct fixture *f, gconstpointer data)
{
    g_autofree char *cwd = g_get_current_dir();
    vu_autofd int fd = -1;

    g_assert_cmpint(chdir(f->dir), ==, 0);
    g_free(f->options.socket_path);
    f->options.socket_path = g_strdup("sock");
    fd = expect_open(f);
    g_assert_cmpint(chdir("/"), ==, 0);
    vu_daemon_remove_socket();
    g_assert_cmpint(access(f->path, F_OK), ==, -1);
    g_assert_cmpint(chdir(cwd), ==, 0);
}

static void test_inherited(struct fixture *f, gconstpointer data)
{
    vu_autofd int file = open("/dev/null", O_RDONLY), datagram = -1, inet = -1;
    int pair[2];

    g_clear_pointer(&f->options.socket_path, g_free);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    f->options.fd = pair[0];
    g_assert_cmpint(expect_open(f), ==, pair[0]);
    f->options.fd = file;
    expect_refused(f, "--fd=*: expected a unix stream socket");
    f->options.fd = datagram = socket(AF_UNIX, SOCK_DGRAM, 0);
    expect_refused(f, "--fd=*: expected a unix stream socket");
    f->options.fd = inet = socket(AF_INET, SOCK_STREAM, 0);
    if (inet >= 0)
        expect_refused(f, "--fd=*: expected a unix stream socket");
    f->options.fd = 1000;
    expect_refused(f, "--fd=1000: expected an open socket: Bad file descriptor");
    close(pair[0]);
    close(pair[1]);
}

/* All sockets or none; a control socket at a path, or inherited. */
static void test_control(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = g_strconcat(f->path, ".control", NULL);
    struct vu_daemon_sockets sockets;
    GError *error = NULL;
    GStatBuf st;

    f->options.control = g_strdup(path);
    g_assert_true(vu_daemon_open_sockets(&f->options, &sockets, &error));
    g_assert_cmpint(g_stat(path, &st), ==, 0);
    g_assert_cmpuint(st.st_mode, ==, S_IFSOCK | 0600);
    g_assert_cmpint(sockets.fds[VU_DAEMON_METRICS], ==, -1);

    /* The control socket is live: nothing of another daemon stays. */
    g_free(f->options.socket_path);
    f->options.socket_path = g_strconcat(f->path, ".other", NULL);
    vu_daemon_forget_socket();
    expect_sockets_refused(f, "--control=*: another process is listening there");
    g_assert_cmpint(access(f->options.socket_path, F_OK), ==, -1);
    g_free(f->options.control);
    f->options.control = g_strdup_printf("fd:%d", sockets.fds[VU_DAEMON_CONTROL]);
    g_free(f->options.socket_path);
    f->options.socket_path = g_strdup(f->path);
    close(sockets.fds[VU_DAEMON_SESSION]);
    g_assert_true(vu_daemon_open_sockets(&f->options, &sockets, &error));
    vu_daemon_close_sockets(&sockets);
    expect_sockets_refused(f, "--control=fd:*: expected an open socket*");
    g_free(f->options.control);
    f->options.control = g_strdup("fd:x");
    expect_sockets_refused(f, "--control=fd:x: expected the number of a descriptor");
    g_assert_cmpint(g_remove(path), ==, 0);
}

static void set_activation(int pid, const char *n_fds)
{
    g_autofree char *text = g_strdup_printf("%d", pid);

    g_setenv("LISTEN_PID", text, TRUE);
    g_setenv("LISTEN_FDS", n_fds, TRUE);
}

/* A socket for each path where the program has several devices; all or none. */
static void test_several(struct fixture *f, gconstpointer data)
{
    g_autofree char *other = g_strconcat(f->path, ".other", NULL);
    struct vu_daemon_sockets sockets;
    GError *error = NULL;

    vu_daemon_add_socket_path(&f->options, other);
    vu_daemon_add_socket_path(&f->options, f->path);
    /* Else the last is the one that counts. */
    g_assert_true(vu_daemon_open_sockets(&f->options, &sockets, &error));
    g_assert_cmpuint(sockets.n_more, ==, 0);
    g_assert_cmpint(access(other, F_OK), ==, -1);
    vu_daemon_close_sockets(&sockets);
    vu_daemon_remove_socket();

    f->options.max_devices = 3;
    g_assert_true(vu_daemon_open_sockets(&f->options, &sockets, &error));
    g_assert_cmpuint(sockets.n_more, ==, 1);
    g_assert_cmpint(access(other, F_OK), ==, 0);
    g_assert_cmpint(access(f->path, F_OK), ==, 0);
    vu_daemon_close_sockets(&sockets);
    vu_daemon_remove_socket();
    g_assert_cmpint(access(other, F_OK), ==, -1);

    vu_daemon_add_socket_path(&f->options, "/no/such/folder/socket");
    g_assert_false(vu_daemon_open_sockets(&f->options, &sockets, &error));
    g_clear_error(&error);
    g_assert_cmpint(access(other, F_OK), ==, -1);
    g_assert_cmpint(access(f->path, F_OK), ==, -1);
}

/* Descriptors 3 to 5 are what systemd's sockets are; what they were is kept. */
static void put_aside(int *ret_saved)
{
    for (int i = 0; i < 3; i++)
        ret_saved[i] = fcntl(3 + i, F_DUPFD_CLOEXEC, 100);
}

static void give_back(const int *saved)
{
    for (int i = 0; i < 3; i++) {
        close(3 + i);
        if (saved[i] >= 0) {
            dup2(saved[i], 3 + i);
            close(saved[i]);
        }
    }
}

/* systemd's sockets by their names, in any order. */
static void test_activation_names(struct fixture *f, gconstpointer data)
{
    static const struct {
        const char *n_fds, *names;
        int fds[VU_DAEMON_N_SOCKETS]; /* -1: refused; none */
    } rows[] = {
        {"1", "vblkd.socket", {3, -1, -1}},
        {"2", "control:x", {4, 3, -1}},
        {"2", "x:control", {3, 4, -1}},
        {"2", "control:control", {-1, -1, -1}},
        {"2", "x:y", {-1, -1, -1}},
        {"1", "control", {-1, -1, -1}},
        {"2", "metrics:x", {4, -1, 3}},
        {"3", "x:metrics:control", {3, 5, 4}},
        {"3", "x:metrics:metrics", {-1, -1, -1}},
        {"2", "control:metrics", {-1, -1, -1}},
    };
    int saved[3];
    int fd = fcntl(expect_open(f), F_DUPFD_CLOEXEC, 50);
    struct vu_daemon_sockets several;

    put_aside(saved);
    vu_daemon_forget_socket();
    g_clear_pointer(&f->options.socket_path, g_free);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct vu_daemon_sockets sockets;
        GError *error = NULL;

        for (int k = 3; k <= 5; k++)
            dup2(fd, k);
        set_activation(getpid(), rows[i].n_fds);
        g_setenv("LISTEN_FDNAMES", rows[i].names, TRUE);
        if (vu_daemon_open_sockets(&f->options, &sockets, &error)) {
            g_assert_true(memcmp(sockets.fds, rows[i].fds, sizeof(sockets.fds)) == 0);
        } else {
            g_assert_cmpint(rows[i].fds[VU_DAEMON_SESSION], ==, -1);
            g_assert_nonnull(error);
            g_clear_error(&error);
        }
        vu_daemon_close_sockets(&sockets);
    }
    /* Two for front-ends, in their order. */
    for (int k = 3; k <= 5; k++)
        dup2(fd, k);
    set_activation(getpid(), "3");
    g_setenv("LISTEN_FDNAMES", "x:control:y", TRUE);
    f->options.max_devices = 2;
    g_assert_true(vu_daemon_open_sockets(&f->options, &several, NULL));
    g_assert_cmpint(several.fds[VU_DAEMON_SESSION], ==, 3);
    g_assert_cmpuint(several.n_more, ==, 1);
    g_assert_cmpint(several.more[0], ==, 5);
    vu_daemon_close_sockets(&several);
    g_unsetenv("LISTEN_FDS");
    g_unsetenv("LISTEN_PID");
    g_unsetenv("LISTEN_FDNAMES");
    give_back(saved);
    close(fd);
    g_remove(f->path);
}

/* Names that the library does not know are whose takes them, or front-ends'. */
static void test_activation_taken(struct fixture *f, gconstpointer data)
{
    int saved[3];
    int fd = fcntl(expect_open(f), F_DUPFD_CLOEXEC, 50), fds[2] = {-1, -1};
    struct vu_daemon_sockets sockets;
    GError *error = NULL;

    put_aside(saved);
    vu_daemon_forget_socket();
    g_clear_pointer(&f->options.socket_path, g_free);
    g_assert_cmpint(vu_daemon_take_activated("egd", fds, 2, NULL), ==, 0);
    for (int k = 3; k <= 5; k++)
        dup2(fd, k);
    set_activation(getpid(), "3");
    g_setenv("LISTEN_FDNAMES", "egd:x:egd", TRUE);
    g_assert_cmpint(vu_daemon_take_activated("other", fds, 2, NULL), ==, 0);
    g_assert_cmpint(vu_daemon_take_activated("egd", fds, 1, &error), ==, -1);
    g_assert_nonnull(error);
    g_clear_error(&error);
    g_assert_cmpint(vu_daemon_take_activated("egd", fds, 2, &error), ==, 2);
    g_assert_true(fds[0] == 3 && fds[1] == 5);
    g_assert_true(vu_daemon_open_sockets(&f->options, &sockets, &error));
    g_assert_cmpint(sockets.fds[VU_DAEMON_SESSION], ==, 4);
    vu_daemon_close_sockets(&sockets);
    g_assert_false(vu_daemon_is_activated());
    give_back(saved);
    close(fd);
    g_remove(f->path);
}

static void test_activation(struct fixture *f, gconstpointer data)
{
    vu_autofd int saved = fcntl(3, F_DUPFD_CLOEXEC, 100);
    int fd = expect_open(f);

    g_assert_cmpint(dup2(fd, 3), ==, 3);
    set_activation(getpid() + 1, "1");
    g_assert_false(vu_daemon_is_activated());
    set_activation(getpid(), "0");
    g_assert_false(vu_daemon_is_activated());
    set_activation(getpid(), "2");
    g_assert_true(vu_daemon_is_activated());
    expect_refused(f, "LISTEN_FDS=2: expected one socket from systemd");
    set_activation(getpid(), "1");
    g_assert_cmpint(expect_open(f), ==, 3);
    g_assert_null(g_getenv("LISTEN_PID"));
    g_assert_false(vu_daemon_is_activated());
    if (saved >= 0)
        dup2(saved, 3);
    else
        close(3);
    if (fd != 3)
        close(fd);
}

#define ADD(name, func) g_test_add(name, struct fixture, NULL, set_up, func, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("/listen/fresh", test_fresh);
    ADD("/listen/group", test_group);
    ADD("/listen/stale", test_stale);
    ADD("/listen/live", test_live);
    ADD("/listen/dying", test_dying);
    ADD("/listen/not-sockets", test_not_sockets);
    ADD("/listen/bad-paths", test_bad_paths);
    ADD("/listen/remove-only-own", test_remove_only_own);
    ADD("/listen/remove-after-chdir", test_remove_after_chdir);
    ADD("/listen/inherited", test_inherited);
    ADD("/listen/activation", test_activation);
    ADD("/listen/activation-names", test_activation_names);
    ADD("/listen/activation-taken", test_activation_taken);
    ADD("/listen/control", test_control);
    ADD("/listen/several", test_several);
    return g_test_run();
}
