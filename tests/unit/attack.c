/* SPDX-License-Identifier: Apache-2.0 */
/* See attack.h. */
#include "attack.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/open-fds.h"

static void attack_connect(struct attack *attack, bool negotiate)
{
    vu_channel_init(&attack->channel, echo_connect(&attack->echo));
    if (negotiate)
        echo_negotiate(&attack->channel, 0);
}

void attack_begin(struct attack *attack, bool negotiate)
{
    attack->n_fds_before = count_open_fds();
    attack->memory_fd = memfd_create("memory", MFD_CLOEXEC);
    attack->event_fd = eventfd(0, EFD_CLOEXEC);
    g_assert_cmpint(ftruncate(attack->memory_fd, (off_t)ATTACK_SIZE), ==, 0);
    echo_init(&attack->echo, true);
    attack_connect(attack, negotiate);
}

static void attack_disconnect(struct attack *attack)
{
    vu_channel_close(&attack->channel);
    if (attack->echo.running)
        echo_join(&attack->echo);
}

void attack_reconnect(struct attack *attack, bool negotiate)
{
    attack_disconnect(attack);
    attack_connect(attack, negotiate);
}

static void attack_serve_good(struct attack *attack)
{
    struct echo_client client;

    echo_client_init(&client, &echo_split);
    echo_client_start(&client, &attack->echo);
    echo_client_run(&client, 2);
    echo_client_clear(&client);
    g_assert_cmpint(echo_join(&attack->echo), ==, 0);
}

void attack_end(struct attack *attack)
{
    attack_disconnect(attack);
    attack_serve_good(attack);
    echo_clear(&attack->echo);
    close(attack->memory_fd);
    close(attack->event_fd);
    g_assert_cmpuint(count_open_fds(), ==, attack->n_fds_before);
}

bool attack_is_alive(struct attack *attack)
{
    struct vu_message reply;

    return echo_get(&attack->channel, VU_GET_FEATURES, NULL, 0, &reply);
}

void attack_expect_closed(struct attack *attack, uint32_t request, const void *payload,
                          uint32_t size, const int *fds, unsigned n_fds, bool negotiate)
{
    struct vu_message reply;

    echo_send(&attack->channel, request, VU_VERSION, payload, size, fds, n_fds);
    g_assert_cmpint(vu_channel_recv(&attack->channel, &reply, 10000), ==, -ECONNRESET);
    g_assert_cmpint(echo_join(&attack->echo), ==, -EPROTO);
    vu_channel_close(&attack->channel);
    attack_connect(attack, negotiate);
}

void attack_expect_refused(struct attack *attack, uint32_t request, const void *payload,
                           uint32_t size, const int *fds, unsigned n_fds)
{
    uint64_t answer = echo_ask(&attack->channel, request, payload, size, fds, n_fds);

    g_assert_cmpuint(answer, !=, 0);
    g_assert_cmpuint(answer, !=, UINT64_MAX);
    g_assert_true(attack_is_alive(attack));
    attack_expect_closed(attack, request, payload, size, fds, n_fds, true);
}
