/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.h: where it listens, what it answers to requests of all kinds, and that clients which are
 * slow, many or wrong do not keep others from an answer.
 */
#include "vhost-user/daemon/metrics.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vhost-user/daemon/address.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/histogram.h"

#define PATIENCE_S 60

struct fixture {
    char *dir, *path;
    struct vu_metrics *metrics;
    int n_collected; /* atomic */
};

static void collect(void *opaque, GString *text)
{
    struct fixture *f = opaque;

    __atomic_add_fetch(&f->n_collected, 1, __ATOMIC_RELAXED);
    vu_metrics_begin(text, "test_total", "counter", "What is tested.");
    vu_metrics_add(text, "test_total", NULL, 7);
    vu_metrics_add(text, "test_total", "a=\"b\"", UINT64_MAX);
}

static void set_up(struct fixture *f, gconstpointer data)
{
    g_autofree char *where = NULL;
    GError *error = NULL;
    GStatBuf st;
    int fd;

    f->dir = g_dir_make_tmp("test-metrics-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "metrics", NULL);
    where = g_strconcat("unix:", f->path, NULL);
    fd = vu_address_listen("--metrics", where, &error);
    g_assert_no_error(error);
    g_assert_cmpint(g_stat(f->path, &st), ==, 0);
    g_assert_cmpuint(st.st_mode, ==, S_IFSOCK | 0600);
    f->metrics = vu_metrics_create(fd, collect, f);
    g_assert_cmpint(vu_metrics_start(f->metrics), ==, 0);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    vu_metrics_stop(f->metrics);
    vu_metrics_destroy(f->metrics);
    vu_daemon_remove_socket();
    g_assert_cmpint(g_rmdir(f->dir), ==, 0);
    g_free(f->path);
    g_free(f->dir);
}

static int dial(const struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, f->path, sizeof(address.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

/* All that comes up to the end; closes. */
static char *hear(int fd)
{
    GString *text = g_string_new(NULL);
    char part[512];
    ssize_t n;

    while ((n = recv(fd, part, sizeof(part), 0)) > 0)
        g_string_append_len(text, part, n);
    g_assert_true(n == 0 || errno == ECONNRESET);
    close(fd);
    return g_string_free(text, FALSE);
}

static void say(int fd, const char *text)
{
    g_assert_cmpint(send(fd, text, strlen(text), MSG_NOSIGNAL), ==, (ssize_t)strlen(text));
}

static void expect(const struct fixture *f, const char *request, const char *pattern)
{
    g_autofree char *answer = NULL;
    int fd = dial(f);

    say(fd, request);
    answer = hear(fd);
    if (!g_pattern_match_simple(pattern, answer))
        g_error("%s: expected %s, got %s", request, pattern, answer);
}

static const char good[] = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4*\r\n\r\n"
                           "# HELP test_total What is tested.\n# TYPE test_total counter\n"
                           "test_total 7\ntest_total{a=\"b\"} 18446744073709551615\n";

static void test_requests(struct fixture *f, gconstpointer data)
{
    expect(f, "GET /metrics HTTP/1.0\r\n\r\n", good);
    expect(f, "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n", good);
    expect(f, "GET /metrics?x=1 HTTP/1.0\n\n", good);
    g_assert_cmpint(f->n_collected, ==, 3);
    expect(f, "GET /metricsx HTTP/1.0\r\n\r\n", "HTTP/1.0 404 *");
    expect(f, "GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 404 *");
    expect(f, "POST /metrics HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.0 405 *");
    expect(f, "\r\n\r\n", "HTTP/1.0 405 *");
    expect(f, "GET\n\n", "HTTP/1.0 405 *");
    expect(f, "GET /metrics\n\n", good);
    g_assert_cmpint(f->n_collected, ==, 4);
}

/* A request may come in any pieces; one that is too long is told so. */
static void test_pieces(struct fixture *f, gconstpointer data)
{
    static const char request[] = "GET /metrics HTTP/1.0\r\nX: y\r\n\r\n";
    g_autofree char *answer = NULL, *filler = g_strnfill(4096, 'x');
    int fd = dial(f);

    for (const char *p = request; *p; p++)
        g_assert_cmpint(send(fd, p, 1, MSG_NOSIGNAL), ==, 1);
    answer = hear(fd);
    g_assert_true(g_pattern_match_simple(good, answer));
    expect(f, filler, "HTTP/1.0 431 *");
}

/* Those that say nothing have their time; then others have theirs. */
static void test_many(struct fixture *f, gconstpointer data)
{
    int fds[12]; /* more than have a place; the backlog takes the rest */

    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = dial(f);
        say(fds[i], "GET /met");
    }
    expect(f, "GET /metrics HTTP/1.0\r\n\r\n", good);
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
    expect(f, "GET /metrics HTTP/1.0\r\n\r\n", good);
}

static void test_garbage(struct fixture *f, gconstpointer data)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);

    for (int round = 0; round < 200; round++) {
        char bytes[300];
        int fd = dial(f);

        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (char)g_rand_int_range(rand, 0, round % 2 ? 256 : 16);
        (void)!send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
        close(fd);
    }
    expect(f, "GET /metrics HTTP/1.0\r\n\r\n", good);
}

/* --- without a fixture --- */

static void test_listen(void)
{
    static const char *const wrong[] = {"",      "unix:",          "here",
                                        ":80",   "host:",          "a:b:c",
                                        "[]:80", "127.0.0.1:none", "unix:/nowhere/at/all/socket"};
    struct sockaddr_in address;
    socklen_t len = sizeof(address);
    GError *error = NULL;
    int fd;

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_assert_cmpint(vu_address_listen("--metrics", wrong[i], &error), ==, -1);
        g_assert_true(g_str_has_prefix(error->message, "--metrics"));
        g_clear_error(&error);
    }
    fd = vu_address_listen("--metrics", "127.0.0.1:0", &error);
    g_assert_no_error(error);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &len), ==, 0);
    g_assert_cmpuint(ntohl(address.sin_addr.s_addr), ==, INADDR_LOOPBACK);
    g_assert_true(vu_daemon_is_listening(fd));
    close(fd);
}

static void test_histogram(void)
{
    uint64_t counts[VU_HISTOGRAM_BUCKETS] = {0};
    g_autoptr(GString) text = g_string_new(NULL);

    counts[vu_histogram_bucket(1000)] = 1;
    counts[vu_histogram_bucket(1500)] = 2;
    counts[vu_histogram_bucket(2048)] = 4;
    counts[VU_HISTOGRAM_BUCKETS - 1] = 8;
    vu_metrics_add_histogram(text, "t", "o=\"r\"", counts, UINT64_C(12345678901));
    g_assert_nonnull(strstr(text->str, "t_bucket{o=\"r\",le=\"0.000001024\"} 1\n"));
    g_assert_nonnull(strstr(text->str, "t_bucket{o=\"r\",le=\"0.000002048\"} 3\n"));
    g_assert_nonnull(strstr(text->str, "t_bucket{o=\"r\",le=\"0.000004096\"} 7\n"));
    g_assert_nonnull(strstr(text->str, "t_bucket{o=\"r\",le=\"34.359738368\"} 7\n"));
    g_assert_nonnull(strstr(text->str, "t_bucket{o=\"r\",le=\"+Inf\"} 15\n"));
    g_assert_nonnull(strstr(text->str, "t_sum{o=\"r\"} 12.345678901\n"));
    g_assert_nonnull(strstr(text->str, "t_count{o=\"r\"} 15\n"));
}

static void add(const char *name, void (*test)(struct fixture *, gconstpointer))
{
    g_autofree char *path = g_strconcat("/metrics/", name, NULL);

    g_test_add(path, struct fixture, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("requests", test_requests);
    add("pieces", test_pieces);
    add("many", test_many);
    add("garbage", test_garbage);
    g_test_add_func("/metrics/listen", test_listen);
    g_test_add_func("/metrics/histogram", test_histogram);
    return g_test_run();
}
