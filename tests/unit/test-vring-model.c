/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver and a device on one thread, taking random steps: requests of random shapes, batches of
 * random sizes, completed in any order, with every combination of features and odd ring sizes; the
 * ring stopped and started, killed and recovered, moved to another map of memory. What each side
 * sends and receives is checked, and that nobody who went to sleep is left asleep.
 */
#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <unistd.h>

#include "ring-pair.h"

#define MODEL_STEPS 4000
#define MAX_HELD    256

struct model {
    struct ring_pair pair;
    struct vu_inflight *inflight;
    struct ring_pair_rand rand;
    struct vu_elem *held[MAX_HELD]; /* popped, not pushed yet */
    unsigned n_held;
    bool driver_sleeps, device_sleeps;
};

static bool is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, 0) == 1;
}

/* --- steps --- */

static void step_add(struct model *model)
{
    unsigned n = 1 + ring_pair_rand(&model->rand, 5);

    while (n-- > 0 && ring_pair_add(&model->pair))
        ;
    if (ring_pair_rand(&model->rand, 8) == 0)
        return; /* stays unpublished for now */
    vu_driver_kick(model->pair.driver);
}

static void step_pop(struct model *model)
{
    unsigned max = 1 + ring_pair_rand(&model->rand, 9);

    max = MIN(max, MAX_HELD - model->n_held);
    model->n_held += vu_vring_pop(&model->pair.vring, model->held + model->n_held, max);
}

static void step_push(struct model *model)
{
    struct vu_elem *batch[9];
    unsigned n = 1 + ring_pair_rand(&model->rand, G_N_ELEMENTS(batch)), at;

    n = MIN(n, model->n_held);
    for (unsigned i = 0; i < n; i++) {
        at = ring_pair_rand(&model->rand, model->n_held);
        batch[i] = model->held[at];
        model->held[at] = model->held[--model->n_held];
        ring_pair_serve(batch[i]);
    }
    vu_vring_push(&model->pair.vring, batch, n);
}

static void push_all(struct model *model)
{
    while (model->n_held > 0)
        step_push(model);
}

static void step_sleep(struct model *model)
{
    uint64_t count;

    if (ring_pair_rand(&model->rand, 2) == 0) {
        vu_driver_disarm_call(model->pair.driver);
        ring_pair_harvest(&model->pair);
        vu_driver_clear_call(model->pair.driver);
        model->driver_sleeps = !vu_driver_arm_call(model->pair.driver);
    } else if (!model->device_sleeps) {
        vu_vring_disarm_kick(&model->pair.vring);
        if (read(model->pair.driver->kick_fd, &count, sizeof(count)) < 0)
            g_assert_cmpint(errno, ==, EAGAIN);
        model->device_sleeps = !vu_vring_arm_kick(&model->pair.vring);
    }
}

static void step_stop(struct model *model)
{
    uint32_t base;

    push_all(model);
    g_assert_cmpint(vu_vring_stop(&model->pair.vring, NULL, &base), ==, 0);
    model->pair.vring.base = base;
    ring_pair_start(&model->pair);
    model->device_sleeps = false;
}

/* The back-end dies with all that it holds, and its successor has only the log. */
static void step_kill(struct model *model)
{
    bool give_up = true;

    if (model->inflight == NULL)
        return;
    vu_vring_stop(&model->pair.vring, &give_up, NULL);
    vu_vring_push(&model->pair.vring, model->held, model->n_held);
    model->n_held = 0;
    model->pair.vring.base = model->pair.driver->packed ? 0x8000 : 0xdead; /* long out of date */
    ring_pair_start(&model->pair);
    model->device_sleeps = false;
}

/* The same regions in another map. */
static void step_move(struct model *model)
{
    const struct vu_shmem *shmem = &model->pair.shmem;
    struct vu_region_desc descs[2] = {vu_shmem_describe(&shmem->regions[0]),
                                      vu_shmem_describe(&shmem->regions[1])};
    const int fds[2] = {shmem->regions[0].fd, shmem->regions[1].fd};
    struct vu_memory *memory;

    g_assert_cmpint(vu_memory_create(descs, fds, 2, &memory), ==, 0);
    g_assert_cmpint(vu_vring_set_memory(&model->pair.vring, memory), ==, 0);
    vu_memory_unref(model->pair.memory);
    model->pair.memory = memory;
}

static void check_sleepers(struct model *model)
{
    if (model->driver_sleeps && vu_driver_has_used(model->pair.driver)) {
        g_assert_true(is_readable(model->pair.driver->call_fd));
        model->driver_sleeps = false;
    }
    if (model->device_sleeps && vu_vring_has_work(&model->pair.vring)) {
        g_assert_true(is_readable(model->pair.driver->kick_fd));
        model->device_sleeps = false;
    }
}

static void take_step(struct model *model)
{
    static void (*const usual[])(struct model *) = {step_add, step_add, step_pop, step_push,
                                                    step_sleep};
    static void (*const rare[])(struct model *) = {step_stop, step_kill, step_move};

    if (ring_pair_rand(&model->rand, 100) < 3)
        rare[ring_pair_rand(&model->rand, G_N_ELEMENTS(rare))](model);
    else
        usual[ring_pair_rand(&model->rand, G_N_ELEMENTS(usual))](model);
    if (ring_pair_rand(&model->rand, 4) == 0 && !model->driver_sleeps)
        ring_pair_harvest(&model->pair);
    check_sleepers(model);
}

static void run_model(unsigned num, uint64_t features, bool with_log, uint32_t seed)
{
    g_autofree struct model *model = g_new0(struct model, 1);
    struct vu_inflight_desc desc;
    unsigned n;
    int fd;

    ring_pair_init(&model->pair, num, features, seed);
    model->rand.state = seed + 1;
    if (with_log) {
        g_assert_cmpint(vu_inflight_create(1, num, vu_has(features, VU_F_RING_PACKED),
                                           &model->inflight, &desc, &fd),
                        ==, 0);
        close(fd);
        g_assert_cmpint(vu_vring_stop(&model->pair.vring, NULL, NULL), ==, 0);
        model->pair.vring.inflight = model->inflight;
        ring_pair_start(&model->pair);
    }
    for (unsigned i = 0; i < MODEL_STEPS; i++)
        take_step(model);
    vu_driver_kick(model->pair.driver);
    do {
        n = model->n_held;
        step_pop(model);
        push_all(model);
        ring_pair_harvest(&model->pair);
    } while (n > 0 || vu_vring_has_work(&model->pair.vring));
    g_assert_cmpuint(model->pair.n_harvested, ==, model->pair.n_added);
    g_assert_cmpuint(model->pair.n_added, >, MODEL_STEPS / 50);
    ring_pair_clear(&model->pair);
    vu_inflight_destroy(model->inflight);
}

static void test_model(gconstpointer data)
{
    static const unsigned split_nums[] = {1, 2, 8, 64};
    static const unsigned packed_nums[] = {1, 2, 7, 64};
    static const unsigned bits[] = {VU_F_RING_INDIRECT_DESC, VU_F_RING_EVENT_IDX, VU_F_IN_ORDER};
    bool packed = data != NULL;

    for (unsigned combination = 0; combination < 16; combination++) {
        uint64_t features = packed ? VU_BIT(VU_F_RING_PACKED) : 0;

        for (unsigned i = 0; i < G_N_ELEMENTS(bits); i++)
            features |= (combination >> i & 1) != 0 ? VU_BIT(bits[i]) : 0;
        for (unsigned i = 0; i < G_N_ELEMENTS(split_nums); i++)
            run_model(packed ? packed_nums[i] : split_nums[i], features, (combination & 8) != 0,
                      (uint32_t)g_test_rand_int());
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/vring-model/split", NULL, test_model);
    g_test_add_data_func("/vring-model/packed", "packed", test_model);
    return g_test_run();
}
