/* SPDX-License-Identifier: Apache-2.0 */
/* control.h: rows of all types, what clients may send and what they get, events, slow commands. */
#include "vhost-user/daemon/control.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control-client.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/json-build.h"

struct fixture {
    char *dir, *path;
    int stop_fd;
    struct vu_control *control;
    int slow[2]; /* what slow commands wait for */
};

/* --- commands --- */

static JsonNode *run_echo(struct vu_control_call *call, GError **error)
{
    JsonBuilder *json = vu_json_begin();

    vu_json_add_text(json, "text", vu_control_string(call, "text"));
    vu_json_add_number(json, "number", (uint64_t)vu_control_int(call, "number", 42));
    vu_json_add_bool(json, "flag", vu_control_bool(call, "flag", true));
    vu_json_add_number(json, "choice", (uint64_t)vu_control_choice(call, "choice", 7));
    return vu_json_finish(json);
}

static JsonNode *run_fail(struct vu_control_call *call, GError **error)
{
    return vu_control_fail(error, "it is \"so\"");
}

/* Reads what each of the files holds. */
static JsonNode *run_read(struct vu_control_call *call, GError **error)
{
    static const char *const names[] = {"first", "second"};
    JsonBuilder *json = vu_json_begin();

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        vu_autofd int fd = vu_control_take_fd(call, names[i]);
        char text[8] = {0};

        if (fd >= 0 && read(fd, text, sizeof(text) - 1) >= 0)
            vu_json_add_text(json, names[i], text);
        g_assert_cmpint(vu_control_take_fd(call, names[i]), ==, -1);
    }
    return vu_json_finish(json);
}

static JsonNode *run_slow(struct vu_control_call *call, GError **error)
{
    struct fixture *f = call->opaque;
    char byte;

    g_assert_cmpint(read(f->slow[0], &byte, 1), ==, 1);
    return vu_control_nothing();
}

static const char *const choices[] = {"red", "green", NULL};
static const struct vu_control_argument echo_rows[] = {
    {.name = "text", .type = VU_CONTROL_STRING, .is_required = true, .max = 8, .help = "A text."},
    {.name = "number", .type = VU_CONTROL_INT, .min = -5, .max = 100, .help = "A number."},
    {.name = "flag", .type = VU_CONTROL_BOOL, .help = "A flag."},
    {.name = "choice", .type = VU_CONTROL_CHOICE, .choices = choices, .help = "A colour."},
};
static const struct vu_control_argument read_rows[] = {
    {.name = "first", .type = VU_CONTROL_FILE, .help = "A file."},
    {.name = "second", .type = VU_CONTROL_FILE, .help = "Another."},
};
static const struct vu_control_command commands[] = {
    {.name = "echo",
     .help = "Tells what came.",
     .arguments = echo_rows,
     .n_arguments = G_N_ELEMENTS(echo_rows),
     .run = run_echo},
    {.name = "fail", .help = "Fails.", .run = run_fail},
    {.name = "read",
     .help = "Reads files.",
     .arguments = read_rows,
     .n_arguments = G_N_ELEMENTS(read_rows),
     .run = run_read},
    {.name = "slow", .help = "Waits.", .is_slow = true, .run = run_slow},
};
static const struct vu_control_table table = {commands, G_N_ELEMENTS(commands)};

/* --- fixture --- */

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 8), ==, 0);
    return fd;
}

static void set_up(struct fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("test-control-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "control", NULL);
    f->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g_assert_cmpint(pipe(f->slow), ==, 0);
    f->control = vu_control_create(listen_at(f->path), "tester", &table, f);
    g_assert_cmpint(vu_control_start(f->control, NULL, 0, f->stop_fd), ==, 0);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    vu_control_stop(f->control);
    vu_control_destroy(f->control);
    close(f->stop_fd);
    close(f->slow[0]);
    close(f->slow[1]);
    g_remove(f->path);
    g_rmdir(f->dir);
    g_free(f->path);
    g_free(f->dir);
}

static void let_slow_go(struct fixture *f)
{
    g_assert_cmpint(write(f->slow[1], "", 1), ==, 1);
}

/* --- tests --- */

static void test_arguments(struct fixture *f, gconstpointer data)
{
    static const struct {
        const char *arguments, *answer;
    } rows[] = {
        {"{\"text\":\"a\"}",
         "{\"return\":{\"text\":\"a\",\"number\":42,\"flag\":true,\"choice\":7}}"},
        {"{\"text\":\"\\u00e9\",\"number\":-5,\"flag\":false,\"choice\":\"green\"}",
         "{\"return\":{\"text\":\"\xc3\xa9\",\"number\":*,\"flag\":false,\"choice\":1}}"},
        {"{}", "*GenericError*echo: expected the argument text*"},
        {"{\"text\":1}", "*text: expected a string*"},
        {"{\"text\":null}", "*text: expected a string*"},
        {"{\"text\":[]}", "*text: expected a string*"},
        {"{\"text\":\"\"}", "*text: expected a string that is not empty*"},
        {"{\"text\":\"123456789\"}", "*text: expected at most 8 bytes, got 9*"},
        {"{\"text\":\"a\",\"number\":101}", "*number: expected -5 to 100, got 101*"},
        {"{\"text\":\"a\",\"number\":-6}", "*number: expected -5 to 100*"},
        {"{\"text\":\"a\",\"number\":1.5}", "*number: expected an integer*"},
        {"{\"text\":\"a\",\"number\":1e1}", "*number: expected an integer*"},
        {"{\"text\":\"a\",\"number\":\"1\"}", "*number: expected an integer*"},
        {"{\"text\":\"a\",\"number\":99999999999999999999999}", "*not JSON*"},
        {"{\"text\":\"a\",\"flag\":1}", "*flag: expected true or false*"},
        {"{\"text\":\"a\",\"choice\":\"blue\"}", "*choice: expected one of red, green*"},
        {"{\"text\":\"a\",\"choice\":{}}", "*choice: expected one of red, green*"},
        {"{\"text\":\"a\",\"x\\\"y\":1}", "*echo has no argument*x*y*"},
        {"[]", "*arguments: expected an object*"},
        {"null", "*arguments: expected an object*"},
    };
    int fd = client_connect(f->path);

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *line =
            g_strdup_printf("{\"execute\":\"echo\",\"arguments\":%s}", rows[i].arguments);

        client_ask(fd, line, rows[i].answer);
    }
    close(fd);
}

static void test_lines(struct fixture *f, gconstpointer data)
{
    static const struct {
        const char *line, *answer;
    } rows[] = {
        {"{\"execute\":\"qmp_capabilities\"}", "{\"return\":{}}"},
        {"{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[]}}", "{\"return\":{}}"},
        {"{\"execute\":\"query-version\",\"id\":\"a b\"}", "{\"return\":*tester*,\"id\":\"a b\"}"},
        {"{\"id\":{\"x\":[1]},\"execute\":\"fail\"}",
         "{\"error\":{\"class\":\"GenericError\",\"desc\":\"it is "
         "\\\"so\\\"\"},\"id\":{\"x\":[1]}}"},
        {"{\"execute\":\"nothing\",\"id\":null}", "*CommandNotFound*nothing*\"id\":null}"},
        {"{\"execute\":5}", "*execute: expected the name of a command*"},
        {"{\"execute\":null}", "*execute: expected*"},
        {"{\"arguments\":{}}", "*execute: expected*"},
        {"{\"execute\":\"fail\",\"exec-oob\":1}", "*no member*exec-oob*"},
        {"[]", "*expected an object*"},
        {"null", "*expected an object*"},
        {"7", "*expected an object*"},
        {"garbage", "*not JSON at byte 0*"},
        {"{\"execute\":\"fail\"", "*not JSON*"},
        {"{'execute':'fail'}", "*not JSON*"},
        {"\xff\xfe", "*not UTF-8*"},
        {"\r", NULL},
        {"", NULL},
        {"   ", NULL},
        {" {\"execute\":\"qmp_capabilities\"} \r", "{\"return\":{}}"},
    };
    int fd = client_connect(f->path);

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        if (rows[i].answer) {
            client_ask(fd, rows[i].line, rows[i].answer);
        } else {
            client_send(fd, rows[i].line);
            client_send(fd, "\n");
        }
    client_ask(fd, "{\"execute\":\"query-commands\"}",
               "*\"echo\"*\"number\"*\"min\":-5,\"max\":100*");
    close(fd);
}

/* Many commands in one piece, and one in many; the last is answered though the client says no more.
 */
static void test_pieces(struct fixture *f, gconstpointer data)
{
    static const char line[] = "{\"execute\":\"echo\",\"arguments\":{\"text\":\"a\"}}\n";
    g_autoptr(GString) many = g_string_new(NULL);
    int fd = client_connect(f->path);

    for (const char *p = line; *p; p++)
        client_send_bytes(fd, p, 1);
    client_expect(fd, "{\"return\":*}");
    for (int i = 0; i < 300; i++)
        g_string_append_printf(many, "{\"execute\":\"fail\",\"id\":%d}\n", i);
    client_send(fd, many->str);
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 300; i++) {
        g_autofree char *answer = g_strdup_printf("*\"id\":%d}", i);

        client_expect(fd, answer);
    }
    client_expect_end(fd);
    close(fd);
}

static int file_with(const char *text)
{
    int fds[2];

    g_assert_cmpint(pipe(fds), ==, 0);
    g_assert_cmpint(write(fds[1], text, strlen(text)), ==, (ssize_t)strlen(text));
    close(fds[1]);
    return fds[0];
}

static void test_files(struct fixture *f, gconstpointer data)
{
    int fds[2] = {file_with("one"), file_with("two")}, fd = client_connect(f->path);
    int many[9];

    client_ask(fd, "{\"execute\":\"read\",\"arguments\":{\"first\":\"x\"}}",
               "*expected 1 open descriptors with it (SCM_RIGHTS), got 0*");
    /* In the order of rows, whatever that of the arguments. */
    client_send_fds(fd, "{\"execute\":\"read\",\"arguments\":{\"second\":\"y\",\"first\":\"x\"}}\n",
                    fds, 2);
    client_expect(fd, "{\"return\":{\"first\":\"one\",\"second\":\"two\"}}");
    close(fds[0]);
    fds[0] = file_with("three");
    client_send_fds(fd, "{\"execute\":\"read\",\"arguments\":{\"second\":\"y\"}}\n", fds, 1);
    client_expect(fd, "{\"return\":{\"second\":\"three\"}}");
    /* Those that nobody takes are not collected for ever. */
    for (size_t i = 0; i < G_N_ELEMENTS(many); i++)
        many[i] = fds[1];
    client_send_fds(fd, " ", many, 8);
    client_ask(fd, "{\"execute\":\"qmp_capabilities\"}", "{\"return\":{}}");
    client_send_fds(fd, " ", many, 9);
    client_expect(fd, "*too many descriptors*");
    client_expect_end(fd);
    close(fd);
    close(fds[0]);
    close(fds[1]);
}

/* A slow command holds up its client, and no other. */
static void test_slow(struct fixture *f, gconstpointer data)
{
    int fd = client_connect(f->path), other = client_connect(f->path), gone;

    client_send(fd, "{\"execute\":\"slow\",\"id\":1}\n{\"execute\":\"fail\",\"id\":2}\n");
    for (int i = 0; i < 10; i++)
        client_ask(other, "{\"execute\":\"fail\"}", "*so*");
    /* A second one waits its turn; its client does not. */
    gone = client_connect(f->path);
    client_send(gone, "{\"execute\":\"slow\"}\n");
    close(gone);
    client_ask(other, "{\"execute\":\"fail\"}", "*so*");
    let_slow_go(f);
    client_expect(fd, "{\"return\":{},\"id\":1}");
    client_expect(fd, "*\"id\":2}");
    let_slow_go(f);
    close(fd);
    close(other);
}

/* The end waits for what runs, and its answer is sent. */
static void test_end(struct fixture *f, gconstpointer data)
{
    int fd = client_connect(f->path), other = client_connect(f->path);
    eventfd_t count;

    client_send(fd, "{\"execute\":\"slow\"}\n");
    client_ask(other, "{\"execute\":\"quit\"}", "{\"return\":{}}");
    client_expect(other, "{\"event\":\"SHUTDOWN\",\"data\":{},\"timestamp\":{*}}");
    g_assert_cmpint(eventfd_read(f->stop_fd, &count), ==, 0);
    client_expect(fd, "{\"event\":\"SHUTDOWN\"*}");
    let_slow_go(f);
    vu_control_stop(f->control);
    client_expect(fd, "{\"return\":{}}");
    client_expect_end(fd);
    client_expect_end(other);
    close(fd);
    close(other);
}

static void test_events(struct fixture *f, gconstpointer data)
{
    int fd = client_connect(f->path), other = client_connect(f->path);
    JsonBuilder *json = vu_json_begin();

    vu_json_add_number(json, "n", 5);
    vu_control_event(f->control, "SOMETHING", vu_json_finish(json));
    client_expect(fd, "{\"event\":\"SOMETHING\",\"data\":{\"n\":5},\"timestamp\":{\"seconds\":*}}");
    client_expect(other, "{\"event\":\"SOMETHING\"*}");
    vu_control_event(NULL, "NOBODY", vu_control_nothing());
    close(fd);
    close(other);
}

static void add(const char *name, void (*test)(struct fixture *, gconstpointer))
{
    g_autofree char *path = g_strconcat("/control/", name, NULL);

    g_test_add(path, struct fixture, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("arguments", test_arguments);
    add("lines", test_lines);
    add("pieces", test_pieces);
    add("files", test_files);
    add("slow", test_slow);
    add("end", test_end);
    add("events", test_events);
    return g_test_run();
}
