/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon.h: vu_daemon_run in a child process, with a make-believe session in place of backend.h: it
 * answers every byte with the same byte, ends at 'e', and never comes back from 'h'.
 */
#include "vhost-user/daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

struct vu_backend {
    int n_served;
};

void vu_backend_get_status(struct vu_backend *backend, struct vu_backend_status *ret_status)
{
    *ret_status = (struct vu_backend_status){.n_sessions = 3};
}

/* One that counts nothing. */
const struct vu_device *vu_backend_device(const struct vu_backend *backend, void **ret_opaque)
{
    static const struct vu_device none;

    return &none;
}

bool vu_backend_get_queue(struct vu_backend *backend, unsigned queue,
                          struct vu_queue_status *ret_status)
{
    return false;
}

struct vu_backend *vu_backend_create(const struct vu_device *device, void *opaque,
                                     const struct vu_backend_options *options)
{
    g_assert_cmpuint(options->poll_us, ==, 7);
    return g_new0(struct vu_backend, 1);
}

void vu_backend_destroy(struct vu_backend *backend)
{
    g_free(backend);
}

int vu_backend_serve(struct vu_backend *backend, int conn_fd, int stop_fd)
{
    struct pollfd fds[] = {{.fd = conn_fd, .events = POLLIN}, {.fd = stop_fd, .events = POLLIN}};
    vu_autofd int fd = conn_fd;
    char byte = 0;

    for (;;) {
        g_assert_cmpint(poll(fds, 2, -1), >, 0);
        if (fds[1].revents != 0)
            return -ECANCELED;
        if (read(fd, &byte, 1) <= 0)
            return 0;
        if (byte == 'e')
            return -EPROTO;
        while (byte == 'h')
            pause();
        g_assert_cmpint(write(fd, &byte, 1), ==, 1);
    }
}

struct fixture {
    char *dir, *path;
    struct vu_daemon_options options;
    int socket_fd;  /* the daemon's, where it has no path */
    int peer_fd;    /* and its other end */
    int summary[2]; /* a pipe: what SIGUSR1 has the device say */
    pid_t pid;
};

static void set_up(struct fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("test-daemon-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "sock", NULL);
    vu_daemon_options_init(&f->options);
    f->options.socket_path = g_strdup(f->path);
    f->options.poll_us = 7;
    f->socket_fd = f->peer_fd = -1;
    f->pid = -1;
    g_assert_cmpint(pipe(f->summary), ==, 0);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    g_assert_cmpint(f->pid, ==, -1);
    g_assert_cmpint(access(f->path, F_OK), ==, -1);
    g_assert_cmpint(g_rmdir(f->dir), ==, 0);
    vu_clear_fd(&f->socket_fd);
    close(f->summary[0]);
    close(f->summary[1]);
    vu_daemon_options_clear(&f->options);
    g_free(f->path);
    g_free(f->dir);
}

static void log_summary(void *opaque)
{
    const struct fixture *f = opaque;

    g_assert_cmpint(write(f->summary[1], "", 1), ==, 1);
}

static void start(struct fixture *f)
{
    static const struct vu_device device = {.name = "testd", .log_summary = log_summary};

    f->pid = fork();
    g_assert_cmpint(f->pid, >=, 0);
    if (f->pid == 0) {
        GError *error = NULL;
        struct vu_daemon_sockets sockets = {{f->socket_fd, -1, -1}};

        if (f->socket_fd < 0)
            vu_daemon_open_sockets(&f->options, &sockets, &error);
        g_assert_no_error(error);
        vu_clear_fd(&f->peer_fd);
        vu_log_set_level(VU_LOG_OFF);
        alarm(30);
        exit(vu_daemon_run(&f->options, &device, f, &sockets));
    }
    vu_clear_fd(&f->socket_fd);
}

static void expect_exit(struct fixture *f, int status)
{
    int wait_status = 0;

    g_assert_cmpint(waitpid(f->pid, &wait_status, 0), ==, f->pid);
    g_assert_true(WIFEXITED(wait_status));
    g_assert_cmpint(WEXITSTATUS(wait_status), ==, status);
    f->pid = -1;
}

/* Connects as soon as the daemon listens. */
static int front_end(struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, f->path, sizeof(address.sun_path));
    for (int i = 0; i < 1000; i++) {
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
            return fd;
        g_usleep(10000);
    }
    g_error("the daemon does not listen");
}

static void say(int fd, char byte)
{
    g_assert_cmpint(send(fd, &byte, 1, MSG_NOSIGNAL), ==, 1);
}

static void expect_answer(int fd, char byte)
{
    char got = 0;

    say(fd, byte);
    g_assert_cmpint(read(fd, &got, 1), ==, 1);
    g_assert_cmpint(got, ==, byte);
}

static void expect_silence(int fd)
{
    struct pollfd fds = {.fd = fd, .events = POLLIN};

    g_assert_cmpint(poll(&fds, 1, 100), ==, 0);
}

/* The daemon has no signal handlers before it serves, so signals follow an answer. */
static void end_by(struct fixture *f, int sig, int status)
{
    g_assert_cmpint(kill(f->pid, sig), ==, 0);
    expect_exit(f, status);
}

static void test_signals(struct fixture *f, gconstpointer data)
{
    static const int signals[] = {SIGTERM, SIGINT};

    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++) {
        int fd;

        start(f);
        fd = front_end(f);
        expect_answer(fd, 'a');
        if (i == 1)
            vu_clear_fd(&fd);
        end_by(f, signals[i], EXIT_SUCCESS);
        vu_clear_fd(&fd);
    }
}

/* SIGUSR1 has the device tell what it has done, as often as one likes, and ends nothing. */
static void test_summary(struct fixture *f, gconstpointer data)
{
    char byte;
    int fd;

    start(f);
    /* Who is answered knows that signals are seen to. */
    fd = front_end(f);
    expect_answer(fd, 'a');
    close(fd);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(kill(f->pid, SIGUSR1), ==, 0);
        g_assert_cmpint(read(f->summary[0], &byte, 1), ==, 1);
    }
    end_by(f, SIGTERM, EXIT_SUCCESS);
}

/* One after another; the next waits until the one before it has gone; who says nothing does no
 * harm. */
static void test_again(struct fixture *f, gconstpointer data)
{
    int first, second, probe;
    char byte = 0;

    start(f);
    first = front_end(f);
    expect_answer(first, 'a');
    second = front_end(f);
    say(second, 'b');
    expect_silence(second);
    close(first);
    g_assert_cmpint(read(second, &byte, 1), ==, 1);
    g_assert_cmpint(byte, ==, 'b');
    say(second, 'e'); /* cut off */
    probe = front_end(f);
    close(probe);
    first = front_end(f);
    expect_answer(first, 'c');
    close(second);
    end_by(f, SIGTERM, EXIT_SUCCESS);
    close(first);
}

/* One that is about to lose its place speaks at the moment when another comes. */
static void test_late_word(struct fixture *f, gconstpointer data)
{
    int silent[9], another, status;
    char byte = 0;

    start(f);
    for (size_t i = 0; i < G_N_ELEMENTS(silent); i++)
        silent[i] = front_end(f);
    g_assert_cmpint(read(silent[0], &byte, 1), ==, 0); /* all have come */
    g_assert_cmpint(kill(f->pid, SIGSTOP), ==, 0);
    g_assert_cmpint(waitpid(f->pid, &status, WUNTRACED), ==, f->pid);
    say(silent[1], 'b');
    another = front_end(f);
    g_assert_cmpint(kill(f->pid, SIGCONT), ==, 0);
    g_assert_cmpint(read(silent[1], &byte, 1), ==, 1);
    g_assert_cmpint(byte, ==, 'b');
    end_by(f, SIGTERM, EXIT_SUCCESS);
    for (size_t i = 0; i < G_N_ELEMENTS(silent); i++)
        close(silent[i]);
    close(another);
}

/* Who stays and says nothing keeps no front-end out, however many there are of them. */
static void test_silent(struct fixture *f, gconstpointer data)
{
    int silent[20], fd;
    char byte;

    start(f);
    for (size_t i = 0; i < G_N_ELEMENTS(silent); i++) {
        silent[i] = front_end(f);
        fd = front_end(f);
        expect_answer(fd, 'a');
        close(fd);
    }
    /* The last of them are still there, and may speak; the first have had their time. */
    expect_answer(silent[G_N_ELEMENTS(silent) - 1], 'b');
    g_assert_cmpint(read(silent[0], &byte, 1), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(silent); i++)
        close(silent[i]);
    fd = front_end(f);
    expect_answer(fd, 'c');
    end_by(f, SIGTERM, EXIT_SUCCESS);
    close(fd);
}

static void test_exit_on_disconnect(struct fixture *f, gconstpointer data)
{
    int fd;

    f->options.exit_on_disconnect = true;
    start(f);
    fd = front_end(f);
    close(fd); /* only looked */
    fd = front_end(f);
    expect_answer(fd, 'a');
    close(fd);
    expect_exit(f, EXIT_SUCCESS);
}

static void start_connected(struct fixture *f)
{
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    f->socket_fd = pair[0];
    f->peer_fd = pair[1];
    start(f);
}

static void test_connected(struct fixture *f, gconstpointer data)
{
    start_connected(f);
    expect_answer(f->peer_fd, 'a');
    vu_clear_fd(&f->peer_fd);
    expect_exit(f, EXIT_SUCCESS);
}

static void test_silent_connected(struct fixture *f, gconstpointer data)
{
    start_connected(f);
    vu_clear_fd(&f->peer_fd);
    expect_exit(f, EXIT_SUCCESS);
}

/* A request that never ends does not keep the process for longer than the five seconds. */
static void test_stuck(struct fixture *f, gconstpointer data)
{
    gint64 before;
    int fd;

    start(f);
    fd = front_end(f);
    expect_answer(fd, 'a');
    say(fd, 'h');
    g_usleep(50000);
    before = g_get_monotonic_time();
    end_by(f, SIGTERM, EXIT_FAILURE);
    g_assert_cmpint(g_get_monotonic_time() - before, <, 10 * G_USEC_PER_SEC);
    close(fd);
}

#define ADD(name, func) g_test_add(name, struct fixture, NULL, set_up, func, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("/daemon/summary", test_summary);
    ADD("/daemon/signals", test_signals);
    ADD("/daemon/again", test_again);
    ADD("/daemon/silent", test_silent);
    ADD("/daemon/late-word", test_late_word);
    ADD("/daemon/exit-on-disconnect", test_exit_on_disconnect);
    ADD("/daemon/connected", test_connected);
    ADD("/daemon/silent-connected", test_silent_connected);
    ADD("/daemon/stuck", test_stuck);
    return g_test_run();
}
