/* SPDX-License-Identifier: Apache-2.0 */
/* egd-server.h: what it answers, from a source that has all at once and from one that has what the
 * test gives it; shares and limits. */
#include "contrib/vrngd/egd-server.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "contrib/vrngd/egd-wire.h"
#include "tests/unit/egd-fixture.h"
#include "vhost-user/cpu.h"

/* --- answers --- */

static void test_answers(struct egd_fixture *f, gconstpointer data)
{
    int fds[] = {egd_dial(f), egd_dial_port(f)};

    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
        egd_say(fds[i], egd_all_commands, EGD_ALL_COMMANDS_LEN);
        egd_expect_all_answers(fds[i]);
        for (size_t k = 0; k < EGD_ALL_COMMANDS_LEN; k++)
            egd_say(fds[i], egd_all_commands + k, 1);
        egd_expect_all_answers(fds[i]);
        egd_expect_nothing(fds[i]);
        close(fds[i]);
    }
    egd_wait_for_clients(f, 0);
}

/* Who sends no more is answered all the same. */
static void test_half_closed(struct egd_fixture *f, gconstpointer data)
{
    int fd = egd_dial(f);

    egd_say(fd, egd_all_commands, EGD_ALL_COMMANDS_LEN);
    g_assert_cmpint(shutdown(fd, SHUT_WR), ==, 0);
    egd_expect_all_answers(fd);
    egd_expect_end(fd);
}

/* A source that has nothing, a little, and then as much as is asked for. */
static void test_slow(struct egd_fixture *f, gconstpointer data)
{
    int fd = egd_dial(f);
    char bytes[255];

    g_assert_cmpuint(egd_ask_level(fd), ==, 0);
    g_assert_cmpuint(egd_ask_read(fd, 10, bytes), ==, 0);
    egd_say(fd, "\x02\x05", 2);
    egd_feed(f, "abc", 3);
    g_usleep(20000);
    egd_expect_nothing(fd);
    egd_feed(f, "defghij", 7);
    egd_expect(fd, "abcde", 5);
    /* Five are left, and no more are there than is told. */
    while (egd_ask_level(fd) < 40)
        g_usleep(1000);
    g_assert_cmpuint(egd_ask_level(fd), ==, 40);
    g_assert_cmpuint(egd_ask_read(fd, 255, bytes), ==, 5);
    g_assert_true(memcmp(bytes, "fghij", 5) == 0);
    g_assert_cmpuint(egd_ask_level(fd), ==, 0);
    close(fd);
    egd_wait_for_clients(f, 0); /* who would get what comes next */
    /* Who asks once and does not wait is not turned away. */
    fd = egd_dial(f);
    egd_feed(f, "klmno", 5);
    g_assert_cmpuint(egd_ask_read(fd, 5, bytes), ==, 5);
    close(fd);
}

/* Says it, and does not return before the server has seen it. */
static void say_and_wait(int fd, const char *bytes, size_t len)
{
    g_autofree char *both = g_malloc(1 + len);
    uint8_t answer[256], pid_len;

    both[0] = EGD_PID;
    memcpy(both + 1, bytes, len);
    egd_say(fd, both, 1 + len);
    egd_hear(fd, &pid_len, 1);
    egd_hear(fd, answer, pid_len);
}

/* Those who wait have equal shares, whatever they asked for and whoever came first. */
static void test_shares(struct egd_fixture *f, gconstpointer data)
{
    int a = egd_dial(f), b = egd_dial(f), c = egd_dial(f);
    char bytes[100];

    say_and_wait(a, "\x02\x64", 2);
    say_and_wait(b, "\x02\x0a\x02\xff", 4);
    say_and_wait(c, "\x02\x0a", 2);
    egd_feed(f, "012345678901234567890123456789", 30);
    egd_hear(b, bytes, 10);
    egd_hear(c, bytes, 10);
    egd_expect_nothing(a);
    for (int i = 0; i < 18; i++)
        egd_feed(f, "0123456789", 10);
    egd_hear(a, bytes, 100);
    egd_expect_nothing(b);
    close(a);
    close(b);
    close(c);
}

/* Nobody waits for bytes in the place of one who is gone. */
static void test_gone(struct egd_fixture *f, gconstpointer data)
{
    int gone[20], fd;

    for (size_t i = 0; i < G_N_ELEMENTS(gone); i++) {
        gone[i] = egd_dial(f);
        egd_say(gone[i], "\x02\xff", 2);
    }
    egd_wait_for_clients(f, G_N_ELEMENTS(gone));
    for (size_t i = 0; i < G_N_ELEMENTS(gone); i++)
        close(gone[i]);
    egd_wait_for_clients(f, 0);
    fd = egd_dial(f);
    egd_say(fd, "\x02\x04", 2);
    while (recv(fd, gone, 1, MSG_DONTWAIT | MSG_PEEK) < 0) {
        egd_feed(f, "abcd", 4);
        g_usleep(10000);
    }
    egd_expect(fd, "abcd", 4);
    close(fd);
}

/* --- limits --- */

/* The first window may be half over, the last just begun. */
static void test_limited(struct egd_fixture *f, gconstpointer data)
{
    const struct egd_setting *setting = data;
    int a = egd_dial(f), b = egd_dial(f);
    uint64_t begin_ns = vu_now_ns(), windows;
    char bytes[255];

    for (int i = 0; i < 20; i++) {
        egd_say(a, "\x02\x64", 2);
        egd_hear(a, bytes, 100);
    }
    windows = (vu_now_ns() - begin_ns) / 1000000 / setting->period_ms + 2;
    g_assert_cmpuint(windows * setting->max_bytes, >=, 2000);
    /* The other one has a limit of its own, which is not used up. */
    while (egd_ask_level(b) == 0)
        g_assert_cmpuint(windows++, <, 10000);
    g_assert_cmpuint(egd_ask_level(b), <=, 8 * 256);
    close(a);
    close(b);
}

/* Who waits for the end of a long window does not when there is a limit no more. */
static void test_limit_set(struct egd_fixture *f, gconstpointer data)
{
    int fd = egd_dial(f);
    uint64_t max_bytes, period_ms;
    char bytes[150];

    egd_say(fd, "\x02\x96", 2);
    while (egd_status_of(f).n_bytes < 100)
        g_usleep(1000);
    egd_expect_nothing(fd);
    egd_server_get_limit(f->server, &max_bytes, &period_ms);
    g_assert_cmpuint(max_bytes, ==, 100);
    egd_server_set_limit(f->server, 0, period_ms);
    egd_hear(fd, bytes, 150);
    egd_server_set_limit(f->server, 100, period_ms);
    egd_say(fd, "\x02\x96", 2);
    g_usleep(100000);
    egd_expect_nothing(fd);
    close(fd);
}

/* --- all --- */

static const struct egd_setting instant = {.is_slow = false}, slow = {.is_slow = true},
                                limited = {.max_bytes = 200, .period_ms = 100},
                                limited_for_long = {.max_bytes = 100, .period_ms = 3600000};

static void add(const char *name, const struct egd_setting *setting,
                void (*test)(struct egd_fixture *, gconstpointer))
{
    g_autofree char *path = g_strconcat("/egd-server/", name, NULL);

    g_test_add(path, struct egd_fixture, setting, egd_set_up, test, egd_tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("answers", &instant, test_answers);
    add("half-closed", &instant, test_half_closed);
    add("slow", &slow, test_slow);
    add("shares", &slow, test_shares);
    add("gone", &slow, test_gone);
    add("limited", &limited, test_limited);
    add("limit-set", &limited_for_long, test_limit_set);
    return g_test_run();
}
