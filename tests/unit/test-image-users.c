/* SPDX-License-Identifier: Apache-2.0 */
/* Epochs: nobody who was inside when a stamp was taken is inside when it is told that all left. */
#include "vblkd/format/image-users.h"

#include <glib.h>
#include <pthread.h>

#include "vblkd/format/image.h"

#define TEST_THREADS 3
#define TEST_ROUNDS  20000

static void test_alone(void)
{
    struct vblk_users *users = vblk_users_create();
    uint64_t stamp = vblk_users_epoch(users);
    unsigned first, second;

    g_assert_true(vblk_users_have_left(users, stamp));
    /* Of whatever queue, and one beyond those that there are. */
    for (unsigned queue = 0; queue <= VBLK_MAX_QUEUES + 1; queue += 13) {
        first = vblk_users_enter(users, queue);
        stamp = vblk_users_epoch(users);
        g_assert_false(vblk_users_have_left(users, stamp));
        /* Who comes later does not matter, who was there does, however often one asks. */
        second = vblk_users_enter(users, queue);
        g_assert_false(vblk_users_have_left(users, stamp));
        g_assert_false(vblk_users_have_left(users, stamp));
        vblk_users_leave(users, queue, first);
        vblk_users_have_left(users, stamp);
        vblk_users_leave(users, queue, second);
        g_assert_true(vblk_users_have_left(users, stamp));
    }
    vblk_users_destroy(users);
}

/* Who enters after the epoch has ended is not waited for. */
static void test_newcomers(void)
{
    struct vblk_users *users = vblk_users_create();
    unsigned ticket = vblk_users_enter(users, 0), next;

    for (unsigned i = 0; i < 100; i++) {
        uint64_t stamp = vblk_users_epoch(users);

        g_assert_false(vblk_users_have_left(users, stamp));
        next = vblk_users_enter(users, 1);
        vblk_users_leave(users, 0, ticket);
        /* The newcomer may be of the last epoch that matters, or of the one after. */
        if (!vblk_users_have_left(users, stamp)) {
            unsigned third = vblk_users_enter(users, 0);

            vblk_users_leave(users, 1, next);
            g_assert_true(vblk_users_have_left(users, stamp));
            ticket = third;
            continue;
        }
        vblk_users_leave(users, 1, next);
        ticket = vblk_users_enter(users, 0);
    }
    vblk_users_leave(users, 0, ticket);
    vblk_users_destroy(users);
}

/* --- threads --- */

/* Something that users find, and that is taken away while some may still hold it. */
struct test_thing {
    uint32_t is_valid; /* atomic */
};

static struct {
    struct vblk_users *users;
    struct test_thing *current; /* atomic */
    bool is_over;               /* atomic */
} test_shared;

static void *test_user(void *opaque)
{
    unsigned queue = GPOINTER_TO_UINT(opaque);

    while (!__atomic_load_n(&test_shared.is_over, __ATOMIC_RELAXED)) {
        unsigned ticket = vblk_users_enter(test_shared.users, queue);
        struct test_thing *thing = __atomic_load_n(&test_shared.current, __ATOMIC_ACQUIRE);

        for (unsigned i = 0; i < 5; i++)
            g_assert_cmpuint(__atomic_load_n(&thing->is_valid, __ATOMIC_RELAXED), ==, 1);
        vblk_users_leave(test_shared.users, queue, ticket);
    }
    return NULL;
}

static void test_threads(void)
{
    struct test_thing things[2] = {{1}, {1}};
    pthread_t threads[TEST_THREADS];

    test_shared.users = vblk_users_create();
    test_shared.current = &things[0];
    for (unsigned i = 0; i < TEST_THREADS; i++)
        g_assert_cmpint(pthread_create(&threads[i], NULL, test_user, GUINT_TO_POINTER(i)), ==, 0);
    for (unsigned i = 0; i < TEST_ROUNDS; i++) {
        struct test_thing *old = &things[i % 2];
        uint64_t stamp;

        __atomic_store_n(&test_shared.current, &things[(i + 1) % 2], __ATOMIC_RELEASE);
        stamp = vblk_users_epoch(test_shared.users);
        while (!vblk_users_have_left(test_shared.users, stamp))
            sched_yield();
        __atomic_store_n(&old->is_valid, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&old->is_valid, 1, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&test_shared.is_over, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < TEST_THREADS; i++)
        pthread_join(threads[i], NULL);
    vblk_users_destroy(test_shared.users);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/image/users/alone", test_alone);
    g_test_add_func("/image/users/newcomers", test_newcomers);
    g_test_add_func("/image/users/threads", test_threads);
    return g_test_run();
}
