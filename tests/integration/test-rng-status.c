/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vrngd of several devices says of each of them, and of all: query-stats, query-status, the
 * metrics, the summary in the log. Each queue has done another number of requests.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "blk-control.h"
#include "rng-guest.h"

#define N_DEVICES 3
#define N_QUEUES  2
#define LEN       100 /* bytes of a request */

struct rig {
    char *dir, *metrics, *options;
    struct rng_guest guest;
};

static unsigned n_requests(unsigned device, unsigned queue)
{
    return 3 * (device * N_QUEUES + queue + 1);
}

static void work(struct rng_guest *guest)
{
    struct rng_guest_slot slot;

    for (unsigned d = 0; d < N_DEVICES; d++)
        for (unsigned q = 0; q < N_QUEUES; q++) {
            rng_guest_slot_init(guest, d, &slot);
            for (unsigned i = 0; i < n_requests(d, q); i++)
                g_assert_cmpuint(rng_guest_read(guest, d, q, &slot, LEN), ==, LEN);
        }
}

static bool set_up(struct rig *rig, const char *more)
{
    rig->dir = g_dir_make_tmp("rng-status-XXXXXX", NULL);
    rig->metrics = g_build_filename(rig->dir, "metrics", NULL);
    rig->options =
        g_strdup_printf("--num-queues=%d --metrics=unix:%s %s", N_QUEUES, rig->metrics, more);
    const struct rng_guest_setup setup = {
        .options = rig->options, .n_devices = N_DEVICES, .n_queues = N_QUEUES};

    return rng_guest_start(&rig->guest, &setup);
}

static void tear_down(struct rig *rig)
{
    g_rmdir(rig->dir);
    g_free(rig->options);
    g_free(rig->metrics);
    g_free(rig->dir);
}

/* --- JSON --- */

/* What a command returns; g_object_unref. */
static JsonParser *ask(struct rig *rig, const char *command, JsonObject **ret_object)
{
    g_autofree char *line = g_strdup_printf("{\"execute\":\"%s\"}", command);
    g_autofree char *answer = blk_control_ask(rig->guest.control, line);
    JsonParser *parser = json_parser_new();

    g_assert_true(json_parser_load_from_data(parser, answer, -1, NULL));
    *ret_object =
        json_object_get_object_member(json_node_get_object(json_parser_get_root(parser)), "return");
    g_assert_nonnull(*ret_object);
    return parser;
}

static gint64 number(JsonObject *object, const char *name)
{
    g_assert_true(json_object_has_member(object, name));
    return json_object_get_int_member(object, name);
}

static void expect_work(JsonObject *of, unsigned n)
{
    JsonObject *read = json_object_get_object_member(of, "read");

    g_assert_cmpint(number(read, "operations"), ==, n);
    g_assert_cmpint(number(read, "bytes"), ==, n * LEN);
    g_assert_cmpint(number(read, "failed"), ==, 0);
    g_assert_cmpint(number(of, "depth"), ==, 0);
}

static void check_stats(struct rig *rig)
{
    JsonObject *stats;
    JsonParser *parser = ask(rig, "query-stats", &stats);
    JsonArray *queues = json_object_get_array_member(stats, "queues");
    unsigned total = 0, at = 0;

    g_assert_cmpuint(json_array_get_length(queues), ==, N_DEVICES * N_QUEUES);
    for (unsigned d = 0; d < N_DEVICES; d++)
        for (unsigned q = 0; q < N_QUEUES; q++) {
            JsonObject *queue = json_array_get_object_element(queues, at++);

            g_assert_cmpint(number(queue, "device"), ==, d);
            g_assert_cmpint(number(queue, "queue"), ==, q);
            expect_work(queue, n_requests(d, q));
            total += n_requests(d, q);
        }
    expect_work(json_object_get_object_member(stats, "total"), total);
    g_object_unref(parser);
}

/* gone: the device whose front-end has left; N_DEVICES: none. */
static void check_status(struct rig *rig, unsigned gone)
{
    JsonObject *status;
    JsonParser *parser = ask(rig, "query-status", &status);
    JsonArray *devices = json_object_get_array_member(status, "devices");

    g_assert_cmpuint(json_array_get_length(devices), ==, N_DEVICES);
    for (unsigned d = 0; d < N_DEVICES; d++) {
        JsonObject *device = json_array_get_object_element(devices, d);
        JsonObject *front_end = json_object_get_object_member(device, "front-end");

        g_assert_cmpint(number(device, "device"), ==, d);
        g_assert_cmpint(number(device, "waiting"), ==, 0);
        g_assert_cmpint(number(front_end, "sessions"), ==, 1);
        g_assert_cmpint(json_object_get_boolean_member(front_end, "connected"), ==, d != gone);
        if (d != gone)
            g_assert_cmpuint(
                json_array_get_length(json_object_get_array_member(front_end, "queues")), ==,
                N_QUEUES);
    }
    g_object_unref(parser);
}

/* --- Prometheus --- */

static char *scrape(const struct rig *rig)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    GString *text = g_string_new(NULL);
    char part[4096];
    ssize_t n;

    g_strlcpy(address.sun_path, rig->metrics, sizeof(address.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(send(fd, "GET /metrics HTTP/1.0\r\n\r\n", 25, MSG_NOSIGNAL), ==, 25);
    while ((n = recv(fd, part, sizeof(part), 0)) > 0)
        g_string_append_len(text, part, n);
    close(fd);
    return g_string_free(text, FALSE);
}

static void expect_metric(const char *text, const char *name, const char *labels, uint64_t value)
{
    g_autofree char *line =
        g_strdup_printf("\n%s{%s} %" G_GUINT64_FORMAT "\n", name, labels, value);

    if (!strstr(text, line))
        g_error("no \"%s\" in %s", line + 1, text);
}

static void check_metrics(const struct rig *rig, unsigned gone)
{
    g_autofree char *text = scrape(rig);
    unsigned total = 0;

    for (unsigned d = 0; d < N_DEVICES; d++) {
        g_autofree char *device = g_strdup_printf("device=\"%u\"", d);

        expect_metric(text, "outboard_front_end_connected", device, d != gone);
        expect_metric(text, "outboard_sessions_total", device, 1);
        expect_metric(text, "outboard_rng_waiting_requests", device, 0);
        expect_metric(text, "outboard_rng_short_requests_total", device, 0);
        for (unsigned q = 0; q < N_QUEUES; q++) {
            g_autofree char *queue = g_strdup_printf("%s,queue=\"%u\"", device, q);
            g_autofree char *read = g_strdup_printf("%s,operation=\"read\"", queue);
            unsigned n = n_requests(d, q);

            expect_metric(text, "outboard_rng_requests_total", read, n);
            expect_metric(text, "outboard_rng_bytes_total", read, n * LEN);
            expect_metric(text, "outboard_ring_popped_total", queue, n);
            expect_metric(text, "outboard_rng_queue_depth", queue, 0);
            total += n;
        }
    }
    expect_metric(text, "outboard_rng_request_duration_seconds_count", "operation=\"read\"", total);
}

/* --- tests --- */

static void test_all(gconstpointer options)
{
    struct rig rig;

    if (set_up(&rig, options)) {
        work(&rig.guest);
        check_stats(&rig);
        check_status(&rig, N_DEVICES);
        check_metrics(&rig, N_DEVICES);
        g_assert_cmpint(kill(rig.guest.pid, SIGUSR1), ==, 0);
        rng_guest_expect_log(&rig.guest, "vrngd: read: 63 requests, 0 failed");
        /* What a device has done stays when its front-end goes. */
        vu_frontend_disconnect(rig.guest.devices[1].frontend);
        rng_guest_expect_log(&rig.guest, "device 1: front-end");
        rng_guest_expect_answer(&rig.guest, "{\"execute\":\"query-status\"}",
                                "\"connected\":false");
        check_stats(&rig);
        check_status(&rig, 1);
        check_metrics(&rig, 1);
        rng_guest_stop(&rig.guest);
    }
    tear_down(&rig);
}

/* Requests that wait are told of where they are, and counted nowhere yet. */
static void test_waiting(void)
{
    const uint32_t len = LEN;
    struct rng_guest_slot slots[2];
    struct rig rig;

    if (set_up(&rig, "--max-bytes=100 --period=60000")) {
        for (unsigned i = 0; i < 2; i++)
            rng_guest_slot_init(&rig.guest, 2, &slots[i]);
        g_assert_cmpuint(rng_guest_read(&rig.guest, 2, 0, &slots[0], 60), ==, 60);
        g_assert_cmpuint(rng_guest_read(&rig.guest, 2, 1, &slots[1], 60), ==, 40);
        for (unsigned i = 0; i < 2; i++)
            rng_guest_ask(&rig.guest, 2, i, &slots[i], &len, 1);
        rng_guest_expect_answer(&rig.guest, "{\"execute\":\"query-status\"}",
                                "\"device\":2,\"waiting\":2");
        g_autofree char *text = scrape(&rig);

        expect_metric(text, "outboard_rng_waiting_requests", "device=\"0\"", 0);
        expect_metric(text, "outboard_rng_waiting_requests", "device=\"2\"", 2);
        expect_metric(text, "outboard_rng_short_requests_total", "device=\"1\"", 0);
        expect_metric(text, "outboard_rng_short_requests_total", "device=\"2\"", 1);
        expect_metric(text, "outboard_rng_queue_depth", "device=\"2\",queue=\"0\"", 1);
        expect_metric(text, "outboard_rng_requests_total",
                      "device=\"2\",queue=\"1\",operation=\"read\"", 1);
        rng_guest_stop(&rig.guest);
    }
    tear_down(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/rng-status/at-once", "", test_all);
    g_test_add_data_func("/rng-status/by-the-feeder", "--source=/dev/urandom", test_all);
    g_test_add_func("/rng-status/waiting", test_waiting);
    return g_test_run();
}
