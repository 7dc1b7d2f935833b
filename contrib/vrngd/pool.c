/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits, and who gets what: see pool.h. The list of clients is the order of turns: who was
 * served goes to its end.
 */
#include "contrib/vrngd/pool.h"

#include <glib.h>
#include <sys/eventfd.h>

#include "vhost-user/cleanup.h"

struct rng_client {
    struct rng_pool *pool;
    struct rng_client *next;
    struct rng_limit limit;
    struct rng_request *first, **last; /* that wait */
    unsigned n_waiting;
    uint64_t window_ns, spent; /* the last window of pool->total in which it got any; how much */
};

/* --- the pool --- */

struct rng_pool *rng_pool_create(void)
{
    struct rng_pool *pool = g_new0(struct rng_pool, 1);

    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->served, NULL);
    pool->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g_assert(pool->wake_fd >= 0);
    return pool;
}

void rng_pool_destroy(struct rng_pool *pool)
{
    g_assert(!pool->clients);
    vu_clear_fd(&pool->wake_fd);
    pthread_cond_destroy(&pool->served);
    pthread_mutex_destroy(&pool->lock);
    g_free(pool);
}

static void pool_wake(struct rng_pool *pool)
{
    (void)eventfd_write(pool->wake_fd, 1);
}

/* Whether an instant source must be asked about. */
static void pool_update_limited_locked(struct rng_pool *pool)
{
    bool is_limited = pool->total.max_bytes > 0;

    for (const struct rng_client *client = pool->clients; client; client = client->next)
        is_limited = is_limited || client->limit.max_bytes > 0 || client->first;
    __atomic_store_n(&pool->is_limited, is_limited, __ATOMIC_RELAXED);
}

static struct rng_client **pool_find_locked(struct rng_pool *pool, const struct rng_client *client)
{
    struct rng_client **link = &pool->clients;

    while (*link && *link != client)
        link = &(*link)->next;
    return link;
}

static void pool_append_locked(struct rng_pool *pool, struct rng_client *client)
{
    client->next = NULL;
    *pool_find_locked(pool, NULL) = client;
}

static void pool_remove_locked(struct rng_pool *pool, const struct rng_client *client)
{
    struct rng_client **link = pool_find_locked(pool, client);

    *link = client->next;
}

/* Until no `done` of this client runs. */
static void pool_wait_locked(struct rng_pool *pool, const struct rng_client *client)
{
    while (pool->serving == client)
        pthread_cond_wait(&pool->served, &pool->lock);
}

/* --- clients --- */

struct rng_client *rng_client_create(struct rng_pool *pool)
{
    struct rng_client *client = g_new0(struct rng_client, 1);

    client->pool = pool;
    client->last = &client->first;
    VU_LOCK_SCOPE(&pool->lock);
    pool_append_locked(pool, client);
    return client;
}

void rng_client_destroy(struct rng_client *client)
{
    struct rng_pool *pool = client->pool;

    pthread_mutex_lock(&pool->lock);
    g_assert(!client->first);
    pool_wait_locked(pool, client);
    pool_remove_locked(pool, client);
    pool_update_limited_locked(pool);
    pthread_mutex_unlock(&pool->lock);
    g_free(client);
}

void rng_client_request(struct rng_client *client, struct rng_request *request)
{
    struct rng_pool *pool = client->pool;

    request->next = NULL;
    pthread_mutex_lock(&pool->lock);
    *client->last = request;
    client->last = &request->next;
    client->n_waiting++;
    __atomic_store_n(&pool->is_limited, true, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&pool->lock);
    pool_wake(pool);
}

/* Takes the request at *link out. */
static struct rng_request *client_remove_locked(struct rng_client *client,
                                                struct rng_request **link)
{
    struct rng_request *request = *link;

    *link = request->next;
    if (!*link)
        client->last = link;
    client->n_waiting--;
    request->next = NULL;
    return request;
}

bool rng_client_cancel(struct rng_client *client, const struct rng_request *request)
{
    struct rng_request **link = &client->first;

    VU_LOCK_SCOPE(&client->pool->lock);
    pool_wait_locked(client->pool, client);
    while (*link && *link != request)
        link = &(*link)->next;
    if (!*link)
        return false;
    client_remove_locked(client, link);
    pool_update_limited_locked(client->pool);
    return true;
}

struct rng_request *rng_client_cancel_all(struct rng_client *client, const void *owner)
{
    struct rng_request **link = &client->first, *cancelled = NULL, *request;

    VU_LOCK_SCOPE(&client->pool->lock);
    pool_wait_locked(client->pool, client);
    while (*link) {
        if (owner && (*link)->owner != owner) {
            link = &(*link)->next;
            continue;
        }
        request = client_remove_locked(client, link);
        request->next = cancelled;
        cancelled = request;
    }
    pool_update_limited_locked(client->pool);
    return cancelled;
}

unsigned rng_client_n_waiting(struct rng_client *client)
{
    VU_LOCK_SCOPE(&client->pool->lock);
    return client->n_waiting;
}

/* --- limits --- */

static uint64_t client_left_locked(struct rng_client *client, uint64_t now_ns)
{
    uint64_t own = rng_limit_left(&client->limit, now_ns);
    uint64_t total = rng_limit_left(&client->pool->total, now_ns);

    return MIN(own, total);
}

/* What a client got in the present window of the limit over all. */
static uint64_t client_spent_locked(struct rng_client *client)
{
    const struct rng_limit *total = &client->pool->total;

    if (client->window_ns != total->begin_ns)
        client->spent = 0;
    client->window_ns = total->begin_ns;
    return client->spent;
}

static void client_spend_locked(struct rng_client *client, size_t size)
{
    client->spent = client_spent_locked(client) + size;
    rng_limit_spend(&client->limit, size);
    rng_limit_spend(&client->pool->total, size);
}

size_t rng_client_take(struct rng_client *client, size_t size, uint64_t now_ns)
{
    struct rng_pool *pool = client->pool;

    if (!__atomic_load_n(&pool->is_limited, __ATOMIC_RELAXED))
        return size;
    VU_LOCK_SCOPE(&pool->lock);
    for (const struct rng_client *other = pool->clients; other; other = other->next)
        if (other->first && (other == client || pool->total.max_bytes > 0))
            return 0;
    size = (size_t)MIN(size, client_left_locked(client, now_ns));
    client_spend_locked(client, size);
    return size;
}

void rng_client_set_limit(struct rng_client *client, uint64_t max_bytes, uint64_t period_ms)
{
    pthread_mutex_lock(&client->pool->lock);
    rng_limit_set(&client->limit, max_bytes, period_ms);
    pool_update_limited_locked(client->pool);
    pthread_mutex_unlock(&client->pool->lock);
    pool_wake(client->pool);
}

void rng_client_get_limit(struct rng_client *client, struct rng_limit *ret_limit)
{
    VU_LOCK_SCOPE(&client->pool->lock);
    *ret_limit = client->limit;
}

void rng_pool_set_limit(struct rng_pool *pool, uint64_t max_bytes, uint64_t period_ms)
{
    pthread_mutex_lock(&pool->lock);
    rng_limit_set(&pool->total, max_bytes, period_ms);
    pool_update_limited_locked(pool);
    pthread_mutex_unlock(&pool->lock);
    pool_wake(pool);
}

void rng_pool_get_limit(struct rng_pool *pool, struct rng_limit *ret_limit)
{
    VU_LOCK_SCOPE(&pool->lock);
    *ret_limit = pool->total;
}

/* --- the feeder --- */

/* What the requests of a client come to, as far as its own limit allows; no more than max. */
static size_t client_wanted_locked(struct rng_client *client, size_t max, uint64_t now_ns)
{
    size_t wanted = 0;

    max = (size_t)MIN(max, rng_limit_left(&client->limit, now_ns));
    for (const struct rng_request *request = client->first; request && wanted < max;
         request = request->next)
        wanted += MIN(MAX(request->size, 1), max - wanted);
    return wanted;
}

size_t rng_pool_wanted(struct rng_pool *pool, size_t max, uint64_t now_ns, uint64_t *ret_until_ns)
{
    size_t wanted = 0;
    bool any = false;

    VU_LOCK_SCOPE(&pool->lock);
    *ret_until_ns = UINT64_MAX;
    max = (size_t)MIN(max, rng_limit_left(&pool->total, now_ns));
    for (struct rng_client *client = pool->clients; client; client = client->next) {
        any = any || client->first;
        wanted += client_wanted_locked(client, max - wanted, now_ns);
        if (client->first && rng_limit_left(&client->limit, now_ns) == 0)
            *ret_until_ns = MIN(*ret_until_ns, rng_limit_end_ns(&client->limit));
    }
    if (any && rng_limit_left(&pool->total, now_ns) == 0)
        *ret_until_ns = rng_limit_end_ns(&pool->total);
    return wanted;
}

/* Whose turn it is, what it may have of all limits, and how many wait for theirs. */
struct pool_turn {
    struct rng_client *client; /* NULL: nobody's */
    uint64_t allowed;
    unsigned n_waiting;
};

/*
 * What is left for all goes to those that wait in such a way that each will have got as much as the
 * others in this window: many requests, or being there first, give no right to more.
 */
static struct pool_turn pool_next_locked(struct rng_pool *pool, uint64_t now_ns)
{
    uint64_t left = rng_limit_left(&pool->total, now_ns), sum = left, share;
    struct pool_turn turn = {0};

    for (struct rng_client *client = pool->clients; client; client = client->next)
        if (client->first && client_left_locked(client, now_ns) > 0) {
            turn.n_waiting++;
            sum += pool->total.max_bytes > 0 ? client_spent_locked(client) : 0;
        }
    share = turn.n_waiting > 0 ? (sum - 1) / turn.n_waiting + 1 : 0;
    for (struct rng_client *client = pool->clients; client && !turn.client; client = client->next) {
        uint64_t spent = pool->total.max_bytes > 0 ? client_spent_locked(client) : 0;

        if (!client->first || client_left_locked(client, now_ns) == 0 || spent >= share)
            continue;
        turn.client = client;
        turn.allowed = MIN(client_left_locked(client, now_ns), share - spent);
    }
    return turn;
}

/* Serves one request; *ret_size: how many bytes it got. False where none may have any. */
static bool pool_give_one(struct rng_pool *pool, const uint8_t *data, size_t size, uint64_t now_ns,
                          size_t *ret_size)
{
    struct rng_request *request;
    struct rng_client *client;
    struct pool_turn turn;

    pthread_mutex_lock(&pool->lock);
    turn = pool_next_locked(pool, now_ns);
    client = turn.client;
    if (!client) {
        pthread_mutex_unlock(&pool->lock);
        return false;
    }
    request = client_remove_locked(client, &client->first);
    size = MIN((size - 1) / turn.n_waiting + 1, request->size);
    size = (size_t)MIN(size, turn.allowed);
    client_spend_locked(client, size);
    pool_remove_locked(pool, client);
    pool_append_locked(pool, client);
    pool_update_limited_locked(pool);
    pool->serving = client;
    pthread_mutex_unlock(&pool->lock);

    request->done(request, data, size);

    pthread_mutex_lock(&pool->lock);
    pool->serving = NULL;
    pthread_cond_broadcast(&pool->served);
    pthread_mutex_unlock(&pool->lock);
    *ret_size = size;
    return true;
}

size_t rng_pool_give(struct rng_pool *pool, const uint8_t *data, size_t size, uint64_t now_ns)
{
    size_t given = 0, n;

    while (given < size && pool_give_one(pool, data + given, size - given, now_ns, &n))
        given += n;
    return given;
}
