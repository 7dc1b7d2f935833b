/* SPDX-License-Identifier: Apache-2.0 */
/* See share.h. */
#include "contrib/vrngd/share.h"

#include <glib.h>

static bool share_is_limited(const struct rng_client *client)
{
    return client->pool->total.max_bytes > 0;
}

static bool share_is_active(const struct rng_client *client)
{
    const struct rng_limit *total = &client->pool->total;

    return client->active_ns != 0 && client->active_ns + total->period_ns >= total->begin_ns;
}

static uint64_t share_half_ns(const struct rng_limit *total)
{
    return total->begin_ns + total->period_ns / 2;
}

static uint64_t share_spent(const struct rng_client *client)
{
    return client->window_ns == client->pool->total.begin_ns ? client->spent : 0;
}

/* What an active client has a right to in each window. */
static uint64_t share_fair(const struct rng_pool *pool)
{
    uint64_t n_active = 0;

    for (const struct rng_client *client = pool->clients; client; client = client->next)
        n_active += share_is_active(client);
    return (pool->total.max_bytes - 1) / MAX(n_active, 1) + 1;
}

/* Of the limit over all. */
static uint64_t share_of_total(struct rng_client *client, uint64_t now_ns)
{
    struct rng_limit *total = &client->pool->total;
    uint64_t left = rng_limit_left(total, now_ns), spent, fair;

    if (!share_is_limited(client))
        return UINT64_MAX;
    if (now_ns >= share_half_ns(total))
        return left;
    spent = share_spent(client);
    fair = share_fair(client->pool);
    return spent < fair ? MIN(left, fair - spent) : 0;
}

void rng_share_touch_locked(struct rng_client *client, uint64_t now_ns)
{
    if (!share_is_limited(client))
        return;
    rng_limit_left(&client->pool->total, now_ns); /* begins the window */
    client->active_ns = client->pool->total.begin_ns;
}

uint64_t rng_share_allowed_locked(struct rng_client *client, uint64_t now_ns)
{
    uint64_t own = rng_limit_left(&client->limit, now_ns);
    uint64_t total = share_of_total(client, now_ns);

    return MIN(own, total);
}

void rng_share_spend_locked(struct rng_client *client, uint64_t size)
{
    client->spent = share_spent(client) + size;
    client->window_ns = client->pool->total.begin_ns;
    rng_limit_spend(&client->limit, size);
    rng_limit_spend(&client->pool->total, size);
}

uint64_t rng_share_until_ns_locked(struct rng_client *client, uint64_t now_ns)
{
    struct rng_limit *total = &client->pool->total;

    if (rng_limit_left(&client->limit, now_ns) == 0)
        return rng_limit_end_ns(&client->limit);
    if (rng_limit_left(total, now_ns) > 0)
        return share_half_ns(total);
    return rng_limit_end_ns(total);
}
