/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool of waiting requests, with a clock of the fuzzer's: each byte of the input is one step.
 * No window gives out more than its limit, no request gets more than it asked for or is over twice,
 * and whoever waits has his bytes, or a moment at which to look again, that is not behind us.
 */
#include <glib.h>
#include <stdint.h>

#include "contrib/vrngd/pool.h"

#define FUZZ_CLIENTS  3u
#define FUZZ_REQUESTS 16u
#define FUZZ_MS       UINT64_C(1000000)
#define FUZZ_PERIODS  10u /* ms of each window */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_request {
    struct rng_request request;
    bool waits;
    unsigned client;
};

/* What was given out in a window that the fuzzer reckons itself. */
struct fuzz_window {
    uint64_t max_bytes, begin_ns, spent;
};

struct fuzz {
    struct rng_pool *pool;
    struct rng_client *clients[FUZZ_CLIENTS];
    struct fuzz_request requests[FUZZ_REQUESTS];
    struct fuzz_window own[FUZZ_CLIENTS], total;
    uint64_t now_ns;
};

static struct fuzz *fuzz; /* for on_data */

static void fuzz_spend(struct fuzz_window *window, uint64_t size)
{
    if (window->max_bytes == 0 || size == 0)
        return;
    if (window->begin_ns == 0)
        window->begin_ns = fuzz->now_ns;
    while (fuzz->now_ns >= window->begin_ns + FUZZ_PERIODS * FUZZ_MS) {
        window->begin_ns += FUZZ_PERIODS * FUZZ_MS;
        window->spent = 0;
    }
    window->spent += size;
    /* Where windows begin is the limit's to say: two of ours may share one of its. */
    g_assert(window->spent <= 2 * window->max_bytes);
}

static void fuzz_got(unsigned client, uint64_t size)
{
    fuzz_spend(&fuzz->own[client], size);
    fuzz_spend(&fuzz->total, size);
}

static void on_data(struct rng_request *request, const uint8_t *data, size_t size)
{
    struct fuzz_request *asked = (struct fuzz_request *)request;

    g_assert(asked->waits && size <= request->size && (size > 0 || request->size == 0));
    asked->waits = false;
    fuzz_got(asked->client, size);
}

static void fuzz_ask(unsigned client, unsigned size)
{
    for (unsigned i = 0; i < FUZZ_REQUESTS; i++) {
        struct fuzz_request *asked = &fuzz->requests[i];

        if (asked->waits)
            continue;
        *asked = (struct fuzz_request){
            .request = {.size = size, .done = on_data}, .waits = true, .client = client};
        rng_client_request(fuzz->clients[client], &asked->request);
        return;
    }
}

static void fuzz_cancel(unsigned client)
{
    struct rng_request *request = rng_client_cancel_all(fuzz->clients[client], NULL);

    for (; request; request = request->next) {
        struct fuzz_request *asked = (struct fuzz_request *)request;

        g_assert(asked->waits && asked->client == client);
        asked->waits = false;
    }
    g_assert(rng_client_n_waiting(fuzz->clients[client]) == 0);
}

static void fuzz_give(size_t size)
{
    static const uint8_t bytes[256];
    size_t given = rng_pool_give(fuzz->pool, bytes, size, fuzz->now_ns), wanted;
    uint64_t until_ns;
    bool any = false;

    g_assert(given <= size);
    for (unsigned i = 0; i < FUZZ_REQUESTS; i++)
        any = any || fuzz->requests[i].waits;
    wanted = rng_pool_wanted(fuzz->pool, sizeof(bytes), fuzz->now_ns, &until_ns);
    g_assert(until_ns > fuzz->now_ns);
    g_assert(!any || wanted > 0 || until_ns != UINT64_MAX);
}

/* client, what, how much: two, two and four bits. */
static void fuzz_step(uint8_t step)
{
    unsigned client = (step & 3) % FUZZ_CLIENTS, amount = step >> 4;

    switch (step >> 2 & 3) {
    case 0:
        fuzz_ask(client, amount);
        break;
    case 1:
        fuzz_give(4u * amount);
        break;
    case 2:
        fuzz->now_ns += amount * FUZZ_MS / 2;
        break;
    default:
        if (amount == 0)
            fuzz_cancel(client);
        else
            fuzz_got(client, rng_client_take(fuzz->clients[client], amount, fuzz->now_ns));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz state = {.pool = rng_pool_create(), .now_ns = FUZZ_MS};

    if (size < FUZZ_CLIENTS + 1) {
        rng_pool_destroy(state.pool);
        return 0;
    }
    fuzz = &state;
    for (unsigned i = 0; i < FUZZ_CLIENTS; i++) {
        state.clients[i] = rng_client_create(state.pool);
        state.own[i].max_bytes = data[i] % 64;
        rng_client_set_limit(state.clients[i], state.own[i].max_bytes, FUZZ_PERIODS);
    }
    state.total.max_bytes = data[FUZZ_CLIENTS] % 128;
    rng_pool_set_limit(state.pool, state.total.max_bytes, FUZZ_PERIODS);
    for (size_t i = FUZZ_CLIENTS + 1; i < size; i++)
        fuzz_step(data[i]);
    for (unsigned i = 0; i < FUZZ_CLIENTS; i++) {
        fuzz_cancel(i);
        rng_client_destroy(state.clients[i]);
    }
    rng_pool_destroy(state.pool);
    return 0;
}
