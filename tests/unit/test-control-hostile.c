/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients of the control socket that are slow, many, endless, deaf or wrong: another client is
 * answered all the time.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control-client.h"
#include "vhost-user/daemon/control.h"
#include "vhost-user/daemon/json-build.h"

#define MAX_CLIENTS 16
#define MAX_LINE    65536

struct fixture {
    char *dir, *path;
    int stop_fd, witness; /* the client that must not notice anything */
    int slow_fd;          /* what the slow command waits for */
    struct vu_control *control;
};

/* Much to send for little to receive. */
static JsonNode *run_large(struct vu_control_call *call, GError **error)
{
    g_autofree char *text = g_strnfill(50000, 'x');
    JsonBuilder *json = vu_json_begin();

    vu_json_add_text(json, "text", text);
    return vu_json_finish(json);
}

static JsonNode *run_slow(struct vu_control_call *call, GError **error)
{
    const struct fixture *f = call->opaque;
    eventfd_t value;

    g_assert_cmpint(eventfd_read(f->slow_fd, &value), ==, 0);
    return vu_control_nothing();
}

static const struct vu_control_command commands[] = {
    {.name = "large", .help = "Returns much.", .run = run_large},
    {.name = "slow", .help = "Waits.", .is_slow = true, .run = run_slow},
};
static const struct vu_control_table table = {commands, G_N_ELEMENTS(commands)};

static void set_up(struct fixture *f, gconstpointer data)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    f->dir = g_dir_make_tmp("test-control-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "control", NULL);
    f->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    f->slow_fd = eventfd(0, EFD_CLOEXEC);
    g_strlcpy(address.sun_path, f->path, sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 8), ==, 0);
    f->control = vu_control_create(fd, "tester", &table, f);
    g_assert_cmpint(vu_control_start(f->control, NULL, 0, f->stop_fd), ==, 0);
    f->witness = client_connect(f->path);
}

static void see_witness(struct fixture *f)
{
    client_ask(f->witness, "{\"execute\":\"qmp_capabilities\",\"id\":1}",
               "{\"return\":{},\"id\":1}");
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    see_witness(f);
    close(f->witness);
    vu_control_stop(f->control);
    vu_control_destroy(f->control);
    close(f->stop_fd);
    close(f->slow_fd);
    g_remove(f->path);
    g_rmdir(f->dir);
    g_free(f->path);
    g_free(f->dir);
}

static void test_long_lines(struct fixture *f, gconstpointer data)
{
    g_autofree char *full = g_strnfill(MAX_LINE - 1, ' ');
    int fd = client_connect(f->path);
    char spaces[1024];
    ssize_t n;

    /* As long as may be, and the end. */
    memcpy(full, "{\"execute\":\"qmp_capabilities\"}", 30);
    client_ask(fd, full, "{\"return\":{}}");
    memset(spaces, ' ', sizeof(spaces));
    /* Without one, the daemon has had enough at some time. */
    do {
        n = send(fd, spaces, sizeof(spaces), MSG_NOSIGNAL);
    } while (n > 0);
    g_assert_true(errno == EPIPE || errno == ECONNRESET);
    client_expect(fd, "*GenericError*more than 65536 bytes*");
    close(fd);
}

static void test_half_lines(struct fixture *f, gconstpointer data)
{
    int fds[MAX_CLIENTS - 1];

    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = client_connect(f->path);
        client_send(fds[i], "{\"execute\":\"qmp_capa");
        see_witness(f);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
}

static void test_many(struct fixture *f, gconstpointer data)
{
    int fds[100], n_greeted = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
        g_autofree char *line = NULL;

        fds[i] = client_open(f->path);
        g_assert_cmpint(fds[i], >=, 0);
        line = client_receive(fds[i]);
        g_assert_nonnull(line);
        see_witness(f);
        n_greeted += g_str_has_prefix(line, "{\"QMP\"");
        if (!g_str_has_prefix(line, "{\"QMP\"")) {
            g_assert_true(g_pattern_match_simple("*16 clients are connected*", line));
            client_expect_end(fds[i]);
        }
    }
    /* More where the machine was so slow that the first counted as idle. */
    g_assert_cmpint(n_greeted, >=, MAX_CLIENTS - 1);
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
    /* Their places are free again, as soon as they are known to be gone. */
    for (int i = 0; i < 1000; i++) {
        g_autofree char *line = NULL;
        int fd = client_open(f->path);

        line = client_receive(fd);
        close(fd);
        if (line && g_str_has_prefix(line, "{\"QMP\""))
            return;
        g_usleep(10000);
    }
    g_assert_not_reached();
}

/* The place of who has been idle longest is for another client, after a while; not of one whose
 * command is on its way. */
static void test_idle(struct fixture *f, gconstpointer data)
{
    int fds[MAX_CLIENTS - 1], fd = -1;

    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        fds[i] = client_connect(f->path);
    client_send(fds[0], "{\"execute\":\"slow\"}\n");
    for (int i = 0; fd < 0; i++) {
        g_autofree char *line = NULL;

        g_assert_cmpint(i, <, 1000);
        see_witness(f);
        fd = client_open(f->path);
        line = client_receive(fd);
        if (g_str_has_prefix(line, "{\"QMP\""))
            break;
        close(fd);
        fd = -1;
        g_usleep(100000);
    }
    client_expect(fds[1], "*GenericError*idle*another client*");
    client_expect_end(fds[1]);
    client_ask(fd, "{\"execute\":\"qmp_capabilities\"}", "{\"return\":{}}");
    for (size_t i = 2; i < G_N_ELEMENTS(fds); i++)
        client_ask(fds[i], "{\"execute\":\"qmp_capabilities\"}", "{\"return\":{}}");
    g_assert_cmpint(eventfd_write(f->slow_fd, 1), ==, 0);
    client_expect(fds[0], "{\"return\":{}}");
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
    close(fd);
}

/* Commands without end whose answers nobody reads: they are not listened to any more. */
static void test_deaf(struct fixture *f, gconstpointer data)
{
    static const char line[] = "{\"execute\":\"large\"}\n";
    int fd = client_connect(f->path), n_sent = 0;

    for (; n_sent < 100000; n_sent++) {
        ssize_t n = send(fd, line, sizeof(line) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n != (ssize_t)sizeof(line) - 1)
            break;
        if (n_sent % 1000 == 0)
            see_witness(f);
    }
    /* The socket's buffers, and a line's worth of ours, were full. */
    g_assert_cmpint(n_sent, <, 100000);
    see_witness(f);
    client_expect(fd, "{\"return\":{\"text\":\"xxx*");
    close(fd);
}

/* Events that nobody reads end the connection, for they would be kept. */
static void test_deaf_to_events(struct fixture *f, gconstpointer data)
{
    int fd = client_connect(f->path);
    g_autofree char *text = g_strnfill(100000, 'x');
    char bytes[4096];
    ssize_t n, n_all = 0;

    for (int i = 0; i < 200; i++) {
        JsonBuilder *json = vu_json_begin();

        vu_json_add_text(json, "text", text);
        vu_control_event(f->control, "LARGE", vu_json_finish(json));
        client_expect(f->witness, "{\"event\":\"LARGE\"*");
    }
    /* To its end: but for that, this would wait for ever. */
    while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        n_all += n;
    g_assert_cmpint(n_all, <, 200 * 100000);
    close(fd);
}

static void test_garbage(struct fixture *f, gconstpointer data)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    static const char alphabet[] = "{}[]\",:\\ue01-.etnfx \t\n\xff\xc3";

    for (int round = 0; round < 200; round++) {
        int fd = client_open(f->path);
        char bytes[512];

        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = round % 2 ? (char)g_rand_int_range(rand, 0, 256)
                                 : alphabet[g_rand_int_range(rand, 0, sizeof(alphabet) - 1)];
        client_send_bytes(fd, bytes, sizeof(bytes));
        if (round % 10 == 0)
            see_witness(f);
        close(fd);
    }
}

/* Whoever goes in the middle of an answer. */
static void test_gone(struct fixture *f, gconstpointer data)
{
    for (int i = 0; i < 50; i++) {
        int fd = client_connect(f->path);

        client_send(fd,
                    "{\"execute\":\"large\"}\n{\"execute\":\"large\"}\n{\"execute\":\"large\"}\n");
        close(fd);
    }
}

static void add(const char *name, void (*test)(struct fixture *, gconstpointer))
{
    g_autofree char *path = g_strconcat("/control-hostile/", name, NULL);

    g_test_add(path, struct fixture, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("long-lines", test_long_lines);
    add("half-lines", test_half_lines);
    add("many", test_many);
    add("idle", test_idle);
    add("deaf", test_deaf);
    add("deaf-to-events", test_deaf_to_events);
    add("garbage", test_garbage);
    add("gone", test_gone);
    return g_test_run();
}
