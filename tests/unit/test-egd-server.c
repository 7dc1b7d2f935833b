/* SPDX-License-Identifier: Apache-2.0 */
/*
 * egd-server.h: what it answers, from a source that has all at once and from one that has what the
 * test gives it; and clients that are slow, many, wrong or gone, which hurt themselves alone.
 */
#include "contrib/vrngd/egd-server.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "contrib/vrngd/egd-wire.h"
#include "contrib/vrngd/feeder.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/daemon/listen.h"

#define PATIENCE_S 60
#define STALL_MS   300
#define GRACE_MS   500

/* Where bytes come from, and the limit of a client. */
struct setting {
    bool is_slow; /* a FIFO that the test writes to */
    uint64_t max_bytes, period_ms;
};

struct fixture {
    char *dir, *path, *fifo;
    int fifo_fd;
    struct egd_sockets sockets;
    uint16_t port;
    struct rng_source *source;
    struct rng_pool *pool;
    struct rng_feeder *feeder;
    struct egd_server *server;
};

static void open_sockets(struct fixture *f)
{
    struct egd_options options = {
        .listen = {g_strconcat("unix:", f->path, NULL), g_strdup("127.0.0.1:0")}};
    struct sockaddr_in address;
    socklen_t len = sizeof(address);
    GError *error = NULL;

    egd_sockets_open(&f->sockets, &options, &error);
    g_assert_no_error(error);
    egd_options_clear(&options);
    g_assert_cmpint(getsockname(f->sockets.fds[1], (struct sockaddr *)&address, &len), ==, 0);
    f->port = address.sin_port;
}

static void set_up(struct fixture *f, gconstpointer data)
{
    const struct setting *setting = data;
    GError *error = NULL;

    f->dir = g_dir_make_tmp("test-egd-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "egd", NULL);
    f->fifo = g_build_filename(f->dir, "fifo", NULL);
    g_assert_cmpint(mkfifo(f->fifo, 0600), ==, 0);
    f->fifo_fd = open(f->fifo, O_RDWR | O_CLOEXEC);
    open_sockets(f);
    f->source = rng_source_create(setting->is_slow ? f->fifo : "getrandom", &error);
    g_assert_no_error(error);
    f->pool = rng_pool_create();
    f->feeder = rng_feeder_create(f->pool, f->source);
    f->server = egd_server_create(
        &(struct egd_server_options){
            .pool = f->pool,
            .instant = setting->is_slow ? NULL : f->source,
            .max_bytes = setting->max_bytes,
            .period_ms = setting->period_ms,
            .grace_ms = GRACE_MS,
            .stall_ms = STALL_MS,
        },
        &f->sockets);
    g_assert_cmpint(rng_feeder_start(f->feeder), ==, 0);
    g_assert_cmpint(egd_server_start(f->server), ==, 0);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    egd_server_stop(f->server);
    rng_feeder_stop(f->feeder);
    egd_server_destroy(f->server);
    rng_feeder_destroy(f->feeder);
    rng_pool_destroy(f->pool);
    rng_source_destroy(f->source);
    vu_clear_fd(&f->fifo_fd);
    vu_daemon_remove_socket();
    g_assert_cmpint(g_remove(f->fifo), ==, 0);
    g_assert_cmpint(g_rmdir(f->dir), ==, 0);
    g_free(f->fifo);
    g_free(f->path);
    g_free(f->dir);
}

/* --- a client --- */

static int set_patience(int fd)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

static int dial_by(const struct fixture *f, int fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    g_strlcpy(address.sun_path, f->path, sizeof(address.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    return set_patience(fd);
}

static int dial(const struct fixture *f)
{
    return dial_by(f, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int dial_port(const struct fixture *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = f->port};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    return set_patience(fd);
}

static void say(int fd, const char *bytes, size_t len)
{
    g_assert_cmpint(send(fd, bytes, len, MSG_NOSIGNAL), ==, (ssize_t)len);
}

static void hear(int fd, void *ret_bytes, size_t len)
{
    if (len > 0)
        g_assert_cmpint(recv(fd, ret_bytes, len, MSG_WAITALL), ==, (ssize_t)len);
}

static void expect(int fd, const char *bytes, size_t len)
{
    char heard[256];

    hear(fd, heard, len);
    g_assert_true(memcmp(heard, bytes, len) == 0);
}

static void expect_nothing(int fd)
{
    char byte;

    g_assert_cmpint(recv(fd, &byte, 1, MSG_DONTWAIT), ==, -1);
    g_assert_cmpint(errno, ==, EAGAIN);
}

static void expect_end(int fd)
{
    char bytes[1024];
    ssize_t n;

    while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        ;
    g_assert_true(n == 0 || errno == ECONNRESET);
    close(fd);
}

static uint32_t ask_level(int fd)
{
    uint32_t level_be;

    say(fd, "\0", 1);
    hear(fd, &level_be, sizeof(level_be));
    return ntohl(level_be);
}

/* How many bytes an 01 n gets; they go to ret_bytes. */
static unsigned ask_read(int fd, uint8_t n, void *ret_bytes)
{
    uint8_t m;

    say(fd, (const char[]){1, (char)n}, 2);
    hear(fd, &m, 1);
    g_assert_cmpuint(m, <=, n);
    hear(fd, ret_bytes, m);
    return m;
}

static void feed(const struct fixture *f, const char *bytes, size_t len)
{
    g_assert_cmpint(write(f->fifo_fd, bytes, len), ==, (ssize_t)len);
}

static struct egd_server_status status_of(const struct fixture *f)
{
    struct egd_server_status status;

    egd_server_get_status(f->server, &status);
    return status;
}

static void wait_for_clients(const struct fixture *f, unsigned n)
{
    for (int tries = 0; status_of(f).n_clients != n; tries++) {
        g_assert_cmpint(tries, <, PATIENCE_S * 100);
        g_usleep(10000);
    }
}

/* --- answers --- */

static const char all_commands[] = "\x00"
                                   "\x01\x20"
                                   "\x02\xff"
                                   "\x03\x00\x08\x03"
                                   "abc"
                                   "\x03\x00\x00\x00"
                                   "\x02\x00"
                                   "\x01\x00"
                                   "\x04";

static void expect_all_answers(int fd)
{
    g_autofree char *pid = g_strdup_printf("%d", getpid());
    uint8_t random[255], len;

    expect(fd, "\x00\x00\x08\x00\x20", 5);
    hear(fd, random, 32);
    hear(fd, random, 255);
    expect(fd, "\x00", 1);
    hear(fd, &len, 1);
    g_assert_cmpuint(len, ==, strlen(pid));
    expect(fd, pid, len);
}

static void test_answers(struct fixture *f, gconstpointer data)
{
    int fds[] = {dial(f), dial_port(f)};

    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
        say(fds[i], all_commands, sizeof(all_commands) - 1);
        expect_all_answers(fds[i]);
        for (size_t k = 0; k < sizeof(all_commands) - 1; k++)
            say(fds[i], all_commands + k, 1);
        expect_all_answers(fds[i]);
        expect_nothing(fds[i]);
        close(fds[i]);
    }
    wait_for_clients(f, 0);
}

/* Who sends no more is answered all the same. */
static void test_half_closed(struct fixture *f, gconstpointer data)
{
    int fd = dial(f);

    say(fd, all_commands, sizeof(all_commands) - 1);
    g_assert_cmpint(shutdown(fd, SHUT_WR), ==, 0);
    expect_all_answers(fd);
    expect_end(fd);
}

/* A source that has nothing, a little, and then as much as is asked for. */
static void test_slow(struct fixture *f, gconstpointer data)
{
    int fd = dial(f);
    char bytes[255];

    g_assert_cmpuint(ask_level(fd), ==, 0);
    g_assert_cmpuint(ask_read(fd, 10, bytes), ==, 0);
    say(fd, "\x02\x05", 2);
    feed(f, "abc", 3);
    g_usleep(20000);
    expect_nothing(fd);
    feed(f, "defghij", 7);
    expect(fd, "abcde", 5);
    /* Five are left, and no more are there than is told. */
    while (ask_level(fd) < 40)
        g_usleep(1000);
    g_assert_cmpuint(ask_level(fd), ==, 40);
    g_assert_cmpuint(ask_read(fd, 255, bytes), ==, 5);
    g_assert_true(memcmp(bytes, "fghij", 5) == 0);
    g_assert_cmpuint(ask_level(fd), ==, 0);
    close(fd);
    /* Who asks once and does not wait is not turned away. */
    fd = dial(f);
    feed(f, "klmno", 5);
    g_assert_cmpuint(ask_read(fd, 5, bytes), ==, 5);
    close(fd);
}

/* Says it, and does not return before the server has seen it. */
static void say_and_wait(int fd, const char *bytes, size_t len)
{
    g_autofree char *both = g_malloc(1 + len);
    uint8_t answer[256], pid_len;

    both[0] = EGD_PID;
    memcpy(both + 1, bytes, len);
    say(fd, both, 1 + len);
    hear(fd, &pid_len, 1);
    hear(fd, answer, pid_len);
}

/* Those who wait have equal shares, whatever they asked for and whoever came first. */
static void test_shares(struct fixture *f, gconstpointer data)
{
    int a = dial(f), b = dial(f), c = dial(f);
    char bytes[100];

    say_and_wait(a, "\x02\x64", 2);
    say_and_wait(b, "\x02\x0a\x02\xff", 4);
    say_and_wait(c, "\x02\x0a", 2);
    feed(f, "012345678901234567890123456789", 30);
    hear(b, bytes, 10);
    hear(c, bytes, 10);
    expect_nothing(a);
    for (int i = 0; i < 18; i++)
        feed(f, "0123456789", 10);
    hear(a, bytes, 100);
    expect_nothing(b);
    close(a);
    close(b);
    close(c);
}

/* Nobody waits for bytes in the place of one who is gone. */
static void test_gone(struct fixture *f, gconstpointer data)
{
    int gone[20], fd;

    for (size_t i = 0; i < G_N_ELEMENTS(gone); i++) {
        gone[i] = dial(f);
        say(gone[i], "\x02\xff", 2);
    }
    wait_for_clients(f, G_N_ELEMENTS(gone));
    for (size_t i = 0; i < G_N_ELEMENTS(gone); i++)
        close(gone[i]);
    wait_for_clients(f, 0);
    fd = dial(f);
    say(fd, "\x02\x04", 2);
    while (recv(fd, gone, 1, MSG_DONTWAIT | MSG_PEEK) < 0) {
        feed(f, "abcd", 4);
        g_usleep(10000);
    }
    expect(fd, "abcd", 4);
    close(fd);
}

/* --- hostile clients --- */

static void expect_served(const struct fixture *f)
{
    int fd = dial(f);

    say(fd, all_commands, sizeof(all_commands) - 1);
    expect_all_answers(fd);
    close(fd);
}

static void test_garbage(struct fixture *f, gconstpointer data)
{
    static const char *const wrong[] = {"\x05", "\xff", "GET / HTTP/1.0\r\n", "\x03\xff\xff\x01x"};
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        int fd = dial(f);

        say(fd, wrong[i], strlen(wrong[i]));
        expect_end(fd);
    }
    for (int round = 0; round < 200; round++) {
        char bytes[300];
        int fd = dial(f);

        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (char)g_rand_int_range(rand, 0, round % 2 ? 256 : 5);
        (void)!send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
        close(fd);
    }
    expect_served(f);
}

/* Asks for ever and takes nothing: it gets no more than its socket holds, and is thrown out. */
static void test_never_reads(struct fixture *f, gconstpointer data)
{
    int fd = dial(f);
    char flood[512];

    for (size_t i = 0; i < sizeof(flood); i += 2)
        memcpy(flood + i, "\x02\xff", 2);
    while (send(fd, flood, sizeof(flood), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
        expect_served(f);
    g_assert_cmpuint(status_of(f).n_bytes, <, 16 << 20);
    wait_for_clients(f, 0);
    expect_end(fd);
}

static void test_half_commands(struct fixture *f, gconstpointer data)
{
    static const char *const halves[] = {"\x01", "\x02", "\x03\x01", "\x03\x01\x01\xffxyz"};

    for (size_t i = 0; i < G_N_ELEMENTS(halves); i++) {
        int fd = dial(f);

        say(fd, halves[i], strlen(halves[i]));
        expect_served(f);
        expect_end(fd);
    }
}

/* Idle is no offence. */
static void test_idle(struct fixture *f, gconstpointer data)
{
    int fd = dial(f);

    say(fd, all_commands, sizeof(all_commands) - 1);
    expect_all_answers(fd);
    g_usleep(2 * STALL_MS * 1000);
    say(fd, all_commands, sizeof(all_commands) - 1);
    expect_all_answers(fd);
    close(fd);
}

static void test_flood(struct fixture *f, gconstpointer data)
{
    int fds[8];
    char flood[512] = {0}, heard[4096];

    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        fds[i] = dial(f);
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
            (void)!send(fds[i], flood, sizeof(flood), MSG_NOSIGNAL | MSG_DONTWAIT);
            (void)!recv(fds[i], heard, sizeof(heard), MSG_DONTWAIT);
        }
        expect_served(f);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
}

/* One host takes half of a socket's places, and another socket's none. */
static void test_many(struct fixture *f, gconstpointer data)
{
    int fds[EGD_SERVER_PLACES + 40];
    unsigned n = G_N_ELEMENTS(fds);

    for (unsigned i = 0; i < n; i++)
        fds[i] = dial_port(f);
    wait_for_clients(f, EGD_SERVER_PLACES / 2);
    expect_served(f);
    for (unsigned i = EGD_SERVER_PLACES / 2; i < n; i++)
        expect_end(fds[i]);
    for (unsigned i = 0; i < EGD_SERVER_PLACES / 2; i++)
        close(fds[i]);
    wait_for_clients(f, 0);
    for (unsigned i = 0; i < n; i++)
        fds[i] = dial(f);
    for (unsigned i = EGD_SERVER_PLACES; i < n; i++)
        expect_end(fds[i]);
    g_assert_cmpuint(status_of(f).n_clients, ==, EGD_SERVER_PLACES);
    close(fds[0]);
    wait_for_clients(f, EGD_SERVER_PLACES - 1);
    expect_served(f);
    for (unsigned i = 1; i < EGD_SERVER_PLACES; i++)
        close(fds[i]);
}

static uint64_t cpu_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Whatever clients wait for, nobody turns in a circle meanwhile. */
static void test_sleeps(struct fixture *f, gconstpointer data)
{
    int fds[] = {dial(f), dial(f), dial(f), dial(f)};
    uint64_t before_ms;

    g_assert_cmpuint(ask_level(fds[0]), ==, 0);
    say(fds[1], "\x02\xff", 2);
    say(fds[2], "\x02\xff", 2);
    g_assert_cmpint(shutdown(fds[2], SHUT_WR), ==, 0);
    say(fds[3], "\x02\xff\x02\xff\x05", 5);
    g_usleep(100000);
    before_ms = cpu_ms();
    g_usleep(1000000);
    g_assert_cmpuint(cpu_ms() - before_ms, <, 200);
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
}

/* Without a descriptor for them clients wait, nobody turns in a circle, and it goes on later. */
static void test_no_descriptors(struct fixture *f, gconstpointer data)
{
    struct rlimit limit, few;
    uint64_t before_ms;
    int fds[10];

    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    few = (struct rlimit){.rlim_cur = (rlim_t)fds[9] + 1, .rlim_max = limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        dial_by(f, fds[i]);
    before_ms = cpu_ms();
    g_usleep(1000000);
    g_assert_cmpuint(cpu_ms() - before_ms, <, 200);
    g_assert_cmpuint(status_of(f).n_accepted, ==, 0);
    setrlimit(RLIMIT_NOFILE, &limit);
    wait_for_clients(f, G_N_ELEMENTS(fds));
    expect_served(f);
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
}

/* --- limits --- */

/* The first window may be half over, the last just begun. */
static void test_limited(struct fixture *f, gconstpointer data)
{
    const struct setting *setting = data;
    int a = dial(f), b = dial(f);
    uint64_t begin_ns = vu_now_ns(), windows;
    char bytes[255];

    for (int i = 0; i < 20; i++) {
        say(a, "\x02\x64", 2);
        hear(a, bytes, 100);
    }
    windows = (vu_now_ns() - begin_ns) / 1000000 / setting->period_ms + 2;
    g_assert_cmpuint(windows * setting->max_bytes, >=, 2000);
    /* The other one has a limit of its own, which is not used up. */
    while (ask_level(b) == 0)
        g_assert_cmpuint(windows++, <, 10000);
    g_assert_cmpuint(ask_level(b), <=, 8 * 256);
    close(a);
    close(b);
}

/* Who waits for the end of a long window does not when there is a limit no more. */
static void test_limit_set(struct fixture *f, gconstpointer data)
{
    int fd = dial(f);
    uint64_t max_bytes, period_ms;
    char bytes[150];

    say(fd, "\x02\x96", 2);
    while (status_of(f).n_bytes < 100)
        g_usleep(1000);
    expect_nothing(fd);
    egd_server_get_limit(f->server, &max_bytes, &period_ms);
    g_assert_cmpuint(max_bytes, ==, 100);
    egd_server_set_limit(f->server, 0, period_ms);
    hear(fd, bytes, 150);
    egd_server_set_limit(f->server, 100, period_ms);
    say(fd, "\x02\x96", 2);
    g_usleep(100000);
    expect_nothing(fd);
    close(fd);
}

/* --- all --- */

static const struct setting instant = {.is_slow = false}, slow = {.is_slow = true},
                            limited = {.max_bytes = 200, .period_ms = 100},
                            limited_for_long = {.max_bytes = 100, .period_ms = 3600000};

static void add(const char *name, const struct setting *setting,
                void (*test)(struct fixture *, gconstpointer))
{
    g_autofree char *path = g_strconcat("/egd-server/", name, NULL);

    g_test_add(path, struct fixture, setting, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("answers", &instant, test_answers);
    add("half-closed", &instant, test_half_closed);
    add("slow", &slow, test_slow);
    add("shares", &slow, test_shares);
    add("gone", &slow, test_gone);
    add("garbage", &instant, test_garbage);
    add("never-reads", &instant, test_never_reads);
    add("half-commands", &instant, test_half_commands);
    add("idle", &instant, test_idle);
    add("flood", &instant, test_flood);
    add("many", &instant, test_many);
    add("sleeps", &slow, test_sleeps);
    add("no-descriptors", &instant, test_no_descriptors);
    add("limited", &limited, test_limited);
    add("limit-set", &limited_for_long, test_limit_set);
    return g_test_run();
}
