/* SPDX-License-Identifier: Apache-2.0 */
/* Processes of a guest that wait for each other's record locks: one is told, all others go on. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>

#include "tests/unit/fs-client.h"
#include "virtiofsd/locks.h"

#define STORM_OWNERS 6
#define STORM_ROUNDS 60
#define STORM_LOCKS  4

static struct fs_fixture fixture;
static struct {
    uint64_t nodeid, fh;
} files[3];

static void set_up(void)
{
    struct fuse_init_out out;

    fs_fixture_init(&fixture);
    fixture.options.posix_lock = true;
    fs_fixture_open(&fixture);
    fs_fixture_send_init(&fixture, &out);
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        const char name[] = {(char)('a' + i), '\0'};

        g_assert_cmpint(
            fs_client_create(&fixture, FUSE_ROOT_ID, name, O_RDWR, &files[i].nodeid, &files[i].fh),
            ==, 0);
    }
}

static void tear_down(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++)
        g_assert_cmpint(fs_client_release(&fixture, files[i].nodeid, files[i].fh), ==, 0);
    fs_client_tear_down(&fixture);
}

struct asked {
    unsigned file;
    uint64_t owner;
    uint32_t type;
    uint64_t start, end;
    pthread_t thread;
    int result; /* atomic; 1 until it is known */
};

static int ask(uint32_t opcode, const struct asked *asked)
{
    struct fuse_lk_in in = {
        .fh = files[asked->file].fh,
        .owner = asked->owner,
        .lk = {asked->start, asked->end, asked->type, (uint32_t)asked->owner + 1000},
    };
    struct fs_call call = {
        .opcode = opcode, .nodeid = files[asked->file].nodeid, .args = &in, .args_len = sizeof(in)};

    return fs_client_call(&fixture, &call);
}

static int set(unsigned file, uint64_t owner, uint32_t type, uint64_t start, uint64_t end)
{
    const struct asked asked = {file, owner, type, start, end};

    return ask(FUSE_SETLK, &asked);
}

static int set_waiting(unsigned file, uint64_t owner, uint32_t type, uint64_t start, uint64_t end)
{
    const struct asked asked = {file, owner, type, start, end};

    return ask(FUSE_SETLKW, &asked);
}

static void *asked_run(void *opaque)
{
    struct asked *asked = opaque;

    __atomic_store_n(&asked->result, ask(FUSE_SETLKW, asked), __ATOMIC_RELEASE);
    return NULL;
}

static void start(struct asked *asked, unsigned file, uint64_t owner, uint32_t type, uint64_t from,
                  uint64_t to)
{
    *asked = (struct asked){file, owner, type, from, to, .result = 1};
    g_assert_cmpint(pthread_create(&asked->thread, NULL, asked_run, asked), ==, 0);
}

static int finish(struct asked *asked)
{
    pthread_join(asked->thread, NULL);
    return asked->result;
}

/* Each holds one file and wants the next: whoever comes last is told, then all others get theirs.
 */
static void try_circle(unsigned n, uint32_t wanted)
{
    struct asked asked[G_N_ELEMENTS(files)];
    unsigned n_told = 0;

    set_up();
    for (unsigned i = 0; i < n; i++)
        g_assert_cmpint(set(i, i + 1, F_WRLCK, 10, 19), ==, 0);
    for (unsigned i = 0; i < n; i++)
        start(&asked[i], (i + 1) % n, i + 1, wanted, 15, 99);
    /* The one who is told gives up what it has; so does each that gets what it wanted. */
    for (unsigned n_through = 0; n_through < n; g_usleep(1000))
        for (unsigned i = 0; i < n; i++) {
            int result = __atomic_load_n(&asked[i].result, __ATOMIC_ACQUIRE);

            if (result == 1 || asked[i].owner == 0)
                continue;
            g_assert_true(result == 0 || result == -EDEADLK);
            n_told += result == -EDEADLK;
            for (unsigned k = 0; k < n; k++)
                g_assert_cmpint(set(k, asked[i].owner, F_UNLCK, 0, INT64_MAX), ==, 0);
            asked[i].owner = 0;
            n_through++;
        }
    for (unsigned i = 0; i < n; i++)
        finish(&asked[i]);
    g_assert_cmpuint(n_told, ==, 1);
    tear_down();
}

static void test_circles(void)
{
    try_circle(2, F_WRLCK);
    try_circle(2, F_RDLCK);
    try_circle(3, F_WRLCK);
    try_circle(3, F_RDLCK);
}

/* Both read, both want to write. */
static void test_upgrade(void)
{
    struct asked one, two;
    int first, second;

    set_up();
    g_assert_cmpint(set(0, 1, F_RDLCK, 0, 9), ==, 0);
    g_assert_cmpint(set(0, 2, F_RDLCK, 0, 9), ==, 0);
    start(&one, 0, 1, F_WRLCK, 0, 9);
    start(&two, 0, 2, F_WRLCK, 0, 9);
    while (__atomic_load_n(&one.result, __ATOMIC_ACQUIRE) == 1 &&
           __atomic_load_n(&two.result, __ATOMIC_ACQUIRE) == 1)
        g_usleep(1000);
    first = __atomic_load_n(&one.result, __ATOMIC_ACQUIRE) == 1 ? 2 : 1;
    g_assert_cmpint(set(0, (uint64_t)first, F_UNLCK, 0, 9), ==, 0);
    first = finish(&one);
    second = finish(&two);
    g_assert_true((first == 0 && second == -EDEADLK) || (first == -EDEADLK && second == 0));
    tear_down();
}

/* No circle: it was opened by giving up the very bytes that the other wants. */
static void test_partial_unlock(void)
{
    struct asked waits;

    set_up();
    g_assert_cmpint(set(0, 1, F_WRLCK, 0, 99), ==, 0);
    g_assert_cmpint(set(1, 2, F_WRLCK, 0, 99), ==, 0);
    g_assert_cmpint(set(0, 1, F_UNLCK, 40, 59), ==, 0);
    start(&waits, 1, 1, F_WRLCK, 0, 0);
    g_usleep(20000);
    g_assert_cmpint(set_waiting(0, 2, F_WRLCK, 40, 59), ==, 0);
    g_assert_cmpint(__atomic_load_n(&waits.result, __ATOMIC_ACQUIRE), ==, 1);
    g_assert_cmpint(set(1, 2, F_UNLCK, 0, 0), ==, 0);
    g_assert_cmpint(finish(&waits), ==, 0);
    tear_down();
}

/* --- many at once --- */

struct stormer {
    uint64_t owner;
    bool ordered; /* locks in the order of offsets: then nobody ever waits in a circle */
    uint32_t seed;
    unsigned n_told;
};

/* Locks some bytes one by one, waiting for each, and drops them. */
static void storm_round(struct stormer *stormer, GRand *random)
{
    uint32_t at = 0;

    for (unsigned i = 0; i < STORM_LOCKS; i++) {
        uint32_t type = g_rand_boolean(random) ? F_WRLCK : F_RDLCK;
        int ret;

        at = stormer->ordered ? at + 1 + (uint32_t)g_rand_int_range(random, 0, 2)
                              : (uint32_t)g_rand_int_range(random, 0, 8);
        ret = set_waiting(0, stormer->owner, type, at, at);
        if (ret == -EDEADLK) {
            stormer->n_told++;
            break;
        }
        g_assert_cmpint(ret, ==, 0);
        g_usleep(100); /* it is the others' turn */
    }
    if (g_rand_boolean(random))
        g_assert_cmpint(set(0, stormer->owner, F_UNLCK, 3, 4), ==, 0);
    g_assert_cmpint(set(0, stormer->owner, F_UNLCK, 0, INT64_MAX), ==, 0);
}

static void *storm_run(void *opaque)
{
    struct stormer *stormer = opaque;
    GRand *random = g_rand_new_with_seed(stormer->seed);

    for (unsigned round = 0; round < STORM_ROUNDS; round++)
        storm_round(stormer, random);
    g_rand_free(random);
    return NULL;
}

/* Ends at all; and where circles cannot be, nobody is told of one. */
static void test_storm(void)
{
    for (int ordered = 0; ordered < 2; ordered++) {
        struct stormer stormers[STORM_OWNERS];
        pthread_t threads[STORM_OWNERS];

        set_up();
        for (unsigned i = 0; i < STORM_OWNERS; i++) {
            stormers[i] = (struct stormer){
                .owner = i + 1, .ordered = ordered, .seed = (uint32_t)g_test_rand_int()};
            g_assert_cmpint(pthread_create(&threads[i], NULL, storm_run, &stormers[i]), ==, 0);
        }
        for (unsigned i = 0; i < STORM_OWNERS; i++) {
            pthread_join(threads[i], NULL);
            if (ordered)
                g_assert_cmpuint(stormers[i].n_told, ==, 0);
        }
        tear_down();
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/deadlock/circles", test_circles);
    g_test_add_func("/deadlock/upgrade", test_upgrade);
    g_test_add_func("/deadlock/partial-unlock", test_partial_unlock);
    g_test_add_func("/deadlock/storm", test_storm);
    return g_test_run();
}
