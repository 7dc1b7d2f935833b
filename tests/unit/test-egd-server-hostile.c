/* SPDX-License-Identifier: Apache-2.0 */
/* egd-server.h: clients that are slow, many, wrong or gone hurt themselves alone. */
#include "contrib/vrngd/egd-server.h"

#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/egd-fixture.h"

#define MAX_CLIENT_FD 60

static void test_garbage(struct egd_fixture *f, gconstpointer data)
{
    static const char *const wrong[] = {"\x05", "\xff", "GET / HTTP/1.0\r\n", "\x03\xff\xff\x01x"};
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        int fd = egd_dial(f);

        egd_say(fd, wrong[i], strlen(wrong[i]));
        egd_expect_end(fd);
    }
    for (int round = 0; round < 200; round++) {
        char bytes[300];
        int fd = egd_dial(f);

        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (char)g_rand_int_range(rand, 0, round % 2 ? 256 : 5);
        (void)!send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
        close(fd);
    }
    egd_expect_served(f);
}

/* Asks for ever and takes nothing: it gets no more than its socket holds, and is thrown out. */
static void test_never_reads(struct egd_fixture *f, gconstpointer data)
{
    int fd = egd_dial(f);
    char flood[512];

    for (size_t i = 0; i < sizeof(flood); i += 2)
        memcpy(flood + i, "\x02\xff", 2);
    while (send(fd, flood, sizeof(flood), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
        egd_expect_served(f);
    g_assert_cmpuint(egd_status_of(f).n_bytes, <, 16 << 20);
    egd_wait_for_clients(f, 0);
    egd_expect_end(fd);
}

static void test_half_commands(struct egd_fixture *f, gconstpointer data)
{
    static const char *const halves[] = {"\x01", "\x02", "\x03\x01", "\x03\x01\x01\xffxyz"};

    for (size_t i = 0; i < G_N_ELEMENTS(halves); i++) {
        int fd = egd_dial(f);

        egd_say(fd, halves[i], strlen(halves[i]));
        egd_expect_served(f);
        egd_expect_end(fd);
    }
}

/* For longer than half a command is put up with, each time the other half and another one. */
static bool goes_on_in_halves(struct egd_fixture *f)
{
    static const char halves[] = "\x08\x01x\x03\x00";
    int fd = egd_dial(f);
    bool is_served = send(fd, "\x03\x00", 2, MSG_NOSIGNAL) == 2;

    for (int i = 0; i < 20 && is_served; i++) {
        g_usleep(EGD_STALL_MS * 1000 / 10);
        is_served = send(fd, halves, sizeof(halves) - 1, MSG_NOSIGNAL) > 0;
    }
    is_served = is_served && send(fd, "\x08\x01x\x02\x00\x04", 6, MSG_NOSIGNAL) == 6 &&
                recv(fd, (char[1]){0}, 1, 0) == 1;
    close(fd);
    return is_served;
}

/* Nothing is to be said against that; but a machine may be too busy for it. */
static void test_halves(struct egd_fixture *f, gconstpointer data)
{
    for (int tries = 0; !goes_on_in_halves(f); tries++)
        g_assert_cmpint(tries, <, 20);
}

/* Idle is no offence. */
static void test_idle(struct egd_fixture *f, gconstpointer data)
{
    int fd = egd_dial(f);

    egd_say(fd, egd_all_commands, EGD_ALL_COMMANDS_LEN);
    egd_expect_all_answers(fd);
    g_usleep(2 * EGD_STALL_MS * 1000);
    egd_say(fd, egd_all_commands, EGD_ALL_COMMANDS_LEN);
    egd_expect_all_answers(fd);
    close(fd);
}

static void test_flood(struct egd_fixture *f, gconstpointer data)
{
    int fds[8];
    char flood[512] = {0}, heard[4096];

    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        fds[i] = egd_dial(f);
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
            (void)!send(fds[i], flood, sizeof(flood), MSG_NOSIGNAL | MSG_DONTWAIT);
            (void)!recv(fds[i], heard, sizeof(heard), MSG_DONTWAIT);
        }
        egd_expect_served(f);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
}

/* One host takes half of a socket's places, and another socket's none. */
static void test_many(struct egd_fixture *f, gconstpointer data)
{
    int fds[EGD_SERVER_PLACES + 40];
    unsigned n = G_N_ELEMENTS(fds);

    for (unsigned i = 0; i < n; i++)
        fds[i] = egd_dial_port(f);
    egd_wait_for_clients(f, EGD_SERVER_PLACES / 2);
    egd_expect_served(f);
    for (unsigned i = EGD_SERVER_PLACES / 2; i < n; i++)
        egd_expect_end(fds[i]);
    for (unsigned i = 0; i < EGD_SERVER_PLACES / 2; i++)
        close(fds[i]);
    egd_wait_for_clients(f, 0);
    for (unsigned i = 0; i < n; i++)
        fds[i] = egd_dial(f);
    for (unsigned i = EGD_SERVER_PLACES; i < n; i++)
        egd_expect_end(fds[i]);
    g_assert_cmpuint(egd_status_of(f).n_clients, ==, EGD_SERVER_PLACES);
    close(fds[0]);
    egd_wait_for_clients(f, EGD_SERVER_PLACES - 1);
    egd_expect_served(f);
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
static void test_sleeps(struct egd_fixture *f, gconstpointer data)
{
    int fds[] = {egd_dial(f), egd_dial(f), egd_dial(f), egd_dial(f)};
    uint64_t before_ms;

    g_assert_cmpuint(egd_ask_level(fds[0]), ==, 0);
    egd_say(fds[1], "\x02\xff", 2);
    egd_say(fds[2], "\x02\xff", 2);
    g_assert_cmpint(shutdown(fds[2], SHUT_WR), ==, 0);
    egd_say(fds[3], "\x02\xff\x02\xff\x05", 5);
    g_usleep(100000);
    before_ms = cpu_ms();
    g_usleep(1000000);
    g_assert_cmpuint(cpu_ms() - before_ms, <, 200);
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
}

/* Without a descriptor for them clients wait, nobody turns in a circle, and it goes on later. */
static void test_no_descriptors(struct egd_fixture *f, gconstpointer data)
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
        egd_dial_by(f, fds[i]);
    before_ms = cpu_ms();
    g_usleep(1000000);
    g_assert_cmpuint(cpu_ms() - before_ms, <, 200);
    g_assert_cmpuint(egd_status_of(f).n_accepted, ==, 0);
    setrlimit(RLIMIT_NOFILE, &limit);
    egd_wait_for_clients(f, G_N_ELEMENTS(fds));
    egd_expect_served(f);
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
}

/* Clients do not take the descriptors that are left for others. */
static void test_few_descriptors(struct egd_fixture *f, gconstpointer data)
{
    const struct egd_setting *setting = data;
    int fds[MAX_CLIENT_FD], first = egd_dial(f);

    egd_wait_for_clients(f, 1);
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        fds[i] = egd_dial(f);
    egd_expect_end(fds[G_N_ELEMENTS(fds) - 1]);
    g_assert_cmpuint(egd_status_of(f).n_clients, <, (unsigned)setting->max_client_fd);
    for (size_t i = 0; i < G_N_ELEMENTS(fds) - 1; i++)
        close(fds[i]);
    egd_say(first, egd_all_commands, EGD_ALL_COMMANDS_LEN);
    egd_expect_all_answers(first);
    close(first);
}

static const struct egd_setting instant = {.is_slow = false}, slow = {.is_slow = true},
                                few = {.max_client_fd = MAX_CLIENT_FD};

static void add(const char *name, const struct egd_setting *setting,
                void (*test)(struct egd_fixture *, gconstpointer))
{
    g_autofree char *path = g_strconcat("/egd-server-hostile/", name, NULL);

    g_test_add(path, struct egd_fixture, setting, egd_set_up, test, egd_tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("garbage", &instant, test_garbage);
    add("never-reads", &instant, test_never_reads);
    add("half-commands", &instant, test_half_commands);
    add("halves", &instant, test_halves);
    add("idle", &instant, test_idle);
    add("flood", &instant, test_flood);
    add("many", &instant, test_many);
    add("sleeps", &slow, test_sleeps);
    add("no-descriptors", &instant, test_no_descriptors);
    add("few-descriptors", &few, test_few_descriptors);
    return g_test_run();
}
