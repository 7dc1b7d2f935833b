/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A back-end that is killed at any instruction: a child works on a ring, is single-stepped, and
 * whenever an instruction has changed the ring or the inflight log, a successor takes over a copy
 * of both as they are. It must find exactly what the driver has not got back, oldest first. The
 * same for a successor that is killed while it takes over.
 */
#include <errno.h>
#include <glib.h>
#include <sched.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring-guest.h"

#define NUM       8
#define N_REQUEST 4 /* of two descriptors each: all of a packed ring */
#define RING_LEN  0x4000
#define SKIP      77

#ifndef __has_feature
#define __has_feature(x) 0
#endif

/* Instrumented code takes many times as many steps; and one thread is nothing to the thread
 * sanitizer. */
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define IS_TOO_SLOW true
#else
#define IS_TOO_SLOW false
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define NESTED_STRIDE 0
#else
#define NESTED_STRIDE 9
#endif

/* A guest with the inflight file of its only queue. */
struct rig {
    struct ring_guest guest;
    struct vu_inflight *inflight;
    int inflight_fd;
};

struct scenario {
    uint64_t features;
    void (*device)(struct vu_vring *vring);
    const struct rig *from; /* the child works on this */
    uint32_t base;
    unsigned n_states, n_nested;
    bool nested; /* the child is itself a successor */
};

static struct rig twin, second; /* where successors try their luck */

static void rig_init(struct rig *rig, uint64_t features)
{
    struct vu_inflight_desc desc;

    ring_guest_init(&rig->guest, NUM, features);
    g_assert_cmpint(
        vu_inflight_create(1, NUM, rig->guest.packed, &rig->inflight, &desc, &rig->inflight_fd), ==,
        0);
    rig->guest.vring.inflight = rig->inflight;
}

static void rig_clear(struct rig *rig)
{
    ring_guest_clear(&rig->guest);
    vu_inflight_destroy(rig->inflight);
    close(rig->inflight_fd);
}

static uint8_t *rig_ring(const struct rig *rig)
{
    return ring_guest_at(&rig->guest, RING_GUEST_GPA, RING_LEN);
}

/* The driver's state, the ring and the log of another rig; its vring stays as it is. */
static void rig_copy(struct rig *to, const struct rig *from)
{
    memcpy(rig_ring(to), rig_ring(from), RING_LEN);
    memcpy(to->inflight->addr, from->inflight->addr, to->inflight->map_len);
    to->guest.avail_idx = from->guest.avail_idx;
    to->guest.used_idx = from->guest.used_idx;
    to->guest.avail_wrap = from->guest.avail_wrap;
    to->guest.used_wrap = from->guest.used_wrap;
    memcpy(to->guest.n_descs, from->guest.n_descs, sizeof(to->guest.n_descs));
}

static bool rig_equal(const struct rig *a, const struct rig *b)
{
    return memcmp(rig_ring(a), rig_ring(b), RING_LEN) == 0 &&
           memcmp(a->inflight->addr, b->inflight->addr, a->inflight->map_len) == 0;
}

/* --- what the killed one did --- */

static void push(struct vu_vring *vring, struct vu_elem **elems, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        elems[i]->written = elems[i]->id + 1u;
    vu_vring_push(vring, elems, n);
}

static void device_mixed(struct vu_vring *vring)
{
    struct vu_elem *elems[N_REQUEST];

    vu_vring_pop(vring, elems, 3);
    push(vring, elems + 2, 1);
    vu_vring_arm_kick(vring);
    vu_vring_pop(vring, elems + 2, 1);
    push(vring, elems + 1, 1);
    elems[1] = elems[2];
    push(vring, elems, 2);
}

static void device_one_batch(struct vu_vring *vring)
{
    struct vu_elem *elems[N_REQUEST];

    push(vring, elems, vu_vring_pop(vring, elems, N_REQUEST));
}

static void device_nothing(struct vu_vring *vring)
{
}

/* --- what the successor must find --- */

/* Offers the requests that came back once more; true where there were any. */
static bool offer_again(struct rig *rig, const bool *used)
{
    bool any = false;

    for (uint16_t i = 0; i < N_REQUEST; i++) {
        if (used[i])
            ring_guest_add_simple(&rig->guest, (uint16_t)(2 * i), 16);
        any = any || used[i];
    }
    return any;
}

static void harvest(struct rig *rig, bool *used)
{
    uint16_t id;
    uint32_t len;

    while (ring_guest_take_used(&rig->guest, &id, &len)) {
        g_assert_cmpuint(id % 2, ==, 0);
        g_assert_cmpuint(id / 2, <, N_REQUEST);
        g_assert_false(used[id / 2]);
        g_assert_cmpuint(len, ==, id + 1u);
        used[id / 2] = true;
    }
}

/* Takes over rig; again: the driver has used the entries it got back for new requests already. */
static void take_over(struct rig *rig, uint32_t base, bool again, unsigned batch)
{
    struct vu_vring *vring = &rig->guest.vring;
    bool before[N_REQUEST] = {false}, after[N_REQUEST] = {false};
    struct vu_elem *elems[N_REQUEST];
    unsigned n, at = 0;

    harvest(rig, before);
    if (again)
        offer_again(rig, before);
    vring->base = base;
    g_assert_cmpint(vu_vring_start(vring, rig->guest.memory, NULL), ==, 0);
    n = vu_vring_pop(vring, elems, N_REQUEST);
    for (unsigned pass = 0; pass < (again ? 2 : 1); pass++) {
        for (unsigned i = 0; i < N_REQUEST; i++) {
            if (before[i] != (pass == 1))
                continue;
            g_assert_cmpuint(at, <, n);
            g_assert_cmpuint(elems[at]->id, ==, 2 * i);
            g_assert_cmpuint(elems[at]->n_out, ==, 1);
            g_assert_cmpuint(elems[at]->in_len, ==, 16);
            at++;
        }
    }
    g_assert_cmpuint(at, ==, n);
    g_assert_false(vu_vring_has_work(vring));
    for (unsigned i = 0; i < n; i += batch) {
        unsigned n_back = 0;

        push(vring, elems + i, MIN(batch, n - i));
        harvest(rig, after);
        for (unsigned j = 0; j < N_REQUEST; j++)
            n_back += after[j];
        g_assert_cmpuint(n_back, ==, MIN(i + batch, n)); /* those that were pushed, no more */
    }
    for (unsigned i = 0; i < N_REQUEST; i++)
        g_assert_cmpint(after[i], ==, again || !before[i]);
    g_assert_cmpint(vu_vring_stop(vring, NULL, NULL), ==, 0);
}

/* --- stepping --- */

static void run_scenario(struct scenario *scenario);

static bool is_nesting(const struct scenario *scenario)
{
    if (scenario->nested)
        return false;
    return g_test_slow() || (NESTED_STRIDE > 0 && scenario->n_states % MAX(NESTED_STRIDE, 1) == 0);
}

/* A state in which the child may have been killed. */
static void check_state(struct scenario *scenario, const struct rig *state)
{
    for (unsigned variant = 0; variant < 4; variant++) {
        rig_copy(&twin, state);
        take_over(&twin, scenario->base, variant & 1, variant & 2 ? N_REQUEST : 1);
    }
    if (is_nesting(scenario)) {
        struct scenario nested = *scenario;

        rig_copy(&second, state);
        nested.nested = true;
        nested.from = &second;
        nested.device = device_nothing;
        nested.n_states = 0;
        run_scenario(&nested);
        scenario->n_nested += nested.n_states;
    }
    scenario->n_states++;
}

static void child_run(const struct scenario *scenario)
{
    struct vu_vring vring;

    ring_guest_init_vring(&scenario->from->guest, &vring, scenario->base);
    vring.inflight = scenario->from->inflight;
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        _exit(SKIP);
    raise(SIGSTOP);
    if (vu_vring_start(&vring, scenario->from->guest.memory, NULL) < 0)
        _exit(1);
    scenario->device(&vring);
    _exit(0);
}

/* Steps a child through the scenario and looks at every state it goes through. */
static void run_scenario(struct scenario *scenario)
{
    struct rig last;
    pid_t pid;
    int status;

    rig_init(&last, scenario->features);
    rig_copy(&last, scenario->from);
    pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0)
        child_run(scenario);
    while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
        g_assert_true(WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSTOP);
        if (!rig_equal(&last, scenario->from)) {
            rig_copy(&last, scenario->from);
            check_state(scenario, &last);
        }
        g_assert_cmpint(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), ==, 0);
    }
    rig_clear(&last);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIP)
        g_test_skip("no ptrace here");
    else
        g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void run_kind(uint64_t features, void (*device)(struct vu_vring *vring))
{
    struct rig rig;

    if (IS_TOO_SLOW) {
        g_test_skip("too slow with the thread sanitizer");
        return;
    }
    rig_init(&twin, features);
    rig_init(&second, features);
    /* How many requests went before: where in the ring all this happens. */
    for (unsigned n_warm_up = 0; n_warm_up < 4; n_warm_up += 3) {
        struct scenario scenario = {.features = features, .device = device, .from = &rig};
        bool used[N_REQUEST] = {false};

        rig_init(&rig, features);
        scenario.base = ring_guest_first_base(&rig.guest);
        ring_guest_start(&rig.guest);
        for (uint16_t i = 0; i < n_warm_up; i++)
            ring_guest_add_simple(&rig.guest, (uint16_t)(2 * i), 16);
        device_one_batch(&rig.guest.vring);
        harvest(&rig, used);
        g_assert_cmpint(vu_vring_stop(&rig.guest.vring, NULL, NULL), ==, 0);
        for (uint16_t i = 0; i < N_REQUEST; i++)
            ring_guest_add_simple(&rig.guest, (uint16_t)(2 * i), 16);
        run_scenario(&scenario);
        g_test_message("%u states, %u of successors", scenario.n_states, scenario.n_nested);
        rig_clear(&rig);
    }
    rig_clear(&twin);
    rig_clear(&second);
}

static void test_mixed(gconstpointer features)
{
    run_kind(GPOINTER_TO_SIZE(features), device_mixed);
}

static void test_one_batch(gconstpointer features)
{
    run_kind(GPOINTER_TO_SIZE(features), device_one_batch);
}

int main(int argc, char **argv)
{
    cpu_set_t one;

    g_test_init(&argc, &argv, NULL);
    /* Tracer and child take turns: on one CPU that is several times faster. */
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    sched_setaffinity(0, sizeof(one), &one);
    g_test_add_data_func("/inflight-kill/split/mixed", GSIZE_TO_POINTER(0), test_mixed);
    g_test_add_data_func("/inflight-kill/split/one-batch", GSIZE_TO_POINTER(0), test_one_batch);
    g_test_add_data_func("/inflight-kill/packed/mixed", GSIZE_TO_POINTER(RING_GUEST_PACKED),
                         test_mixed);
    g_test_add_data_func("/inflight-kill/packed/one-batch", GSIZE_TO_POINTER(RING_GUEST_PACKED),
                         test_one_batch);
    g_test_add_data_func("/inflight-kill/packed/in-order",
                         GSIZE_TO_POINTER(RING_GUEST_PACKED | RING_GUEST_IN_ORDER), test_mixed);
    g_test_add_data_func("/inflight-kill/split/in-order", GSIZE_TO_POINTER(RING_GUEST_IN_ORDER),
                         test_mixed);
    return g_test_run();
}
