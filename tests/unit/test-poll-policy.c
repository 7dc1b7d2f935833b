/* SPDX-License-Identifier: Apache-2.0 */
/* poll-policy.h: played against made-up traffic; what counts is CPU time burnt and wake-ups saved.
 */
#include "vhost-user/poll-policy.h"

#include <glib.h>
#include <stdbool.h>

#define US      UINT64_C(1000)
#define CAP_NS  (32 * US)
#define WAKE_NS (8 * US) /* a wake-up's latency */
#define N_GAPS  100000

struct outcome {
    uint64_t n_won, n_lost, n_slept;
    uint64_t burnt_ns; /* in lost polls */
    uint64_t total_ns; /* of all gaps */
};

/* One gap: the next request comes after gap_ns, or when `contended`, only once we sleep. */
static void play(struct vu_poll_policy *policy, struct outcome *outcome, uint64_t gap_ns,
                 bool contended)
{
    uint64_t window_ns = vu_poll_policy_begin(policy, 0);

    g_assert_cmpuint(window_ns, <=, policy->cap_ns);
    if (window_ns > gap_ns && !contended) {
        vu_poll_policy_won(policy, gap_ns);
        outcome->n_won++;
        outcome->total_ns += gap_ns;
        return;
    }
    if (contended)
        gap_ns += window_ns;
    vu_poll_policy_slept(policy, window_ns, gap_ns + WAKE_NS);
    outcome->n_slept++;
    outcome->n_lost += window_ns > 0;
    outcome->burnt_ns += window_ns;
    outcome->total_ns += gap_ns + WAKE_NS;
}

static void test_off(void)
{
    struct vu_poll_policy policy;
    struct outcome outcome = {0};

    vu_poll_policy_init(&policy, 0);
    for (unsigned i = 0; i < 1000; i++)
        play(&policy, &outcome, i % 50, false);
    g_assert_cmpuint(outcome.n_slept, ==, 1000);
    g_assert_cmpuint(outcome.burnt_ns, ==, 0);
}

/* Steady gaps inside the cap: a few sleeps to learn, none afterwards. */
static void test_steady_near(void)
{
    static const uint64_t gaps_us[] = {0, 1, 5, 20, 30};

    for (unsigned g = 0; g < G_N_ELEMENTS(gaps_us); g++) {
        struct vu_poll_policy policy;
        struct outcome outcome = {0};

        vu_poll_policy_init(&policy, CAP_NS);
        for (unsigned i = 0; i < 1000; i++)
            play(&policy, &outcome, gaps_us[g] * US, false);
        g_assert_cmpuint(outcome.n_slept, <=, 2);
        g_assert_cmpuint(outcome.n_lost, ==, 0);
    }
}

/* Gaps far beyond the cap are never polled for. */
static void test_steady_far(void)
{
    struct vu_poll_policy policy;
    struct outcome outcome = {0};

    vu_poll_policy_init(&policy, CAP_NS);
    for (unsigned i = 0; i < 1000; i++)
        play(&policy, &outcome, 1000 * US, false);
    g_assert_cmpuint(outcome.burnt_ns, ==, 0);
}

/* Gaps that look short with the wake-up's latency unknown, and are not: trials must become rare. */
static void test_just_too_long(void)
{
    struct vu_poll_policy policy;
    struct outcome outcome = {0};

    vu_poll_policy_init(&policy, CAP_NS);
    for (unsigned i = 0; i < N_GAPS; i++)
        play(&policy, &outcome, 60 * US, false);
    g_assert_cmpuint(outcome.burnt_ns, <, outcome.total_ns / 1000);
}

/* The guest needs our CPU: every poll is lost, though every gap looks short. */
static void test_contended(void)
{
    struct vu_poll_policy policy;
    struct outcome outcome = {0};
    unsigned n = 0;

    vu_poll_policy_init(&policy, CAP_NS);
    for (unsigned i = 0; i < N_GAPS; i++)
        play(&policy, &outcome, 10 * US, true);
    g_assert_cmpuint(outcome.n_won, ==, 0);
    g_assert_cmpuint(outcome.burnt_ns, <, outcome.total_ns / 500);

    /* Once the guest has a CPU of its own again, polling comes back. */
    for (outcome.n_won = 0; outcome.n_won < 100; n++)
        play(&policy, &outcome, 10 * US, false);
    g_assert_cmpuint(n, <, 10000);
    g_assert_cmpuint(policy.patience, <=, 4096);
}

/* Bursts with pauses: nearly all of a burst is polled, a pause costs about one window. */
static void test_bursts(void)
{
    struct vu_poll_policy policy;
    struct outcome outcome = {0};

    vu_poll_policy_init(&policy, CAP_NS);
    for (unsigned burst = 0; burst < 100; burst++) {
        for (unsigned i = 0; i < 200; i++)
            play(&policy, &outcome, 4 * US, false);
        play(&policy, &outcome, 5000 * US, false);
    }
    g_assert_cmpuint(outcome.n_won, >, 100 * 200 * 95 / 100);
    g_assert_cmpuint(outcome.burnt_ns, <=, 100 * CAP_NS);
}

/* Whatever comes: CPU time burnt in vain never exceeds what polling earned, one loan a trial aside.
 */
static void test_random(void)
{
    for (unsigned round = 0; round < 200; round++) {
        struct vu_poll_policy policy;
        struct outcome outcome = {0};
        int spread_us = g_test_rand_int_range(2, 400);

        vu_poll_policy_init(&policy, CAP_NS);
        for (unsigned i = 0; i < 5000; i++)
            play(&policy, &outcome, (uint64_t)g_test_rand_int_range(0, spread_us) * US,
                 g_test_rand_int_range(0, 10) == 0);
        g_assert_cmpuint(outcome.burnt_ns, <=,
                         outcome.n_won * CAP_NS + (outcome.n_slept / 2 + 1) * CAP_NS);
    }
}

/* A poller that was preempted and found work only after an age has not won much. */
static void test_preempted(void)
{
    struct vu_poll_policy policy;

    vu_poll_policy_init(&policy, CAP_NS);
    while (policy.window_ns == 0)
        vu_poll_policy_slept(&policy, 0, 20 * US);
    vu_poll_policy_won(&policy, 5000 * US);
    g_assert_cmpuint(policy.window_ns, ==, 0);
    vu_poll_policy_won(&policy, US);
    g_assert_cmpuint(policy.window_ns, ==, 0);
}

/* A wait that holds up many requests is worth as many caps, up to a bound; one that holds up none
 * is worth no more than before. */
static void test_awaited(void)
{
    struct vu_poll_policy policy;
    unsigned n_won = 0;

    vu_poll_policy_init(&policy, CAP_NS);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t window_ns = vu_poll_policy_begin(&policy, 31);

        g_assert_cmpuint(window_ns, <=, 16 * CAP_NS);
        if (window_ns > 300 * US)
            vu_poll_policy_won(&policy, 300 * US);
        else
            vu_poll_policy_slept(&policy, window_ns, 300 * US + WAKE_NS);
        n_won += window_ns > 300 * US;
    }
    g_assert_cmpuint(n_won, >=, 998);
    g_assert_cmpuint(vu_poll_policy_begin(&policy, 1), <=, 2 * CAP_NS);
    g_assert_cmpuint(vu_poll_policy_begin(&policy, 0), <=, CAP_NS);

    vu_poll_policy_init(&policy, 0);
    for (unsigned i = 0; i < 100; i++) {
        g_assert_cmpuint(vu_poll_policy_begin(&policy, 31), ==, 0);
        vu_poll_policy_slept(&policy, 0, US);
    }
}

/* Of waits that take long half is slept; of short ones nothing. */
static void test_nap(void)
{
    struct vu_poll_policy policy;

    vu_poll_policy_init(&policy, CAP_NS);
    g_assert_cmpuint(vu_poll_policy_nap(&policy), ==, 0);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t window_ns = vu_poll_policy_begin(&policy, 31);

        if (window_ns > 400 * US)
            vu_poll_policy_won(&policy, 400 * US);
        else
            vu_poll_policy_slept(&policy, window_ns, 400 * US + WAKE_NS);
    }
    g_assert_cmpuint(vu_poll_policy_nap(&policy), >, 190 * US);
    g_assert_cmpuint(vu_poll_policy_nap(&policy), <=, 200 * US);
    for (unsigned i = 0; i < 50; i++) {
        vu_poll_policy_begin(&policy, 31);
        vu_poll_policy_won(&policy, 50 * US);
    }
    g_assert_cmpuint(vu_poll_policy_nap(&policy), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/poll-policy/off", test_off);
    g_test_add_func("/poll-policy/steady-near", test_steady_near);
    g_test_add_func("/poll-policy/steady-far", test_steady_far);
    g_test_add_func("/poll-policy/just-too-long", test_just_too_long);
    g_test_add_func("/poll-policy/contended", test_contended);
    g_test_add_func("/poll-policy/bursts", test_bursts);
    g_test_add_func("/poll-policy/random", test_random);
    g_test_add_func("/poll-policy/preempted", test_preempted);
    g_test_add_func("/poll-policy/awaited", test_awaited);
    g_test_add_func("/poll-policy/nap", test_nap);
    return g_test_run();
}
