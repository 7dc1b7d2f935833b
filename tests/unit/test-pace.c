/* SPDX-License-Identifier: Apache-2.0 */
/* pace.h: after a slow request the next ones run on helpers, and after quick ones they do not. */
#include "virtiofsd/pace.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/unit/fs-fixture.h"
#include "vhost-user/cpu.h"

static struct fs_fixture fixture;
static unsigned sleep_us;   /* how long the handler takes */
static uint64_t spin_ns;    /* ... without sleeping */
static pthread_t ran_on;    /* set by the handler, read after the answer */
static unsigned n_answered; /* atomic */

static int test_handler(struct fs_request *request)
{
    uint64_t until_ns = vu_now_ns() + spin_ns;

    if (sleep_us > 0)
        usleep(sleep_us);
    while (vu_now_ns() < until_ns)
        ;
    ran_on = pthread_self();
    __atomic_fetch_add(&n_answered, 1, __ATOMIC_RELEASE);
    return -ENOENT;
}

/* Whether a request that takes us microseconds is handed on. */
static bool test_is_handed_on(unsigned us)
{
    const struct fs_operation operation = {.name = "TEST", .handler = test_handler};
    struct iovec iov[1];
    struct vu_elem elem = {.vring = &fixture.vring, .iov = iov};
    struct fs_request request = {.share = &fixture.share, .operation = &operation, .elem = &elem};
    unsigned before = __atomic_load_n(&n_answered, __ATOMIC_ACQUIRE);
    int result;

    sleep_us = us;
    result = fs_pace_run(&request);
    if (result != FS_LATER) {
        g_assert_cmpint(result, ==, -ENOENT);
        g_assert_true(pthread_equal(ran_on, pthread_self()));
        return false;
    }
    fs_fixture_wait(&elem);
    g_assert_cmpuint(__atomic_load_n(&n_answered, __ATOMIC_ACQUIRE), ==, before + 1);
    g_assert_false(pthread_equal(ran_on, pthread_self()));
    return true;
}

static void test_pace(void)
{
    unsigned n_handed_on = 0;

    g_assert_false(test_is_handed_on(FS_PACE_SLOW_NS / 1000 * 2)); /* might be the host */
    g_assert_false(test_is_handed_on(FS_PACE_SLOW_NS / 1000 * 2)); /* it was asked, and slept */
    g_assert_true(test_is_handed_on(FS_PACE_SLOW_NS / 1000 * 2));
    while (test_is_handed_on(0))
        g_assert_cmpuint(++n_handed_on, <, 10000); /* a busy machine makes quick ones slow */
    g_assert_cmpuint(n_handed_on, >=, FS_PACE_HOLD);
}

/* A request that is slow all by itself, as on a busy host, stays on the queue's thread. */
static void test_busy(void)
{
    unsigned n_handed_on = 0;

    while (test_is_handed_on(0))
        g_assert_cmpuint(++n_handed_on, <, 10000);
    spin_ns = FS_PACE_SLOW_NS * 2;
    n_handed_on = 0;
    for (unsigned i = 0; i < 20; i++)
        n_handed_on += test_is_handed_on(0);
    g_assert_cmpuint(n_handed_on, ==, 0);
    spin_ns = 0;
}

int main(int argc, char **argv)
{
    int status;

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pace/hand-on", test_pace);
    g_test_add_func("/pace/busy", test_busy);
    fs_fixture_init(&fixture);
    fs_fixture_open(&fixture);
    status = g_test_run();
    fs_fixture_finish(&fixture);
    return status;
}
