/* SPDX-License-Identifier: Apache-2.0 */
/* See echo-client.h. */
#include "echo-client.h"

#include <string.h>

#define ALL_PROTOCOL UINT64_MAX
#define SPLIT_ALL    (VU_BIT(VU_F_RING_INDIRECT_DESC) | VU_BIT(VU_F_RING_EVENT_IDX))
#define PACKED       VU_BIT(VU_F_RING_PACKED)

const struct echo_variant echo_split = {0, ALL_PROTOCOL, false};
const struct echo_variant echo_split_all = {SPLIT_ALL, ALL_PROTOCOL, false};
const struct echo_variant echo_packed = {PACKED, ALL_PROTOCOL, false};
const struct echo_variant echo_packed_all = {PACKED | SPLIT_ALL, ALL_PROTOCOL, false};
const struct echo_variant echo_table_only = {0, VU_BIT(VU_PF_REPLY_ACK), false};
const struct echo_variant echo_inband = {0, ALL_PROTOCOL, true};

static void echo_client_config_changed(void *opaque)
{
    ((struct echo_client *)opaque)->n_config_changes++;
}

void echo_client_init(struct echo_client *client, const struct echo_variant *variant)
{
    struct vu_frontend_config config = {
        .name = "client",
        .features = variant->features | VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_LOG_ALL),
        .required_features = VU_BIT(VU_F_VERSION_1),
        .protocol_features = variant->protocol,
        .ops = {.config_changed = echo_client_config_changed},
        .opaque = client,
    };
    struct vu_driver_config queue = {
        .index = 1, .num = ECHO_DEPTH, .features = variant->features, .indirect_max = 4};

    memset(client, 0, sizeof(*client));
    vu_shmem_init(&client->shmem);
    g_assert_cmpint(vu_shmem_add(&client->shmem, ECHO_GPA, ECHO_LEN), ==, 0);
    g_assert_cmpint(vu_shmem_add(&client->shmem, ECHO_GPA + ECHO_LEN, ECHO_LEN), ==, 0);
    g_assert_cmpint(vu_driver_create(&client->shmem, &queue, &client->driver), ==, 0);
    client->frontend = vu_frontend_create(&config);
}

void echo_client_clear(struct echo_client *client)
{
    vu_frontend_destroy(client->frontend);
    vu_driver_destroy(client->driver);
    vu_shmem_clear(&client->shmem);
}

void echo_client_start(struct echo_client *client, struct echo_session *echo)
{
    uint64_t features;

    g_assert_cmpint(vu_frontend_attach(client->frontend, echo_connect(echo)), ==, 0);
    features = vu_frontend_features(client->frontend) & ~VU_BIT(VU_F_LOG_ALL);
    g_assert_cmpint(vu_frontend_set_features(client->frontend, features), ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(client->frontend, &client->shmem), ==, 0);
    g_assert_cmpint(vu_frontend_start_driver(client->frontend, client->driver), ==, 0);
}

/* Adds a request whose text and answer both straddle the two regions. */
void echo_client_add(struct echo_client *client, unsigned i)
{
    const uint64_t border = ECHO_GPA + ECHO_LEN;
    const struct vu_sg sg[] = {{border - 0x8000, 8}, {border - 4, 8}, {ECHO_ANSWER_GPA, 16}};

    memcpy(vu_shmem_at(&client->shmem, border - 0x8000, 8), "request ", 8);
    memcpy(vu_shmem_at(&client->shmem, border - 4, 4), "abcd", 4);
    memcpy(vu_shmem_at(&client->shmem, border, 4), "efgh", 4);
    g_assert_cmpint(vu_driver_add(client->driver, sg, 2, 1, GUINT_TO_POINTER(i + 1)), ==, 0);
}

/* Waits for n completions and checks them. */
void echo_client_harvest(struct echo_client *client, unsigned n)
{
    gint64 deadline = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;

    while (n > 0) {
        struct vu_driver_used used[ECHO_DEPTH];
        int got = vu_driver_harvest(client->driver, used, ECHO_DEPTH);

        g_assert_cmpint(got, >=, 0);
        for (int i = 0; i < got; i++)
            g_assert_cmpuint(used[i].len, ==, 16);
        n -= (unsigned)got;
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        vu_frontend_dispatch(client->frontend); /* in-band calls wait to be acknowledged */
        if (got == 0)
            g_usleep(200);
    }
    g_assert_cmpint(
        memcmp(vu_shmem_at(&client->shmem, ECHO_ANSWER_GPA, 16), "request abcdefgh", 16), ==, 0);
}

void echo_client_kick(struct echo_client *client)
{
    if (vu_driver_publish(client->driver)) {
        if (vu_has(vu_frontend_protocol_features(client->frontend), VU_PF_INBAND_NOTIFICATIONS))
            g_assert_cmpint(vu_frontend_kick(client->frontend, 1), ==, 0);
        else
            vu_driver_kick(client->driver);
    }
    vu_driver_force_kick(client->driver);
}

void echo_client_run(struct echo_client *client, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        for (unsigned k = 0; k < 4; k++)
            echo_client_add(client, i * 4 + k);
        echo_client_kick(client);
        echo_client_harvest(client, 4);
    }
}

struct vu_vring_addr echo_client_addr(const struct echo_client *client)
{
    return (struct vu_vring_addr){
        .index = ECHO_QUEUE,
        .desc_uva = (uintptr_t)client->driver->desc,
        .avail_uva = (uintptr_t)client->driver->avail,
        .used_uva = (uintptr_t)client->driver->used,
    };
}
