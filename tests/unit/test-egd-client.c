/* SPDX-License-Identifier: Apache-2.0 */
/*
 * egd-client.h with its connector and a server whose every byte the test says: too few, too many,
 * none, wrong ones, and hanging up at all times.
 */
#include "contrib/vrngd/egd-client.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "contrib/vrngd/egd-connector.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/address.h"
#include "vhost-user/daemon/listen.h"

#define PATIENCE_MS 60000

struct fixture {
    char *dir, *where;
    int listen_fd, server_fd;
    struct egd_client *client;
    uint8_t got[4096];
    size_t n_got;
};

static void expect_bytes(const void *got, size_t got_len, const void *bytes, size_t len)
{
    g_assert_cmpuint(got_len, ==, len);
    g_assert_true(memcmp(got, bytes, len) == 0);
}

static struct egd_client *make_client(const char *where, bool polls, int64_t patience_ms)
{
    struct vu_address address;
    GError *error = NULL;
    int fd;

    vu_address_parse(where, &address, &error);
    g_assert_no_error(error);
    fd = egd_connector_start(&address);
    g_assert_cmpint(fd, >=, 0);
    vu_address_clear(&address);
    return egd_client_create(&(struct egd_client_options){
        .connector_fd = fd, .polls = polls, .patience_ms = patience_ms});
}

static void listen_there(struct fixture *f)
{
    GError *error = NULL;

    f->listen_fd = vu_address_listen("--test", f->where, &error);
    g_assert_no_error(error);
}

static void set_up(struct fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("test-egd-XXXXXX", NULL);
    f->where = g_strconcat("unix:", f->dir, "/egd", NULL);
    f->server_fd = -1;
    f->client = make_client(f->where, GPOINTER_TO_INT(data), PATIENCE_MS);
    listen_there(f);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    egd_client_destroy(f->client);
    vu_clear_fd(&f->listen_fd);
    vu_clear_fd(&f->server_fd);
    vu_daemon_remove_socket();
    g_assert_cmpint(g_rmdir(f->dir), ==, 0);
    g_free(f->where);
    g_free(f->dir);
}

/* --- the client --- */

/* One step, as the feeder takes it: what read said. */
static ssize_t step(struct fixture *f, int other_fd)
{
    struct pollfd fds[2] = {{.fd = other_fd, .events = POLLIN}};
    ssize_t n;

    fds[1].fd = egd_client_poll_fd(f->client, &fds[1].events);
    g_assert_cmpint(poll(fds, 2, 100), >=, 0);
    n = egd_client_read(f->client, f->got + f->n_got, sizeof(f->got) - f->n_got);
    if (n > 0)
        f->n_got += (size_t)n;
    return n;
}

/* Until fd can be read. */
static void step_until_readable(struct fixture *f, int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};

    for (int tries = 0; poll(&one, 1, 0) == 0; tries++) {
        g_assert_cmpint(tries, <, PATIENCE_MS / 100);
        g_assert_cmpint(step(f, fd), ==, -EAGAIN);
    }
}

static void step_until_got(struct fixture *f, size_t n)
{
    for (int tries = 0; f->n_got < n; tries++) {
        g_assert_cmpint(tries, <, PATIENCE_MS / 100);
        ssize_t ret = step(f, -1);

        g_assert_true(ret > 0 || ret == -EAGAIN);
    }
    g_assert_cmpuint(f->n_got, ==, n);
}

static void step_until_failed(struct fixture *f, int err)
{
    ssize_t ret = -EAGAIN;

    for (int tries = 0; ret == -EAGAIN || ret > 0; tries++) {
        g_assert_cmpint(tries, <, PATIENCE_MS / 100);
        ret = step(f, -1);
    }
    g_assert_cmpint(ret, ==, err);
    egd_client_close(f->client);
}

/* --- the server --- */

static void take_client(struct fixture *f)
{
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};

    vu_clear_fd(&f->server_fd);
    step_until_readable(f, f->listen_fd);
    f->server_fd = accept(f->listen_fd, NULL, NULL);
    g_assert_cmpint(f->server_fd, >=, 0);
    setsockopt(f->server_fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

static void open_wanting(struct fixture *f, size_t size)
{
    g_assert_cmpint(egd_client_open(f->client), ==, 0);
    egd_client_want(f->client, size);
    take_client(f);
}

static void hear(struct fixture *f, const char *bytes, size_t len)
{
    char heard[64];

    step_until_readable(f, f->server_fd);
    g_assert_cmpint(recv(f->server_fd, heard, len, MSG_WAITALL), ==, (ssize_t)len);
    expect_bytes(heard, len, bytes, len);
}

static void hear_nothing(struct fixture *f)
{
    char byte;

    g_assert_cmpint(recv(f->server_fd, &byte, 1, MSG_DONTWAIT), ==, -1);
    g_assert_cmpint(errno, ==, EAGAIN);
}

static void say(struct fixture *f, const void *bytes, size_t len)
{
    g_assert_cmpint(send(f->server_fd, bytes, len, MSG_NOSIGNAL), ==, (ssize_t)len);
}

/* --- tests --- */

static void test_asks(struct fixture *f, gconstpointer data)
{
    uint8_t bytes[600];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7);
    open_wanting(f, 600);
    hear(f, "\x02\xff\x02\xff\x02\x5a", 6);
    egd_client_want(f->client, 600);
    hear_nothing(f);
    say(f, bytes, 1);
    step_until_got(f, 1);
    egd_client_want(f->client, 609);
    hear(f, "\x02\x0a", 2);
    say(f, bytes + 1, 599);
    step_until_got(f, 600);
    expect_bytes(f->got, 600, bytes, 600);
    egd_client_want(f->client, 10);
    hear_nothing(f);
    say(f, bytes, 10);
    step_until_got(f, 610);
    egd_client_want(f->client, 0);
    hear_nothing(f);
}

/* However much is wanted, only so much is under way. */
static void test_asks_ahead(struct fixture *f, gconstpointer data)
{
    char heard[64];
    uint8_t bytes[255] = {1};

    open_wanting(f, 100000);
    step_until_readable(f, f->server_fd);
    g_assert_cmpint(recv(f->server_fd, heard, sizeof(heard), 0), ==, 32);
    say(f, bytes, sizeof(bytes));
    step_until_got(f, sizeof(bytes));
    egd_client_want(f->client, 99745);
    hear(f, "\x02\xff", 2);
    hear_nothing(f);
}

/* What was asked for and did not come is asked for again. */
static void test_hangs_up(struct fixture *f, gconstpointer data)
{
    uint8_t bytes[100] = {1, 2, 3};

    open_wanting(f, 300);
    hear(f, "\x02\xff\x02\x2d", 4);
    say(f, bytes, 100);
    step_until_got(f, 100);
    vu_clear_fd(&f->server_fd);
    step_until_failed(f, -ECONNRESET);
    open_wanting(f, 200);
    hear(f, "\x02\xc8", 2);
    say(f, bytes, 100);
    say(f, bytes, 100);
    step_until_got(f, 300);
}

static void test_hangs_up_at_once(struct fixture *f, gconstpointer data)
{
    struct pollfd again = {.fd = f->listen_fd, .events = POLLIN};

    for (int i = 0; i < 3; i++) {
        open_wanting(f, 10);
        vu_clear_fd(&f->server_fd);
        step_until_failed(f, -ECONNRESET);
        g_assert_cmpint(poll(&again, 1, 0), ==, 0);
    }
}

/* Nothing was wanted when the server ended: no failure, the next want finds its successor. */
static void test_hangs_up_idle(struct fixture *f, gconstpointer data)
{
    open_wanting(f, 1);
    hear(f, "\x02\x01", 2);
    say(f, "a", 1);
    step_until_got(f, 1);
    egd_client_want(f->client, 0);
    vu_clear_fd(&f->server_fd);
    egd_client_want(f->client, 2);
    take_client(f);
    hear(f, "\x02\x02", 2);
    say(f, "bc", 2);
    step_until_got(f, 3);
    expect_bytes(f->got, 3, "abc", 3);
}

static void test_too_much(struct fixture *f, gconstpointer data)
{
    open_wanting(f, 4);
    hear(f, "\x02\x04", 2);
    say(f, "abcdefgh", 8);
    step_until_failed(f, -EPROTO);
    g_assert_cmpuint(f->n_got, ==, 4);
    /* What has come behind it is of no use for the next connection. */
    open_wanting(f, 4);
    hear(f, "\x02\x04", 2);
    say(f, "ijkl", 4);
    step_until_got(f, 8);
    expect_bytes(f->got, 8, "abcdijkl", 8);
}

/* The same, seen only when the next request is due. */
static void test_too_much_later(struct fixture *f, gconstpointer data)
{
    open_wanting(f, 4);
    hear(f, "\x02\x04", 2);
    say(f, "abcd", 4);
    step_until_got(f, 4);
    egd_client_want(f->client, 0);
    say(f, "e", 1);
    egd_client_want(f->client, 4);
    step_until_failed(f, -EPROTO);
    g_assert_cmpuint(f->n_got, ==, 4);
}

/* Answers, and never reads what it is asked, until no more commands can be sent. */
static void test_never_reads(struct fixture *f, gconstpointer data)
{
    char answer[255] = {0};
    ssize_t ret = -EAGAIN;

    open_wanting(f, sizeof(answer));
    step_until_readable(f, f->server_fd);
    for (int i = 0; i < 100000 && (ret == -EAGAIN || ret > 0); i++) {
        (void)!send(f->server_fd, answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
        egd_client_want(f->client, 16 * sizeof(answer));
        f->n_got = 0;
        ret = egd_client_read(f->client, f->got, sizeof(f->got));
    }
    g_assert_cmpint(ret, ==, -EPROTO);
}

static void test_silent(struct fixture *f, gconstpointer data)
{
    gint64 begin_us;

    egd_client_destroy(f->client);
    f->client = make_client(f->where, false, 50);
    for (int i = 0; i < 3; i++) {
        open_wanting(f, 1);
        begin_us = g_get_monotonic_time();
        step_until_failed(f, -ETIMEDOUT);
        g_assert_cmpint(g_get_monotonic_time() - begin_us, >=, 40000 << i);
    }
}

/* --- a server that is asked for what it has --- */

static void test_polls(struct fixture *f, gconstpointer data)
{
    gint64 begin_us;

    open_wanting(f, 300);
    hear(f, "\x01\xff\x01\x2d", 4);
    say(f,
        "\x03"
        "abc"
        "\x00",
        5);
    step_until_got(f, 3);
    begin_us = g_get_monotonic_time();
    egd_client_want(f->client, 297);
    hear_nothing(f);
    hear(f, "\x01\xff", 2);
    g_assert_cmpint(g_get_monotonic_time() - begin_us, >=, 900000);
    say(f,
        "\x01"
        "d",
        2);
    step_until_got(f, 4);
    expect_bytes(f->got, 4, "abcd", 4);
}

static void test_polls_too_much(struct fixture *f, gconstpointer data)
{
    open_wanting(f, 5);
    hear(f, "\x01\x05", 2);
    say(f,
        "\x06"
        "abcdef",
        7);
    step_until_failed(f, -EPROTO);
    g_assert_cmpuint(f->n_got, ==, 0);
}

/* --- connecting --- */

/* A server that is not there yet, and one that speaks before it is asked. */
static void test_connects_later(struct fixture *f, gconstpointer data)
{
    vu_clear_fd(&f->listen_fd);
    egd_client_open(f->client);
    step_until_failed(f, -ECONNREFUSED);
    vu_daemon_remove_socket();
    egd_client_open(f->client);
    step_until_failed(f, -ENOENT);
    listen_there(f);
    open_wanting(f, 1);
    hear(f, "\x02\x01", 2);
}

/* What was asked of the connector before a close serves the open behind it. */
static void test_closed_while_awaited(struct fixture *f, gconstpointer data)
{
    struct pollfd again = {.fd = f->listen_fd, .events = POLLIN};

    for (int i = 0; i < 5; i++) {
        g_assert_cmpint(egd_client_open(f->client), ==, 0);
        egd_client_close(f->client);
    }
    open_wanting(f, 1);
    hear(f, "\x02\x01", 2);
    g_assert_cmpint(poll(&again, 1, 0), ==, 0);
}

/* A server with so many at its door that there is no place to wait. */
static void test_busy(struct fixture *f, gconstpointer data)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fds[1000], n = 0;

    g_strlcpy(address.sun_path, f->where + strlen("unix:"), sizeof(address.sun_path));
    do {
        g_assert_cmpint(n, <, G_N_ELEMENTS(fds));
        fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    } while (connect(fds[n++], (struct sockaddr *)&address, sizeof(address)) == 0);
    g_assert_cmpint(errno, ==, EAGAIN);
    g_assert_cmpint(egd_client_open(f->client), ==, 0);
    step_until_failed(f, -EBUSY);
    while (n > 0)
        close(fds[--n]);
    for (int i = 0; i < 1000 && (n = accept4(f->listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0; i++)
        close(n);
    open_wanting(f, 1);
    hear(f, "\x02\x01", 2);
}

static struct egd_client *make_orphan(int *ret_other_end)
{
    int ends[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), ==, 0);
    *ret_other_end = ends[1];
    return egd_client_create(
        &(struct egd_client_options){.connector_fd = ends[0], .connect_ms = 50});
}

/* It ends before it was asked, before it has answered, and having done so. */
static void test_no_connector(void)
{
    struct fixture f = {0};
    char request;
    int other_end;

    f.client = make_orphan(&other_end);
    close(other_end);
    g_assert_cmpint(egd_client_open(f.client), ==, -EPIPE);
    egd_client_destroy(f.client);
    for (int was_read = 0; was_read < 2; was_read++) {
        f.client = make_orphan(&other_end);
        g_assert_cmpint(egd_client_open(f.client), ==, 0);
        if (was_read)
            g_assert_cmpint(recv(other_end, &request, 1, 0), ==, 1);
        close(other_end);
        step_until_failed(&f, -EPIPE);
        g_assert_cmpint(egd_client_open(f.client), ==, -EPIPE);
        egd_client_destroy(f.client);
    }
}

/* A connector that hangs, and comes to itself again. */
static void test_slow_connector(void)
{
    const int refused = ECONNREFUSED;
    struct fixture f = {0};
    char requests[2];
    int other_end;

    f.client = make_orphan(&other_end);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(egd_client_open(f.client), ==, 0);
        step_until_failed(&f, -ETIMEDOUT);
    }
    g_assert_cmpint(recv(other_end, requests, sizeof(requests), MSG_DONTWAIT), ==, 1);
    g_assert_cmpint(recv(other_end, requests, sizeof(requests), MSG_DONTWAIT), ==, -1);
    g_assert_cmpint(send(other_end, &refused, sizeof(refused), 0), ==, sizeof(refused));
    g_assert_cmpint(egd_client_open(f.client), ==, 0);
    step_until_failed(&f, -ECONNREFUSED);
    close(other_end);
    egd_client_destroy(f.client);
}

static void serve_once(struct fixture *f)
{
    f->client = make_client(f->where, false, PATIENCE_MS);
    open_wanting(f, 1);
    hear(f, "\x02\x01", 2);
    say(f, "x", 1);
    step_until_got(f, 1);
    egd_client_destroy(f->client);
    vu_clear_fd(&f->server_fd);
    close(f->listen_fd);
    g_free(f->where);
}

static void test_port(gconstpointer host)
{
    struct fixture f = {.server_fd = -1};
    g_autofree char *any = g_strconcat(host, ":0", NULL);
    struct sockaddr_in6 address; /* the port of sockaddr_in lies at the same place */
    socklen_t len = sizeof(address);

    f.listen_fd = vu_address_listen("--test", any, NULL);
    if (f.listen_fd < 0) {
        g_test_skip("no such address here");
        return;
    }
    getsockname(f.listen_fd, (struct sockaddr *)&address, &len);
    f.where = g_strdup_printf("%s:%u", (const char *)host, ntohs(address.sin6_port));
    serve_once(&f);
}

static void test_abstract(void)
{
    struct fixture f = {.server_fd = -1};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t len;

    f.where = g_strdup_printf("unix:@test-egd-%d", getpid());
    len =
        (socklen_t)g_strlcpy(address.sun_path, f.where + strlen("unix:"), sizeof(address.sun_path));
    address.sun_path[0] = '\0';
    f.listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(bind(f.listen_fd, (struct sockaddr *)&address,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                    ==, 0);
    g_assert_cmpint(listen(f.listen_fd, 1), ==, 0);
    serve_once(&f);
}

static void test_nowhere(void)
{
    struct fixture f = {.client = make_client("no-such-host.invalid:1", false, PATIENCE_MS)};

    g_assert_cmpint(egd_client_open(f.client), ==, 0);
    step_until_failed(&f, -EHOSTUNREACH);
    egd_client_destroy(f.client);
}

/* --- all --- */

static void add(const char *name, bool polls, void (*test)(struct fixture *, gconstpointer))
{
    g_autofree char *path = g_strconcat("/egd-client/", name, NULL);

    g_test_add(path, struct fixture, GINT_TO_POINTER(polls), set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("asks", false, test_asks);
    add("asks-ahead", false, test_asks_ahead);
    add("hangs-up", false, test_hangs_up);
    add("hangs-up-at-once", false, test_hangs_up_at_once);
    add("hangs-up-idle", false, test_hangs_up_idle);
    add("too-much", false, test_too_much);
    add("too-much-later", false, test_too_much_later);
    add("never-reads", false, test_never_reads);
    add("silent", false, test_silent);
    add("polls", true, test_polls);
    add("polls-too-much", true, test_polls_too_much);
    add("connects-later", false, test_connects_later);
    add("closed-while-awaited", false, test_closed_while_awaited);
    add("busy", false, test_busy);
    g_test_add_func("/egd-client/no-connector", test_no_connector);
    g_test_add_func("/egd-client/slow-connector", test_slow_connector);
    g_test_add_data_func("/egd-client/ipv4", "127.0.0.1", test_port);
    g_test_add_data_func("/egd-client/ipv6", "[::1]", test_port);
    g_test_add_data_func("/egd-client/name", "localhost", test_port);
    g_test_add_func("/egd-client/abstract", test_abstract);
    g_test_add_func("/egd-client/nowhere", test_nowhere);
    return g_test_run();
}
