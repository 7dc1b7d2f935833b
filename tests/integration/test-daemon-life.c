/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole daemon from its start to its end: where it gets its socket from, who it serves, and what
 * it leaves behind. Drives echo-daemon ($ECHO_DAEMON) through the library's front-end.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
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
#include "vhost-user/driver.h"
#include "vhost-user/frontend.h"
#include "vhost-user/log.h"
#include "vhost-user/shared-memory.h"

#define LIFE_WAIT_MS 10000

struct fixture {
    char *dir, *path;
    pid_t pid; /* of the daemon, -1: none runs */
};

/* A front-end with one queue running. */
struct client {
    struct vu_shmem shmem;
    struct vu_driver *driver;
    struct vu_frontend *frontend;
    char *out, *in;
    uint64_t out_gpa, in_gpa;
};

static void set_up(struct fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("test-life-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "sock", NULL);
    f->pid = -1;
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    g_assert_cmpint(f->pid, ==, -1);
    g_assert_cmpint(g_rmdir(f->dir), ==, 0); /* the socket is gone */
    g_free(f->path);
    g_free(f->dir);
}

/*
 * Starts the daemon with the words of `line`, %s in it being the socket's path. socket_fd (-1:
 * none) becomes its descriptor 3, announced as systemd does where `activate` says so.
 */
static void start(struct fixture *f, const char *line, int socket_fd, bool activate)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *pid = NULL;

    g_ptr_array_add(argv, g_strdup(g_getenv("ECHO_DAEMON")));
    for (int i = 0; words[i] != NULL; i++) {
        g_auto(GStrv) parts = g_strsplit(words[i], "%s", 2);

        g_ptr_array_add(argv, g_strjoinv(f->path, parts));
    }
    g_ptr_array_add(argv, NULL);
    f->pid = fork();
    g_assert_cmpint(f->pid, >=, 0);
    if (f->pid != 0)
        return;
    alarm(60);
    if (socket_fd == 3)
        fcntl(3, F_SETFD, 0);
    else if (socket_fd >= 0)
        dup2(socket_fd, 3);
    if (activate) {
        pid = g_strdup_printf("%d", getpid());
        g_setenv("LISTEN_PID", pid, TRUE);
        g_setenv("LISTEN_FDS", "1", TRUE);
    }
    execv(argv->pdata[0], (char **)argv->pdata);
    _exit(127);
}

static void expect_exit(struct fixture *f, int status)
{
    int wait_status = 0;

    g_assert_cmpint(waitpid(f->pid, &wait_status, 0), ==, f->pid);
    if (!WIFEXITED(wait_status))
        g_test_message("killed by signal %d", WTERMSIG(wait_status));
    g_assert_true(WIFEXITED(wait_status));
    g_assert_cmpint(WEXITSTATUS(wait_status), ==, status);
    f->pid = -1;
}

static void end_by(struct fixture *f, int sig)
{
    g_assert_cmpint(kill(f->pid, sig), ==, 0);
    expect_exit(f, EXIT_SUCCESS);
    g_assert_cmpint(access(f->path, F_OK), ==, -1);
}

static void client_init(struct client *c)
{
    const struct vu_frontend_config config = {
        .name = "client",
        .features = VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_RING_EVENT_IDX),
        .protocol_features = VU_BIT(VU_PF_REPLY_ACK) | VU_BIT(VU_PF_MQ),
    };

    memset(c, 0, sizeof(*c));
    vu_shmem_init(&c->shmem);
    g_assert_cmpint(vu_shmem_add(&c->shmem, 0, 1 << 20), ==, 0);
    c->out = vu_shmem_alloc(&c->shmem, 4096, 4096, &c->out_gpa);
    c->in = vu_shmem_alloc(&c->shmem, 4096, 4096, &c->in_gpa);
    c->frontend = vu_frontend_create(&config);
}

/* After the connection is made: up to a running queue. */
static void client_run(struct client *c)
{
    struct vu_driver_config config = {.num = 64};

    config.features = vu_frontend_features(c->frontend);
    g_assert_cmpint(vu_frontend_set_features(c->frontend, config.features), ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(c->frontend, &c->shmem), ==, 0);
    g_assert_cmpint(vu_driver_create(&c->shmem, &config, &c->driver), ==, 0);
    g_assert_cmpint(vu_frontend_start_driver(c->frontend, c->driver), ==, 0);
}

static void client_connect(struct client *c, const struct fixture *f)
{
    client_init(c);
    g_assert_cmpint(vu_frontend_connect(c->frontend, f->path, LIFE_WAIT_MS), ==, 0);
    client_run(c);
}

static void client_attach(struct client *c, int fd)
{
    client_init(c);
    g_assert_cmpint(vu_frontend_attach(c->frontend, fd), ==, 0);
    client_run(c);
}

static void client_clear(struct client *c)
{
    vu_frontend_destroy(c->frontend);
    vu_driver_destroy(c->driver);
    vu_shmem_clear(&c->shmem);
}

static void client_submit(struct client *c, const char *text)
{
    const struct vu_sg sg[] = {{c->out_gpa, (uint32_t)strlen(text)}, {c->in_gpa, 4096}};

    memcpy(c->out, text, strlen(text));
    memset(c->in, 0, 4096);
    g_assert_cmpint(vu_driver_add(c->driver, sg, 1, 1, c), ==, 0);
    vu_driver_kick(c->driver);
}

static void client_expect_echo(struct client *c, const char *text)
{
    struct pollfd fds = {.fd = c->driver->call_fd, .events = POLLIN};
    struct vu_driver_used used = {NULL, 0};
    int n;

    client_submit(c, text);
    while ((n = vu_driver_harvest(c->driver, &used, 1)) == 0) {
        if (vu_driver_arm_call(c->driver))
            continue;
        g_assert_cmpint(poll(&fds, 1, LIFE_WAIT_MS), ==, 1);
        vu_driver_clear_call(c->driver);
    }
    g_assert_cmpint(n, ==, 1);
    g_assert_true(used.token == c);
    g_assert_cmpuint(used.len, ==, strlen(text));
    g_assert_cmpstr(c->in, ==, text);
}

static void test_signals(struct fixture *f, gconstpointer data)
{
    static const int signals[] = {SIGTERM, SIGINT};
    struct client c;

    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++) {
        start(f, "--socket-path=%s", -1, false);
        client_connect(&c, f);
        client_expect_echo(&c, "with a front-end");
        end_by(f, signals[i]);
        client_clear(&c);

        start(f, "--socket-path=%s --poll-us=0", -1, false);
        client_connect(&c, f);
        client_expect_echo(&c, "after it");
        client_clear(&c);
        end_by(f, signals[i]);
    }
}

/* One front-end after another, each with memory and rings of its own; some leave at work. */
static void test_again(struct fixture *f, gconstpointer data)
{
    struct client c;

    start(f, "--socket-path %s", -1, false);
    for (int i = 0; i < 20; i++) {
        client_connect(&c, f);
        for (int k = 0; k < 50; k++)
            client_expect_echo(&c, k % 2 ? "odd" : "even");
        if (i % 2)
            client_submit(&c, "no time to wait for the answer");
        client_clear(&c);
    }
    end_by(f, SIGTERM);
}

static int connect_plain(const struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, f->path, sizeof(address.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    return fd;
}

/* The second waits in the backlog while the first is served. */
static void test_backlog(struct fixture *f, gconstpointer data)
{
    struct client first, second;
    int waiting;

    start(f, "--socket-path=%s", -1, false);
    client_connect(&first, f);
    waiting = connect_plain(f);
    client_expect_echo(&first, "first");
    client_clear(&first);
    client_attach(&second, waiting);
    client_expect_echo(&second, "second");
    client_clear(&second);
    end_by(f, SIGTERM);
}

static void test_exit_on_disconnect(struct fixture *f, gconstpointer data)
{
    struct client c;

    start(f, "-o vhost_user_socket=%s --exit-on-disconnect", -1, false);
    client_connect(&c, f);
    client_expect_echo(&c, "once");
    client_clear(&c);
    expect_exit(f, EXIT_SUCCESS);
}

static int make_listening(const struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, f->path, sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 4), ==, 0);
    return fd;
}

/* Somebody else's listening socket: served like our own, and its file is not ours to remove. */
static void test_inherited(struct fixture *f, gconstpointer data)
{
    for (int activate = 0; activate < 2; activate++) {
        int fd = make_listening(f);
        struct client c;

        start(f, activate ? "-f" : "--fd=3", fd, activate);
        close(fd);
        for (int i = 0; i < 2; i++) {
            client_connect(&c, f);
            client_expect_echo(&c, "inherited");
            client_clear(&c);
        }
        g_assert_cmpint(kill(f->pid, SIGTERM), ==, 0);
        expect_exit(f, EXIT_SUCCESS);
        g_assert_cmpint(g_remove(f->path), ==, 0);
    }
}

static void test_connected(struct fixture *f, gconstpointer data)
{
    struct client c;
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    start(f, "--fd 3", pair[0], false);
    close(pair[0]);
    client_attach(&c, pair[1]);
    client_expect_echo(&c, "connected");
    client_clear(&c);
    expect_exit(f, EXIT_SUCCESS);
}

/* The real thing, where systemd's tool is installed: it starts the daemon at the first connection.
 */
static void test_systemd(struct fixture *f, gconstpointer data)
{
    g_autofree char *tool = g_find_program_in_path("systemd-socket-activate");
    g_autofree char *listen_at = g_strdup_printf("--listen=%s", f->path);
    struct client c;

    if (tool == NULL) {
        g_test_skip("systemd-socket-activate is not installed");
        return;
    }
    f->pid = fork();
    if (f->pid == 0) {
        alarm(60);
        execl(tool, tool, listen_at, g_getenv("ECHO_DAEMON"), NULL);
        _exit(127);
    }
    client_connect(&c, f);
    client_expect_echo(&c, "activated");
    client_clear(&c);
    g_assert_cmpint(kill(f->pid, SIGTERM), ==, 0);
    expect_exit(f, EXIT_SUCCESS);
    g_assert_cmpint(g_remove(f->path), ==, 0);
}

/* A wrong command line ends the daemon before it has touched anything. */
static void test_mistakes(struct fixture *f, gconstpointer data)
{
    static const char *const lines[] = {
        "--socket-path=%s --touch=%s.touched --bogus",
        "--socket-path=%s --touch=%s.touched --poll-us=-1",
        "--socket-path=%s --touch=%s.touched -o nonsense",
        "--socket-path=%s --touch=%s.touched stray",
        "--socket-path=%s --touch=%s.touched --fd=0",
        "--touch=%s.touched",
        "--touch=%s.touched --fd=77",
        "--socket-path=%s --touch=%s.touched --socket-group=no-such-group",
        "--socket-path=%s/below --touch=%s.touched",
    };
    g_autofree char *touched = g_strconcat(f->path, ".touched", NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        start(f, lines[i], -1, false);
        expect_exit(f, EXIT_FAILURE);
        g_assert_cmpint(access(touched, F_OK), ==, -1);
        g_assert_cmpint(access(f->path, F_OK), ==, -1);
    }
}

/* A second daemon on the same path leaves the first alone. */
static void test_occupied(struct fixture *f, gconstpointer data)
{
    struct client c;
    pid_t first;

    start(f, "--socket-path=%s --exit-on-disconnect", -1, false);
    client_connect(&c, f);
    client_expect_echo(&c, "before");
    first = f->pid;
    start(f, "--socket-path=%s", -1, false);
    expect_exit(f, EXIT_FAILURE);
    client_expect_echo(&c, "after");
    f->pid = first;
    client_clear(&c);
    expect_exit(f, EXIT_SUCCESS);
}

/* Killed outright, it leaves its socket; its successor takes the path over. */
static void test_stale(struct fixture *f, gconstpointer data)
{
    struct client c;

    start(f, "--socket-path=%s", -1, false);
    client_connect(&c, f);
    g_assert_cmpint(kill(f->pid, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(f->pid, NULL, 0), ==, f->pid);
    client_clear(&c);
    g_assert_cmpint(access(f->path, F_OK), ==, 0);
    start(f, "--socket-path=%s", -1, false);
    client_connect(&c, f);
    client_expect_echo(&c, "successor");
    client_clear(&c);
    end_by(f, SIGTERM);
}

/* A request that never ends holds SIGTERM up for about five seconds, not for ever. */
static void test_stuck(struct fixture *f, gconstpointer data)
{
    struct client c;
    gint64 before;

    start(f, "--socket-path=%s", -1, false);
    client_connect(&c, f);
    client_expect_echo(&c, "alive");
    client_submit(&c, "hang");
    g_usleep(100000);
    before = g_get_monotonic_time();
    g_assert_cmpint(kill(f->pid, SIGTERM), ==, 0);
    expect_exit(f, EXIT_FAILURE);
    g_assert_cmpint(g_get_monotonic_time() - before, <, 10 * G_USEC_PER_SEC);
    client_clear(&c);
}

#define ADD(name, func) g_test_add(name, struct fixture, NULL, set_up, func, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (g_getenv("ECHO_DAEMON") == NULL)
        return 77;
    ADD("/daemon-life/signals", test_signals);
    ADD("/daemon-life/again", test_again);
    ADD("/daemon-life/backlog", test_backlog);
    ADD("/daemon-life/exit-on-disconnect", test_exit_on_disconnect);
    ADD("/daemon-life/inherited", test_inherited);
    ADD("/daemon-life/connected", test_connected);
    ADD("/daemon-life/systemd", test_systemd);
    ADD("/daemon-life/mistakes", test_mistakes);
    ADD("/daemon-life/occupied", test_occupied);
    ADD("/daemon-life/stale", test_stale);
    ADD("/daemon-life/stuck", test_stuck);
    return g_test_run();
}
