/* SPDX-License-Identifier: Apache-2.0 */
/* pool.h, with the test as the feeder and a clock of its own. */
#include <glib.h>
#include <pthread.h>
#include <string.h>

#include "contrib/vrngd/pool.h"

#define MS        UINT64_C(1000000)
#define MAX_ASKED 300

/* A request, and what became of it. */
struct asked {
    struct rng_request request;
    size_t got;     /* bytes */
    unsigned place; /* among all that were served; 0: not yet */
    unsigned *n_served;
};

struct rig {
    struct rng_pool *pool;
    struct rng_client *clients[3];
    struct asked asked[MAX_ASKED];
    unsigned n_asked, n_served;
    uint64_t now_ns;
};

static uint8_t data[4096];

static void on_data(struct rng_request *request, const uint8_t *bytes, size_t size)
{
    struct asked *asked = (struct asked *)request;

    g_assert_cmpuint(asked->place, ==, 0);
    g_assert_cmpuint(size, <=, request->size);
    g_assert_true(bytes >= data && bytes + size <= data + sizeof(data));
    asked->got = size;
    asked->place = ++*asked->n_served;
}

static void rig_init(struct rig *rig)
{
    *rig = (struct rig){.pool = rng_pool_create(), .now_ns = MS};
    for (unsigned i = 0; i < G_N_ELEMENTS(rig->clients); i++)
        rig->clients[i] = rng_client_create(rig->pool);
}

static void rig_clear(struct rig *rig)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(rig->clients); i++)
        rng_client_destroy(rig->clients[i]);
    rng_pool_destroy(rig->pool);
}

static struct asked *ask(struct rig *rig, unsigned client, size_t size)
{
    struct asked *asked = &rig->asked[rig->n_asked++];

    *asked = (struct asked){.request = {.size = size, .done = on_data}, .n_served = &rig->n_served};
    rng_client_request(rig->clients[client], &asked->request);
    return asked;
}

static size_t wanted(struct rig *rig, uint64_t *ret_until_ns)
{
    uint64_t until_ns;

    return rng_pool_wanted(rig->pool, sizeof(data), rig->now_ns,
                           ret_until_ns ? ret_until_ns : &until_ns);
}

static size_t give(struct rig *rig, size_t size)
{
    return rng_pool_give(rig->pool, data, size, rig->now_ns);
}

static void test_order(void)
{
    struct asked *a, *b, *c;
    struct rig rig;

    rig_init(&rig);
    g_assert_cmpuint(wanted(&rig, NULL), ==, 0);
    a = ask(&rig, 0, 10);
    b = ask(&rig, 0, 20);
    c = ask(&rig, 0, 30);
    g_assert_cmpuint(wanted(&rig, NULL), ==, 60);
    g_assert_cmpuint(give(&rig, 25), ==, 25);
    g_assert_cmpuint(a->place, ==, 1);
    g_assert_cmpuint(a->got, ==, 10);
    /* Some is enough. */
    g_assert_cmpuint(b->place, ==, 2);
    g_assert_cmpuint(b->got, ==, 15);
    g_assert_cmpuint(c->place, ==, 0);
    /* What nobody wants is left. */
    g_assert_cmpuint(give(&rig, 100), ==, 30);
    g_assert_cmpuint(c->got, ==, 30);
    rig_clear(&rig);
}

/* One that asks for much and often does not keep the others from their share. */
static void test_turns(void)
{
    struct asked *greedy[8], *modest[2];
    struct rig rig;

    rig_init(&rig);
    for (unsigned i = 0; i < 8; i++)
        greedy[i] = ask(&rig, 0, 1000);
    for (unsigned i = 0; i < 2; i++)
        modest[i] = ask(&rig, 1 + i, 64);
    g_assert_cmpuint(give(&rig, 300), ==, 300);
    g_assert_cmpuint(greedy[0]->got, ==, 100);
    g_assert_cmpuint(modest[0]->got, ==, 64);
    g_assert_cmpuint(modest[1]->got, ==, 64);
    g_assert_cmpuint(greedy[1]->got, ==, 72);
    for (unsigned i = 2; i < 8; i++)
        g_assert_cmpuint(greedy[i]->place, ==, 0);
    g_assert_nonnull(rng_client_cancel_all(rig.clients[0], NULL));
    rig_clear(&rig);
}

static void test_empty(void)
{
    struct asked *empty, *other;
    struct rig rig;

    rig_init(&rig);
    other = ask(&rig, 0, 5);
    empty = ask(&rig, 0, 0);
    g_assert_cmpuint(give(&rig, 5), ==, 5);
    g_assert_cmpuint(other->place, ==, 1);
    g_assert_cmpuint(empty->place, ==, 0);
    g_assert_cmpuint(wanted(&rig, NULL), ==, 1);
    g_assert_cmpuint(give(&rig, 1), ==, 0);
    g_assert_cmpuint(empty->place, ==, 2);
    g_assert_cmpuint(empty->got, ==, 0);
    rig_clear(&rig);
}

/* Of many that want nothing only some are served by one look at the clock, for others wait for it.
 */
static void test_many_empty(void)
{
    struct rig rig;

    rig_init(&rig);
    for (unsigned i = 0; i < MAX_ASKED; i++)
        ask(&rig, 0, 0);
    g_assert_cmpuint(wanted(&rig, NULL), ==, MAX_ASKED);
    g_assert_cmpuint(give(&rig, 10), ==, 0);
    g_assert_cmpuint(rig.n_served, <, MAX_ASKED / 2);
    while (wanted(&rig, NULL) > 0)
        g_assert_cmpuint(give(&rig, 1), ==, 0);
    g_assert_cmpuint(rig.n_served, ==, MAX_ASKED);
    rig_clear(&rig);
}

static void test_cancel(void)
{
    struct rng_request *cancelled;
    struct asked *asked[4];
    static int one, two;
    struct rig rig;

    rig_init(&rig);
    for (unsigned i = 0; i < 4; i++) {
        asked[i] = ask(&rig, 0, 10);
        asked[i]->request.owner = i % 2 ? &one : &two;
    }
    g_assert_true(rng_client_cancel(rig.clients[0], &asked[0]->request));
    g_assert_false(rng_client_cancel(rig.clients[0], &asked[0]->request));
    g_assert_false(rng_client_cancel(rig.clients[1], &asked[1]->request));
    /* The youngest first. */
    cancelled = rng_client_cancel_all(rig.clients[0], &one);
    g_assert_true(cancelled == &asked[3]->request);
    g_assert_true(cancelled->next == &asked[1]->request);
    g_assert_null(cancelled->next->next);
    g_assert_cmpuint(rng_client_n_waiting(rig.clients[0]), ==, 1);
    g_assert_cmpuint(give(&rig, 100), ==, 10);
    g_assert_cmpuint(asked[2]->place, ==, 1);
    g_assert_null(rng_client_cancel_all(rig.clients[0], NULL));
    rig_clear(&rig);
}

static void test_limit(void)
{
    struct asked *first, *second;
    uint64_t until_ns;
    struct rig rig;

    rig_init(&rig);
    rng_client_set_limit(rig.clients[0], 100, 10);
    first = ask(&rig, 0, 70);
    second = ask(&rig, 0, 70);
    g_assert_cmpuint(wanted(&rig, &until_ns), ==, 100);
    g_assert_cmpuint(until_ns, ==, UINT64_MAX);
    g_assert_cmpuint(give(&rig, 1000), ==, 100);
    g_assert_cmpuint(first->got, ==, 70);
    g_assert_cmpuint(second->got, ==, 30);
    second = ask(&rig, 0, 70);
    g_assert_cmpuint(wanted(&rig, &until_ns), ==, 0);
    g_assert_cmpuint(until_ns, ==, rig.now_ns + 10 * MS);
    g_assert_cmpuint(give(&rig, 1000), ==, 0);
    /* Others are not held up. */
    first = ask(&rig, 1, 500);
    g_assert_cmpuint(give(&rig, 1000), ==, 500);
    g_assert_cmpuint(second->place, ==, 0);
    rig.now_ns = until_ns;
    g_assert_cmpuint(give(&rig, 1000), ==, 70);
    g_assert_cmpuint(second->got, ==, 70);
    rig_clear(&rig);
}

/* A limit over all is divided among those who wait, whoever asks for more. */
static void test_total(void)
{
    uint64_t until_ns, got[3] = {0};
    struct rig rig;

    rig_init(&rig);
    rng_pool_set_limit(rig.pool, 900, 10);
    for (unsigned round = 0; round < 4; round++) {
        rig.n_asked = 0;
        for (unsigned i = 0; i < 20; i++)
            ask(&rig, 0, 1000);
        ask(&rig, 1, 1000);
        ask(&rig, 2, 1000);
        g_assert_cmpuint(give(&rig, sizeof(data)), ==, 900);
        got[0] += rig.asked[0].got + rig.asked[1].got;
        got[1] += rig.asked[20].got;
        got[2] += rig.asked[21].got;
        g_assert_cmpuint(wanted(&rig, &until_ns), ==, 0);
        g_assert_cmpuint(until_ns, ==, rig.now_ns + 10 * MS);
        for (unsigned i = 0; i < 3; i++)
            rng_client_cancel_all(rig.clients[i], NULL);
        rig.now_ns = until_ns;
    }
    for (unsigned i = 0; i < 3; i++)
        g_assert_cmpuint(got[i], ==, 4 * 300);
    rig_clear(&rig);
}

/* Past the pool: without a limit all, else what is left, and nothing while others wait. */
static void test_take(void)
{
    struct rig rig;

    rig_init(&rig);
    g_assert_cmpuint(rng_client_take(rig.clients[0], 1 << 20, rig.now_ns), ==, 1 << 20);
    rng_client_set_limit(rig.clients[0], 100, 10);
    g_assert_cmpuint(rng_client_take(rig.clients[0], 60, rig.now_ns), ==, 60);
    g_assert_cmpuint(rng_client_take(rig.clients[0], 60, rig.now_ns), ==, 40);
    g_assert_cmpuint(rng_client_take(rig.clients[0], 60, rig.now_ns), ==, 0);
    g_assert_cmpuint(rng_client_take(rig.clients[1], 60, rig.now_ns), ==, 60);
    /* Its own wait: these come first. */
    ask(&rig, 0, 10);
    rig.now_ns += 10 * MS;
    g_assert_cmpuint(rng_client_take(rig.clients[0], 60, rig.now_ns), ==, 0);
    g_assert_cmpuint(give(&rig, 10), ==, 10);
    g_assert_cmpuint(rng_client_take(rig.clients[0], 60, rig.now_ns), ==, 60);
    rng_pool_set_limit(rig.pool, 0, 10);
    rng_client_set_limit(rig.clients[0], 0, 10);
    g_assert_cmpuint(rng_client_take(rig.clients[0], 1 << 20, rig.now_ns), ==, 1 << 20);
    rig_clear(&rig);
}

/* While an older one is being answered, a younger one must wait for its turn. */
struct taker {
    struct rng_request request;
    struct rig *rig;
    size_t own, others;
};

static void on_taker(struct rng_request *request, const uint8_t *bytes, size_t size)
{
    struct taker *taker = (struct taker *)request;

    taker->own = rng_client_take(taker->rig->clients[0], 10, taker->rig->now_ns);
    taker->others = rng_client_take(taker->rig->clients[1], 10, taker->rig->now_ns);
}

static void test_take_in_order(void)
{
    struct rig rig;
    struct taker taker = {.request = {.size = 10, .done = on_taker}, .rig = &rig, .own = 1};

    rig_init(&rig);
    rng_client_request(rig.clients[0], &taker.request);
    g_assert_cmpuint(give(&rig, 10), ==, 10);
    g_assert_cmpuint(taker.own, ==, 0);
    g_assert_cmpuint(taker.others, ==, 10);
    g_assert_cmpuint(rng_client_take(rig.clients[0], 10, rig.now_ns), ==, 10);
    rig_clear(&rig);
}

/* Shares of the limit over all are kept for those who were active a moment ago; in the second half
 * of a window whoever is there has the rest. */
static void test_shares(void)
{
    uint64_t until_ns;
    struct rig rig;

    rig_init(&rig);
    rng_pool_set_limit(rig.pool, 1000, 10);
    g_assert_cmpuint(rng_client_take(rig.clients[0], 700, rig.now_ns), ==, 700);
    g_assert_cmpuint(rng_client_take(rig.clients[1], 700, rig.now_ns), ==, 300);
    rig.now_ns += 10 * MS;
    g_assert_cmpuint(rng_client_take(rig.clients[0], 700, rig.now_ns), ==, 500);
    g_assert_cmpuint(rng_client_take(rig.clients[0], 700, rig.now_ns), ==, 0);
    ask(&rig, 0, 200);
    g_assert_cmpuint(wanted(&rig, &until_ns), ==, 0);
    g_assert_cmpuint(until_ns, ==, rig.now_ns + 5 * MS);
    g_assert_cmpuint(rng_client_take(rig.clients[1], 64, rig.now_ns), ==, 64);
    rig.now_ns += 5 * MS;
    g_assert_cmpuint(give(&rig, 1000), ==, 200);
    g_assert_cmpuint(rng_client_take(rig.clients[0], 700, rig.now_ns), ==, 236);
    /* After a whole window without the other one everything is the first's. */
    rig.now_ns += 25 * MS;
    g_assert_cmpuint(rng_client_take(rig.clients[0], 2000, rig.now_ns), ==, 1000);
    rig_clear(&rig);
}

/* --- threads --- */

struct asker {
    struct rng_client *client;
    struct rig *rig;
    pthread_t thread;
};

struct threaded {
    struct rng_request request;
    unsigned *n_done; /* atomic */
};

static void on_threaded(struct rng_request *request, const uint8_t *bytes, size_t size)
{
    __atomic_add_fetch(((struct threaded *)request)->n_done, 1, __ATOMIC_RELAXED);
    g_free(request);
}

static void *run_asker(void *opaque)
{
    struct asker *asker = opaque;
    unsigned n_asked = 0, n_cancelled = 0, n_done = 0;

    for (unsigned round = 0; round < 300; round++) {
        struct rng_request *request, *next;

        for (unsigned i = 0; i < 10; i++, n_asked++) {
            struct threaded *threaded = g_new0(struct threaded, 1);

            threaded->request = (struct rng_request){.size = 16, .done = on_threaded};
            threaded->n_done = &n_done;
            rng_client_request(asker->client, &threaded->request);
        }
        /* All are over behind this: served, or ours. */
        for (request = rng_client_cancel_all(asker->client, NULL); request; request = next) {
            next = request->next;
            g_free(request);
            n_cancelled++;
        }
        g_assert_cmpuint(__atomic_load_n(&n_done, __ATOMIC_RELAXED) + n_cancelled, ==, n_asked);
    }
    rng_client_destroy(asker->client);
    return NULL;
}

static void *run_giver(void *opaque)
{
    struct rig *rig = opaque;

    while (__atomic_load_n(&rig->n_served, __ATOMIC_RELAXED) == 0)
        rng_pool_give(rig->pool, data, 64, rig->now_ns);
    return NULL;
}

static void test_threads(void)
{
    struct asker askers[3];
    pthread_t giver;
    struct rig rig;

    rig_init(&rig);
    g_assert_cmpint(pthread_create(&giver, NULL, run_giver, &rig), ==, 0);
    for (unsigned i = 0; i < 3; i++) {
        askers[i] = (struct asker){.client = rig.clients[i], .rig = &rig};
        g_assert_cmpint(pthread_create(&askers[i].thread, NULL, run_asker, &askers[i]), ==, 0);
    }
    for (unsigned i = 0; i < 3; i++)
        pthread_join(askers[i].thread, NULL);
    __atomic_store_n(&rig.n_served, 1, __ATOMIC_RELAXED);
    pthread_join(giver, NULL);
    rng_pool_destroy(rig.pool);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    memset(data, 0x5a, sizeof(data));
    g_test_add_func("/rng-pool/order", test_order);
    g_test_add_func("/rng-pool/turns", test_turns);
    g_test_add_func("/rng-pool/empty", test_empty);
    g_test_add_func("/rng-pool/many-empty", test_many_empty);
    g_test_add_func("/rng-pool/cancel", test_cancel);
    g_test_add_func("/rng-pool/limit", test_limit);
    g_test_add_func("/rng-pool/total", test_total);
    g_test_add_func("/rng-pool/take", test_take);
    g_test_add_func("/rng-pool/take-in-order", test_take_in_order);
    g_test_add_func("/rng-pool/shares", test_shares);
    g_test_add_func("/rng-pool/threads", test_threads);
    return g_test_run();
}
