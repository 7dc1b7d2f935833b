/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits, and who gets what: see pool.h. The list of clients is the order of turns: who was
 * served goes to its end.
 */
#include "contrib/vrngd/pool.h"

#include <glib.h>
#include <sys/eventfd.h>

#include "contrib/vrngd/share.h"
#include "vhost-user/cleanup.h"

#define POOL_BATCH 64 /* requests that are served by one look at the clock */

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
    bool is_limited = pool->total.max_bytes > 0 || pool->serving;

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

/* Bytes that have to be there for it: one even for who asks for none, which is over in its turn. */
static size_t client_wanted_by(const struct rng_request *request)
{
    return MAX(request->size, 1);
}

void rng_client_request(struct rng_client *client, struct rng_request *request)
{
    struct rng_pool *pool = client->pool;

    request->next = NULL;
    pthread_mutex_lock(&pool->lock);
    *client->last = request;
    client->last = &request->next;
    client->n_waiting++;
    client->waiting_size += client_wanted_by(request);
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
    client->waiting_size -= client_wanted_by(request);
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

size_t rng_client_take(struct rng_client *client, size_t size, uint64_t now_ns)
{
    struct rng_pool *pool = client->pool;

    if (!__atomic_load_n(&pool->is_limited, __ATOMIC_RELAXED))
        return size;
    VU_LOCK_SCOPE(&pool->lock);
    rng_share_touch_locked(client, now_ns);
    if (client->first || pool->serving == client)
        return 0;
    size = (size_t)MIN(size, rng_share_allowed_locked(client, now_ns));
    rng_share_spend_locked(client, size);
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

size_t rng_pool_wanted(struct rng_pool *pool, size_t max, uint64_t now_ns, uint64_t *ret_until_ns)
{
    size_t wanted = 0;

    VU_LOCK_SCOPE(&pool->lock);
    *ret_until_ns = UINT64_MAX;
    max = (size_t)MIN(max, rng_limit_left(&pool->total, now_ns));
    for (struct rng_client *client = pool->clients; client; client = client->next) {
        uint64_t allowed;

        if (!client->first)
            continue;
        rng_share_touch_locked(client, now_ns);
        allowed = rng_share_allowed_locked(client, now_ns);
        wanted += (size_t)MIN(client->waiting_size, MIN(max - wanted, allowed));
        if (allowed == 0)
            *ret_until_ns = MIN(*ret_until_ns, rng_share_until_ns_locked(client, now_ns));
    }
    return wanted;
}

/* The first in the order of turns that may have some; *ret_n: how many may. */
static struct rng_client *pool_next_locked(struct rng_pool *pool, uint64_t now_ns, unsigned *ret_n)
{
    struct rng_client *found = NULL;

    *ret_n = 0;
    for (struct rng_client *client = pool->clients; client; client = client->next)
        if (client->first)
            rng_share_touch_locked(client, now_ns);
    for (struct rng_client *client = pool->clients; client; client = client->next) {
        if (!client->first || rng_share_allowed_locked(client, now_ns) == 0)
            continue;
        found = found ? found : client;
        ++*ret_n;
    }
    return found;
}

/* Serves one request; *ret_size: how many bytes it got. False where none may have any. */
static bool pool_give_one(struct rng_pool *pool, const uint8_t *data, size_t size, uint64_t now_ns,
                          size_t *ret_size)
{
    struct rng_request *request;
    struct rng_client *client;
    unsigned n;

    pthread_mutex_lock(&pool->lock);
    client = pool_next_locked(pool, now_ns, &n);
    if (!client) {
        pthread_mutex_unlock(&pool->lock);
        return false;
    }
    request = client_remove_locked(client, &client->first);
    size = MIN((size - 1) / n + 1, request->size);
    size = (size_t)MIN(size, rng_share_allowed_locked(client, now_ns));
    rng_share_spend_locked(client, size);
    pool_remove_locked(pool, client);
    pool_append_locked(pool, client);
    pool->serving = client;
    pthread_mutex_unlock(&pool->lock);

    request->done(request, data, size);

    pthread_mutex_lock(&pool->lock);
    pool->serving = NULL;
    pool_update_limited_locked(pool);
    pthread_cond_broadcast(&pool->served);
    pthread_mutex_unlock(&pool->lock);
    *ret_size = size;
    return true;
}

size_t rng_pool_give(struct rng_pool *pool, const uint8_t *data, size_t size, uint64_t now_ns)
{
    size_t given = 0, n;

    /* Who asks for nothing, again and again, does not stop the clock for those whose limit waits
     * for it. */
    for (unsigned i = 0; i < POOL_BATCH && given < size; i++) {
        if (!pool_give_one(pool, data + given, size - given, now_ns, &n))
            break;
        given += n;
    }
    return given;
}
