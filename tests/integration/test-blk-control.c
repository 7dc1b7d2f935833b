/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vblkd's control socket while a guest works: what the counters say is what was done, other limits
 * hold at once, hostile clients change nothing, quit loses nothing; in each sandbox, with a filter
 * that kills.
 */
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blk-control.h"
#include "blk-guest.h"
#include "vblkd/virtio-blk.h"

#define IMAGE_LEN (8u << 20)
#define BLOCK     4096u
#define N_SLOTS   24
#define TRIES     3000 /* of 10 ms, for what happens soon */

static bool start(struct blk_guest *guest, const char *options, unsigned n_queues)
{
    const struct blk_guest_setup setup = {
        .options = options,
        .n_queues = n_queues,
        .features = VU_BIT(BLK_F_DISCARD) | VU_BIT(BLK_F_WRITE_ZEROES) | VU_BIT(BLK_F_FLUSH),
        .image_len = IMAGE_LEN,
        .inflight = true,
        .control = true,
    };

    return blk_guest_start(guest, &setup);
}

static void finish(struct blk_guest *guest)
{
    blk_guest_stop(guest);
    g_assert_false(g_file_test(guest->control, G_FILE_TEST_EXISTS));
    blk_guest_clear(guest);
}

/* --- asking --- */

/* What the command returns; it must not fail. */
static JsonNode *ask(const struct blk_guest *guest, const char *command, const char *arguments)
{
    g_autofree char *line = g_strdup_printf("{\"execute\":\"%s\",\"arguments\":%s}\n", command,
                                            arguments ? arguments : "{}");
    g_autofree char *text = blk_control_ask(guest->control, line);
    g_autoptr(JsonNode) answer = text ? json_from_string(text, NULL) : NULL;
    JsonObject *object = answer ? json_node_get_object(answer) : NULL;

    if (!object || !json_object_has_member(object, "return"))
        g_error("%s: %s", command, text);
    return json_node_copy(json_object_get_member(object, "return"));
}

static void tell(const struct blk_guest *guest, const char *command, const char *arguments)
{
    json_node_unref(ask(guest, command, arguments));
}

/* A number by its way of members, "total.read.bytes". */
static int64_t number(JsonNode *node, const char *way)
{
    g_auto(GStrv) names = g_strsplit(way, ".", -1);

    for (char **name = names; *name; name++) {
        g_assert_true(JSON_NODE_HOLDS_OBJECT(node));
        node = json_object_get_member(json_node_get_object(node), *name);
        g_assert_nonnull(node);
    }
    return json_node_get_int(node);
}

static int64_t stats(const struct blk_guest *guest, const char *way)
{
    g_autoptr(JsonNode) node = ask(guest, "query-blockstats", NULL);

    return number(node, way);
}

/* --- counters --- */

static void test_counters(void)
{
    static const char data[2 * BLOCK];
    g_autoptr(JsonNode) node = NULL;
    struct blk_guest guest;
    struct blk_range range = {.sector = le64_from(0), .num_sectors = le32_from(16)};
    JsonObject *total, *read;
    JsonArray *histogram;
    int64_t n = 0;

    if (!start(&guest, NULL, 1))
        return;
    for (int i = 0; i < 7; i++)
        g_assert_cmpuint(blk_guest_call(&guest, BLK_T_IN, 8, NULL, 0, BLOCK), ==, BLK_S_OK);
    for (int i = 0; i < 5; i++)
        g_assert_cmpuint(blk_guest_call(&guest, BLK_T_OUT, 8, data, 2 * BLOCK, 0), ==, BLK_S_OK);
    for (int i = 0; i < 3; i++)
        g_assert_cmpuint(blk_guest_call(&guest, BLK_T_FLUSH, 0, NULL, 0, 0), ==, BLK_S_OK);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_DISCARD, 0, &range, sizeof(range), 0), ==,
                     BLK_S_OK);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_WRITE_ZEROES, 0, &range, sizeof(range), 0), ==,
                     BLK_S_OK);
    /* What fails: beyond the end, and what nobody knows. */
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_IN, IMAGE_LEN / BLK_SECTOR, NULL, 0, BLOCK), ==,
                     BLK_S_IOERR);
    g_assert_cmpuint(blk_guest_call(&guest, 99, 0, NULL, 0, 0), ==, BLK_S_UNSUPP);

    node = ask(&guest, "query-blockstats", "{\"histograms\":true}");
    g_assert_cmpint(number(node, "total.read.operations"), ==, 8);
    g_assert_cmpint(number(node, "total.read.failed"), ==, 1);
    g_assert_cmpint(number(node, "total.read.bytes"), ==, 7 * BLOCK);
    g_assert_cmpint(number(node, "total.write.operations"), ==, 5);
    g_assert_cmpint(number(node, "total.write.failed"), ==, 0);
    g_assert_cmpint(number(node, "total.write.bytes"), ==, 5 * 2 * BLOCK);
    g_assert_cmpint(number(node, "total.flush.operations"), ==, 3);
    g_assert_cmpint(number(node, "total.discard.operations"), ==, 1);
    g_assert_cmpint(number(node, "total.discard.bytes"), ==, 16 * BLK_SECTOR);
    g_assert_cmpint(number(node, "total.write_zeroes.bytes"), ==, 16 * BLK_SECTOR);
    g_assert_cmpint(number(node, "total.other.failed"), ==, 1);
    g_assert_cmpint(number(node, "total.depth"), ==, 0);
    g_assert_cmpint(number(node, "total.max_depth"), ==, 1);
    g_assert_cmpint(number(node, "total.read.p50_ns"), >, 0);
    g_assert_cmpint(number(node, "total.read.p50_ns"), <=, number(node, "total.read.p99_ns"));
    g_assert_cmpint(number(node, "total.read.p99_ns"), <=, number(node, "total.read.max_ns"));
    total = json_object_get_object_member(json_node_get_object(node), "total");
    read = json_object_get_object_member(total, "read");
    histogram = json_object_get_array_member(read, "histogram");
    for (guint i = 0; i < json_array_get_length(histogram); i++)
        n += json_array_get_int_element(json_array_get_array_element(histogram, i), 1);
    g_assert_cmpint(n, ==, 8);
    finish(&guest);
}

/* --- limits --- */

/* A limit under which nothing gets on, seen by the counters; and then none. */
static void test_throttle(void)
{
    struct blk_guest_slot slots[4];
    struct blk_guest guest;

    if (!start(&guest, NULL, 1))
        return;
    tell(&guest, "set-throttle", "{\"bps\":1,\"bps_max\":1}");
    for (size_t i = 0; i < G_N_ELEMENTS(slots); i++) {
        blk_guest_slot_init(&guest, &slots[i]);
        blk_guest_fill(&slots[i], BLK_T_IN, 8 * i, 0, BLOCK);
        g_assert_true(blk_guest_add(&guest, 0, &slots[i]));
    }
    vu_driver_kick(guest.queues[0]);
    g_assert_nonnull(blk_guest_take(&guest, 0));
    for (int i = 0; stats(&guest, "total.depth") != 3; i++) {
        g_assert_cmpint(i, <, TRIES);
        g_usleep(10000);
    }
    g_assert_cmpint(stats(&guest, "total.read.operations"), ==, 1);
    /* The debt is not carried over into other limits, so that one more passes, and the next would
     * in half an hour. */
    tell(&guest, "set-throttle", "{\"bps\":2}");
    for (int i = 0; stats(&guest, "total.depth") != 2; i++) {
        g_assert_cmpint(i, <, TRIES);
        g_usleep(10000);
    }
    g_usleep(50000);
    g_assert_cmpint(stats(&guest, "total.read.operations"), ==, 2);
    tell(&guest, "set-throttle", "{\"bps\":0}");
    for (size_t i = 1; i < G_N_ELEMENTS(slots); i++) /* one is there already */
        g_assert_nonnull(blk_guest_take(&guest, 0));
    g_assert_cmpint(stats(&guest, "total.read.operations"), ==, 4);
    finish(&guest);
}

/* --- while the guest works --- */

struct load {
    struct blk_guest *guest;
    struct blk_guest_slot slots[N_SLOTS];
    uint64_t n_begun, n_done;
};

/* Each slot writes a block of its own, over and over, its number in every byte. */
static void load_begin(struct load *load, struct blk_guest_slot *slot)
{
    unsigned index = (unsigned)(slot - load->slots);

    blk_guest_fill(slot, BLK_T_OUT, index * (BLOCK / BLK_SECTOR), BLOCK, 0);
    memset(slot->out + sizeof(struct blk_header), (int)index + 1, BLOCK);
    g_assert_true(blk_guest_add(load->guest, index % load->guest->setup.n_queues, slot));
    load->n_begun++;
}

static void load_kick(struct load *load)
{
    for (unsigned q = 0; q < load->guest->setup.n_queues; q++)
        vu_driver_kick(load->guest->queues[q]);
}

static void load_start(struct load *load, struct blk_guest *guest)
{
    *load = (struct load){.guest = guest};
    for (unsigned i = 0; i < N_SLOTS; i++) {
        blk_guest_slot_init(guest, &load->slots[i]);
        load_begin(load, &load->slots[i]);
    }
    load_kick(load);
}

/* Takes what is done; with `again`, each begins anew. */
static void load_step(struct load *load, bool again)
{
    struct blk_guest_slot *slot;

    for (unsigned q = 0; q < load->guest->setup.n_queues; q++)
        while ((slot = blk_guest_try_take(load->guest, q)) != NULL) {
            g_assert_cmpuint(blk_guest_status(slot), ==, BLK_S_OK);
            load->n_done++;
            if (again)
                load_begin(load, slot);
        }
    load_kick(load);
}

static void load_finish(struct load *load)
{
    for (int i = 0; load->n_done < load->n_begun; i++) {
        g_assert_cmpint(i, <, TRIES);
        load_step(load, false);
        g_usleep(10000);
    }
}

static void load_check_image(struct load *load)
{
    g_autofree uint8_t *image = blk_guest_read_image(load->guest, false);

    for (uint32_t i = 0; i < N_SLOTS * BLOCK; i++)
        g_assert_cmpuint(image[i], ==, i / BLOCK + 1);
}

static void test_queries_under_load(void)
{
    static const char *const queries[] = {
        "query-blockstats",        "query-status", "query-throttle",
        "query-named-block-nodes", "flush",        "query-commands"};
    struct blk_guest guest;
    struct load load;

    if (!start(&guest, NULL, 2))
        return;
    load_start(&load, &guest);
    for (size_t i = 0; i < 200; i++) {
        tell(&guest, queries[i % G_N_ELEMENTS(queries)], NULL);
        load_step(&load, true);
    }
    load_finish(&load);
    g_assert_cmpint(stats(&guest, "total.write.operations"), ==, (int64_t)load.n_done);
    g_assert_cmpint(stats(&guest, "total.write.bytes"), ==, (int64_t)(load.n_done * BLOCK));
    g_assert_cmpint(stats(&guest, "total.write.failed"), ==, 0);
    blk_guest_stop(&guest);
    load_check_image(&load);
    blk_guest_clear(&guest);
}

static int connect_silently(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    return fd;
}

/* Half lines, garbage, many connections, and nobody who reads: the guest does not notice. */
static void test_hostile_clients(void)
{
    static const char *const lines[] = {"{\"execute\":\"query-block", "\xff\xfe{{{{[[[[",
                                        "{\"execute\":\"query-commands\"}\n"};
    struct blk_guest guest;
    struct load load;
    int fds[100];

    if (!start(&guest, NULL, 2))
        return;
    load_start(&load, &guest);
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
        const char *line = lines[i % G_N_ELEMENTS(lines)];

        fds[i] = connect_silently(guest.control);
        for (int k = 0; k < 1000; k++)
            if (send(fds[i], line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL) <= 0)
                break;
        load_step(&load, true);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
    load_finish(&load);
    /* And there is room for others again. */
    for (int i = 0;; i++) {
        int fd = connect_silently(guest.control);
        char byte[8] = {0};
        bool is_greeted = recv(fd, byte, 6, MSG_WAITALL) == 6 && strcmp(byte, "{\"QMP\"") == 0;

        close(fd);
        if (is_greeted)
            break;
        g_assert_cmpint(i, <, TRIES);
        g_usleep(10000);
    }
    blk_guest_stop(&guest);
    load_check_image(&load);
    blk_guest_clear(&guest);
}

static void wait_for_end(const struct blk_guest *guest)
{
    siginfo_t info = {0};

    /* Left to be waited for by who started it. */
    g_assert_cmpint(waitid(P_PID, (id_t)guest->pid, &info, WEXITED | WNOWAIT), ==, 0);
    g_assert_cmpint(info.si_code, ==, CLD_EXITED);
    g_assert_cmpint(info.si_status, ==, 0);
}

/* What was answered is in the image, and what was not, is done by the next daemon. */
static void test_quit_under_load(void)
{
    struct blk_guest guest;
    struct load load;

    if (!start(&guest, NULL, 2))
        return;
    load_start(&load, &guest);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 20; i++)
            load_step(&load, true);
        tell(&guest, "quit", NULL);
        load_step(&load, true);
        wait_for_end(&guest);
        blk_guest_restart(&guest);
    }
    load_finish(&load);
    blk_guest_stop(&guest);
    load_check_image(&load);
    blk_guest_clear(&guest);
}

/* --- the daemon's life --- */

/* The same figures by HTTP, and no file left behind. */
static void test_metrics(gconstpointer sandbox)
{
    g_autofree char *dir = g_dir_make_tmp("blk-metrics-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "metrics", NULL);
    g_autofree char *options =
        g_strdup_printf("%s --seccomp=kill --metrics=unix:%s", (const char *)sandbox, path);
    static const char request[] = "GET /metrics HTTP/1.0\r\n\r\n";
    g_autoptr(GString) text = g_string_new(NULL);
    struct blk_guest guest;
    char part[4096];
    ssize_t n;
    int fd;

    if (start(&guest, options, 1)) {
        for (int i = 0; i < 3; i++)
            g_assert_cmpuint(blk_guest_call(&guest, BLK_T_IN, 0, NULL, 0, BLOCK), ==, BLK_S_OK);
        fd = connect_silently(path);
        g_assert_cmpint(send(fd, request, strlen(request), MSG_NOSIGNAL), ==,
                        (ssize_t)strlen(request));
        while ((n = recv(fd, part, sizeof(part), 0)) > 0)
            g_string_append_len(text, part, n);
        close(fd);
        g_assert_true(g_str_has_prefix(text->str, "HTTP/1.0 200 OK\r\n"));
        g_assert_nonnull(strstr(
            text->str, "\noutboard_block_requests_total{queue=\"0\",operation=\"read\"} 3\n"));
        g_assert_nonnull(strstr(
            text->str, "\noutboard_block_bytes_total{queue=\"0\",operation=\"read\"} 12288\n"));
        g_assert_nonnull(strstr(text->str, "_seconds_count{operation=\"read\"} 3\n"));
        g_assert_nonnull(strstr(text->str, "\noutboard_block_size_bytes 8388608\n"));
        g_assert_nonnull(strstr(text->str, "\noutboard_front_end_connected 1\n"));
        finish(&guest);
    }
    g_assert_cmpint(g_rmdir(dir), ==, 0);
}

/* All of it in each sandbox: a call without a row would kill the daemon. */
static void test_sandbox(gconstpointer options)
{
    static const char *const commands[][2] = {
        {"query-version", NULL},
        {"query-commands", NULL},
        {"query-status", NULL},
        {"query-blockstats", "{\"histograms\":true}"},
        {"query-named-block-nodes", NULL},
        {"query-throttle", NULL},
        {"set-throttle", "{\"iops\":100000}"},
        {"set-log-level", "{\"level\":\"off\"}"},
        {"flush", NULL},
        {"qmp_capabilities", NULL},
        {"quit", NULL},
    };
    struct blk_guest guest;

    if (!start(&guest, options, 1))
        return;
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_IN, 0, NULL, 0, BLOCK), ==, BLK_S_OK);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        tell(&guest, commands[i][0], commands[i][1]);
    wait_for_end(&guest);
    finish(&guest);
}

/* A live control socket is refused, a dead one replaced. */
static void test_socket_file(void)
{
    g_autofree char *other = NULL;
    struct blk_guest guest;
    GStatBuf st;

    if (!start(&guest, NULL, 1))
        return;
    g_assert_cmpint(g_stat(guest.control, &st), ==, 0);
    g_assert_cmpuint(st.st_mode, ==, S_IFSOCK | 0600);
    other = g_strconcat(guest.socket, ".other", NULL);
    g_assert_cmpint(blk_guest_run("%s --socket-path=%s --blk-file=%s --read-only --control=%s",
                                  g_getenv("VBLKD"), other, guest.image, guest.control),
                    ==, 1);
    g_assert_false(g_file_test(other, G_FILE_TEST_EXISTS));
    tell(&guest, "query-status", NULL);
    blk_guest_restart(&guest);
    tell(&guest, "query-status", NULL);
    finish(&guest);
}

/* The socket for front-ends by mistake: whoever listens there waits for the first word, too. */
static void give_wrong_socket(const struct blk_guest *guest, const char *program)
{
    g_autofree char *line = g_strdup_printf("%s -s %s query-status", program, guest->socket);
    g_autofree char *complaint = NULL;
    int status;

    g_assert_true(g_spawn_command_line_sync(line, NULL, &complaint, &status, NULL));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    g_assert_true(g_pattern_match_simple("*no greeting for * not a control socket*", complaint));
}

/* The client for people: exit status, and what it prints. */
static void test_vblkctl(void)
{
    const char *program = g_getenv("VBLKCTL");
    g_autofree char *output = NULL, *line = NULL;
    struct blk_guest guest;
    int status;

    if (!start(&guest, NULL, 1))
        return;
    g_assert_cmpint(blk_guest_run("%s -s %s query-status", program, guest.control), ==, 0);
    g_assert_cmpint(blk_guest_run("%s -s %s query-blockstats", program, guest.control), ==, 0);
    g_assert_cmpint(blk_guest_run("%s -s %s help set-throttle", program, guest.control), ==, 0);
    g_assert_cmpint(blk_guest_run("%s -s %s help nothing", program, guest.control), ==, 1);
    g_assert_cmpint(blk_guest_run("%s -s %s nothing", program, guest.control), ==, 1);
    g_assert_cmpint(blk_guest_run("%s -s %s set-throttle iops=-1", program, guest.control), ==, 1);
    g_assert_cmpint(blk_guest_run("%s -s %s set-throttle iops=x", program, guest.control), ==, 1);
    g_assert_cmpint(blk_guest_run("%s -s %s set-throttle nix=1", program, guest.control), ==, 1);
    g_assert_cmpint(blk_guest_run("%s -s %s set-throttle bps=64M", program, guest.control), ==, 0);
    line = g_strdup_printf("%s --socket=%s --json query-throttle", program, guest.control);
    g_assert_true(g_spawn_command_line_sync(line, &output, NULL, &status, NULL));
    g_assert_cmpint(status, ==, 0);
    g_assert_true(g_pattern_match_simple("{*\"bps\" : 67108864,*}\n", output));
    give_wrong_socket(&guest, program);
    g_assert_cmpint(blk_guest_run("%s -s %s quit", program, guest.control), ==, 0);
    wait_for_end(&guest);
    g_assert_cmpint(blk_guest_run("%s -s %s query-status", program, guest.control), ==, 1);
    finish(&guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/blk-control/counters", test_counters);
    g_test_add_func("/blk-control/throttle", test_throttle);
    g_test_add_func("/blk-control/queries-under-load", test_queries_under_load);
    g_test_add_func("/blk-control/hostile-clients", test_hostile_clients);
    g_test_add_func("/blk-control/quit-under-load", test_quit_under_load);
    g_test_add_data_func("/blk-control/namespace", "--sandbox=namespace --seccomp=kill",
                         test_sandbox);
    g_test_add_data_func("/blk-control/none", "--sandbox=none --seccomp=kill", test_sandbox);
    g_test_add_func("/blk-control/socket-file", test_socket_file);
    g_test_add_data_func("/blk-control/metrics-namespace", "--sandbox=namespace", test_metrics);
    g_test_add_data_func("/blk-control/metrics-none", "--sandbox=none", test_metrics);
    g_test_add_func("/blk-control/vblkctl", test_vblkctl);
    return g_test_run();
}
