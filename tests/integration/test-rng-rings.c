/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drivers of a whole vrngd that break the rules, in split and packed rings; that change what they
 * have asked for meanwhile; and that keep them as they can: buffers without room, thousands of
 * them, chains of a thousand. Their own ring breaks, if any, and others are served on.
 */
#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "rng-guest.h"

#define INDIRECT  VU_BIT(VU_F_RING_INDIRECT_DESC)
#define PACKED    VU_BIT(VU_F_RING_PACKED)
#define NOWHERE   UINT64_C(0x7fff00000000) /* no guest memory */
#define DESC_LEN  16
#define BIG_RING  16384
#define CHAIN_MAX 1024 /* descriptors that are put up with */
#define N_RACES   3000

/* --- what a ring holds --- */

/* One request of 64 bytes: in the ring, or in an indirect table in the slot's memory. */
struct rig {
    const struct rng_guest_slot *slot;
    struct vu_driver *driver;
    uint64_t table_gpa;
};

/* Both kinds of descriptors begin with address and length; for flags, and next or id, there is no
 * difference but their order. */
static void write_desc(struct rig *rig, void *at, uint64_t gpa, uint32_t len, uint16_t flags,
                       uint16_t link)
{
    const bool packed = rig->driver->packed;

    *(struct vu_split_desc *)at = (struct vu_split_desc){
        .addr = le64_from(gpa),
        .len = le32_from(len),
        .flags = le16_from(packed ? link : flags),
        .next = le16_from(packed ? flags : link),
    };
}

static void write_ring(struct rig *rig, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags,
                       uint16_t link)
{
    if (rig->driver->packed)
        flags |= VU_DESC_F_AVAIL; /* in the ring's first round */
    write_desc(rig, (struct vu_split_desc *)rig->driver->desc + i, gpa, len, flags, link);
}

static void write_table(struct rig *rig, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags,
                        uint16_t link)
{
    write_desc(rig, (struct vu_split_desc *)rig->slot->bytes + i, gpa, len, flags, link);
}

/* The ring has a table of n descriptors that are good. */
static void write_indirect(struct rig *rig, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        write_table(rig, i, rig->slot->gpa + 4096, 64,
                    (uint16_t)(VU_DESC_F_WRITE | (i + 1 < n ? VU_DESC_F_NEXT : 0)),
                    (uint16_t)(i + 1));
    write_ring(rig, 0, rig->table_gpa, n * DESC_LEN, VU_DESC_F_INDIRECT, 0);
}

/* Shows n entries of the ring, of which the first is 0, and kicks. */
static void show(struct rig *rig, uint16_t head, uint16_t n)
{
    struct vu_split_avail *avail = rig->driver->avail;

    if (!rig->driver->packed) {
        le16_store(&avail->ring[0], head);
        le16_store_release(&avail->idx, n);
    }
    vu_driver_force_kick(rig->driver);
}

/* --- breakages --- */

static void break_readable(struct rig *rig)
{
    write_ring(rig, 0, rig->slot->gpa, 64, 0, 0);
    show(rig, 0, 1);
}

static void break_mixed(struct rig *rig)
{
    write_ring(rig, 1, rig->slot->gpa, 64, VU_DESC_F_WRITE, 0);
    write_ring(rig, 0, rig->slot->gpa, 64, VU_DESC_F_NEXT, 1);
    show(rig, 0, 1);
}

/* What can be read comes behind what can be written. */
static void break_order(struct rig *rig)
{
    write_ring(rig, 1, rig->slot->gpa, 64, 0, 0);
    write_ring(rig, 0, rig->slot->gpa, 64, VU_DESC_F_NEXT | VU_DESC_F_WRITE, 1);
    show(rig, 0, 1);
}

static void break_nowhere(struct rig *rig)
{
    write_ring(rig, 0, NOWHERE, 64, VU_DESC_F_WRITE, 0);
    show(rig, 0, 1);
}

static void break_wraps(struct rig *rig)
{
    write_ring(rig, 0, UINT64_MAX - 10, 64, VU_DESC_F_WRITE, 0);
    show(rig, 0, 1);
}

static void break_too_long(struct rig *rig)
{
    write_ring(rig, 0, rig->slot->gpa, UINT32_MAX, VU_DESC_F_WRITE, 0);
    show(rig, 0, 1);
}

/* Split: to itself; packed: all the way round. */
static void break_loop(struct rig *rig)
{
    for (unsigned i = RNG_GUEST_RING; i-- > 0;)
        write_ring(rig, i, rig->slot->gpa, 64, VU_DESC_F_WRITE | VU_DESC_F_NEXT, 0);
    show(rig, 0, 1);
}

/* Split: an entry that the ring does not have. Packed rings have ids instead, which mean nothing to
 * the device. */
static void break_head(struct rig *rig)
{
    write_ring(rig, 0, rig->slot->gpa, 64, VU_DESC_F_WRITE, RNG_GUEST_RING);
    show(rig, RNG_GUEST_RING, 1);
}

/* More than the ring has. */
static void break_index(struct rig *rig)
{
    write_ring(rig, 0, rig->slot->gpa, 64, VU_DESC_F_WRITE, 0);
    show(rig, 0, RNG_GUEST_RING + 1);
}

static void break_odd_table(struct rig *rig)
{
    write_indirect(rig, 3);
    write_ring(rig, 0, rig->table_gpa, 3 * DESC_LEN - 1, VU_DESC_F_INDIRECT, 0);
    show(rig, 0, 1);
}

static void break_empty_table(struct rig *rig)
{
    write_ring(rig, 0, rig->table_gpa, 0, VU_DESC_F_INDIRECT, 0);
    show(rig, 0, 1);
}

static void break_huge_table(struct rig *rig)
{
    write_indirect(rig, 3);
    write_ring(rig, 0, rig->table_gpa, UINT32_MAX & ~15u, VU_DESC_F_INDIRECT, 0);
    show(rig, 0, 1);
}

static void break_table_nowhere(struct rig *rig)
{
    write_ring(rig, 0, NOWHERE, 3 * DESC_LEN, VU_DESC_F_INDIRECT, 0);
    show(rig, 0, 1);
}

static void break_nested_table(struct rig *rig)
{
    write_indirect(rig, 3);
    write_table(rig, 1, rig->table_gpa, 3 * DESC_LEN, VU_DESC_F_INDIRECT, 0);
    show(rig, 0, 1);
}

static void break_in_table(struct rig *rig)
{
    write_indirect(rig, 3);
    write_table(rig, 2, NOWHERE, 64, VU_DESC_F_WRITE, 0);
    show(rig, 0, 1);
}

/* Split alone has links in tables. */
static void break_next_outside(struct rig *rig)
{
    write_indirect(rig, 3);
    write_table(rig, 1, rig->slot->gpa, 64, VU_DESC_F_WRITE | VU_DESC_F_NEXT, 3);
    show(rig, 0, 1);
}

static void break_readable_in_table(struct rig *rig)
{
    write_indirect(rig, 3);
    write_table(rig, 0, rig->slot->gpa, 64, VU_DESC_F_NEXT, 1);
    show(rig, 0, 1);
}

static const struct breakage {
    const char *name;
    void (*make)(struct rig *rig);
    bool split_only;
} breakages[] = {
    {"readable", break_readable},
    {"mixed", break_mixed},
    {"order", break_order},
    {"nowhere", break_nowhere},
    {"wraps", break_wraps},
    {"loop", break_loop},
    {"too-long", break_too_long},
    {"head", break_head, true},
    {"index", break_index, true},
    {"odd-table", break_odd_table},
    {"empty-table", break_empty_table},
    {"huge-table", break_huge_table},
    {"table-nowhere", break_table_nowhere},
    {"nested-table", break_nested_table},
    {"in-table", break_in_table},
    {"next-outside", break_next_outside, true},
    {"readable-in-table", break_readable_in_table},
};

/* Whether the device has answered anything in a ring of which nothing is used yet. */
static bool has_answered(const struct vu_driver *driver)
{
    const struct vu_packed_desc *ring = driver->desc;

    if (!driver->packed)
        return le16_load_acquire(&((struct vu_split_used *)driver->used)->idx) != 0;
    for (unsigned i = 0; i < driver->num; i++)
        if (le16_load_acquire(&ring[i].flags) & VU_DESC_F_USED)
            return true;
    return false;
}

/* Two guests, each with memory for a request; the other one keeps the rules. */
static bool start_both(struct rng_guest *guest, const struct rng_guest_setup *setup,
                       struct rng_guest_slot *slot, struct rng_guest_slot *other)
{
    if (!rng_guest_start(guest, setup))
        return false;
    rng_guest_slot_init(guest, 0, slot);
    rng_guest_slot_init(guest, 1, other);
    return true;
}

/* The other guest goes on; with less than it asked for where bytes were being read for this one. */
static void expect_served(struct rng_guest *guest, struct rng_guest_slot *other)
{
    g_assert_cmpuint(rng_guest_read(guest, 1, 0, other, 64), >, 0);
}

/* Its own ring breaks, once, and the other device is served on. */
static void run_breakage(const struct breakage *breakage, uint64_t features)
{
    const struct rng_guest_setup setup = {.n_devices = 2, .n_queues = 1, .features = features};
    struct rng_guest_slot slot, other;
    struct rng_guest guest;
    struct rig rig;

    if (!start_both(&guest, &setup, &slot, &other))
        return;
    rig = (struct rig){.slot = &slot, .driver = guest.devices[0].queues[0], .table_gpa = slot.gpa};
    breakage->make(&rig);
    rng_guest_expect_log(&guest, "it is stopped");
    g_assert_false(has_answered(rig.driver));
    expect_served(&guest, &other);
    rng_guest_stop(&guest);
}

static void test_breakage(gconstpointer data)
{
    const struct breakage *breakage = data;

    run_breakage(breakage, INDIRECT);
    if (!breakage->split_only)
        run_breakage(breakage, INDIRECT | PACKED);
}

/* Memory that its owner takes away under a request: by a system call, and by the daemon's own
 * hands. */
static void test_truncated(gconstpointer options)
{
    const struct rng_guest_setup setup = {
        .options = options, .n_devices = 2, .n_queues = 1, .unsealed = true};
    struct rng_guest_slot slot, other;
    struct vu_shmem_region *region;
    struct vu_driver *driver;
    struct rng_guest guest;

    if (!start_both(&guest, &setup, &slot, &other))
        return;
    driver = guest.devices[0].queues[0];
    region = &guest.devices[0].shmem.regions[0];
    const struct vu_sg sg = {.gpa = slot.gpa, .len = 4096};

    g_assert_cmpint(ftruncate(region->fd, (off_t)(slot.gpa - region->gpa)), ==, 0);
    g_assert_cmpint(vu_driver_add(driver, &sg, 0, 1, &slot), ==, 0);
    vu_driver_kick(driver);
    rng_guest_expect_log(&guest, "it is stopped");
    expect_served(&guest, &other);
    rng_guest_stop(&guest);
}

/* --- a driver that changes its mind --- */

struct race {
    struct rig rig;
    bool is_over; /* atomic */
};

/* Lengths and addresses change all the time while the device looks, now and then to bad ones. */
static void *run_race(void *opaque)
{
    static const uint32_t lens[] = {64, 0, 4096, 1, RNG_GUEST_BUFFER - 8192};
    struct race *race = opaque;
    struct vu_split_desc *table = (struct vu_split_desc *)race->rig.slot->bytes;

    for (unsigned i = 0; !__atomic_load_n(&race->is_over, __ATOMIC_RELAXED); i++) {
        bool is_bad = i % 4096 == 0;

        le32_store(&table[i % 3].len, lens[i % G_N_ELEMENTS(lens)]);
        le64_store(&table[i % 3].addr, is_bad ? NOWHERE : race->rig.slot->gpa + 4096 * (1 + i % 2));
    }
    return NULL;
}

/* Asks again and again with the table that changes, until the ring has broken. How often it was
 * answered. */
static unsigned ask_racing(struct race *race)
{
    struct vu_split_avail *avail = race->rig.driver->avail;
    struct vu_split_used *used = race->rig.driver->used;
    uint16_t idx;

    for (idx = 1; idx <= N_RACES; idx++) {
        le16_store(&avail->ring[(idx - 1) % RNG_GUEST_RING], 0);
        le16_store_release(&avail->idx, idx);
        vu_driver_force_kick(race->rig.driver);
        for (unsigned i = 0; le16_load_acquire(&used->idx) != idx; i++) {
            if (i == 200)
                return idx - 1u;
            g_usleep(1000);
        }
    }
    return N_RACES;
}

static void test_race(gconstpointer options)
{
    const struct rng_guest_setup setup = {
        .options = options, .n_devices = 2, .n_queues = 1, .features = INDIRECT};
    struct rng_guest_slot slot, other;
    struct rng_guest guest;
    struct race race = {.is_over = false};
    pthread_t thread;

    if (!start_both(&guest, &setup, &slot, &other))
        return;
    race.rig =
        (struct rig){.slot = &slot, .driver = guest.devices[0].queues[0], .table_gpa = slot.gpa};
    write_indirect(&race.rig, 3);
    g_assert_cmpint(pthread_create(&thread, NULL, run_race, &race), ==, 0);
    g_test_message("answered %u times", ask_racing(&race));
    expect_served(&guest, &other);
    __atomic_store_n(&race.is_over, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    rng_guest_stop(&guest);
}

/* --- what is unusual, and allowed --- */

/* Waits until n entries are used, all of them of so many bytes. */
static void expect_used(struct vu_driver *driver, unsigned n, uint32_t len)
{
    const struct vu_split_used *used = driver->used;

    for (unsigned i = 0; le16_load_acquire(&used->idx) != n; i++) {
        g_assert_cmpuint(i, <, RNG_GUEST_PATIENCE_MS);
        g_usleep(1000);
    }
    for (unsigned i = 0; i < n; i++)
        g_assert_cmpuint(le32_value(used->ring[i].len), ==, len);
}

/* Nothing is to be filled, so nothing is written; thousands of times, each in its turn. */
static void test_empty(gconstpointer options)
{
    const struct rng_guest_setup setup = {
        .options = options, .n_devices = 2, .n_queues = 1, .ring = BIG_RING};
    struct rng_guest_slot slot, other;
    struct vu_split_used *used;
    struct vu_split_avail *avail;
    struct rng_guest guest;
    struct rig rig;

    if (!start_both(&guest, &setup, &slot, &other))
        return;
    rig = (struct rig){.slot = &slot, .driver = guest.devices[0].queues[0]};
    avail = rig.driver->avail;
    used = rig.driver->used;
    for (uint16_t i = 0; i < BIG_RING; i++) {
        write_ring(&rig, i, slot.gpa, 0, VU_DESC_F_WRITE, 0);
        avail->ring[i] = le16_from(i);
    }
    show(&rig, 0, BIG_RING);
    expect_served(&guest, &other);
    expect_used(rig.driver, BIG_RING, 0);
    for (unsigned i = 0; i < BIG_RING; i++)
        g_assert_cmpuint(le32_value(used->ring[i].id), ==, i);
    rng_guest_stop(&guest);
}

/* Thousands of buffers of one byte, all at once. */
static void test_thousands(gconstpointer options)
{
    const struct rng_guest_setup setup = {
        .options = options, .n_devices = 2, .n_queues = 1, .ring = BIG_RING};
    struct rng_guest_slot slot, other;
    struct vu_driver *driver;
    struct rng_guest guest;
    unsigned n_done = 0;

    if (!start_both(&guest, &setup, &slot, &other))
        return;
    driver = guest.devices[0].queues[0];
    for (unsigned i = 0; i < BIG_RING; i++) {
        const struct vu_sg sg = {.gpa = slot.gpa + i, .len = 1};

        g_assert_cmpint(vu_driver_add(driver, &sg, 0, 1, slot.bytes + i), ==, 0);
    }
    vu_driver_kick(driver);
    expect_served(&guest, &other);
    for (unsigned i = 0; n_done < BIG_RING; i++) {
        struct vu_driver_used used[256];
        int n = vu_driver_harvest(driver, used, G_N_ELEMENTS(used));

        g_assert_cmpint(n, >=, 0);
        for (int k = 0; k < n; k++) {
            g_assert_true(used[k].token == slot.bytes + n_done++);
            g_assert_cmpuint(used[k].len, ==, 1);
        }
        g_assert_cmpuint(i, <, 10 * RNG_GUEST_PATIENCE_MS);
        if (n == 0)
            g_usleep(100);
    }
    rng_guest_stop(&guest);
}

/* As many descriptors as are put up with, of which some have no room; and one more. */
static void test_long_chain(gconstpointer options)
{
    const struct rng_guest_setup setup = {
        .options = options, .n_devices = 2, .n_queues = 1, .ring = 2 * CHAIN_MAX};
    struct rng_guest_slot slot, other;
    struct rng_guest guest;
    struct rig rig;

    if (!start_both(&guest, &setup, &slot, &other))
        return;
    rig = (struct rig){.slot = &slot, .driver = guest.devices[0].queues[0]};
    for (unsigned i = 0; i < CHAIN_MAX; i++)
        write_ring(&rig, i, slot.gpa + 2 * i, i % 2, VU_DESC_F_WRITE | VU_DESC_F_NEXT,
                   (uint16_t)(i + 1));
    write_ring(&rig, CHAIN_MAX - 1, slot.gpa + 2 * CHAIN_MAX, 1, VU_DESC_F_WRITE, 0);
    show(&rig, 0, 1);
    expect_used(rig.driver, 1, CHAIN_MAX / 2);
    for (unsigned i = 0; i < CHAIN_MAX - 1; i++) /* between them nothing is written */
        g_assert_cmpuint(slot.bytes[2 * i + 1], ==, slot.bytes[RNG_GUEST_BUFFER - 1]);
    write_ring(&rig, CHAIN_MAX - 1, slot.gpa, 1, VU_DESC_F_WRITE | VU_DESC_F_NEXT, CHAIN_MAX);
    write_ring(&rig, CHAIN_MAX, slot.gpa, 1, VU_DESC_F_WRITE, 0);
    ((struct vu_split_avail *)rig.driver->avail)->ring[1] = le16_from(0);
    show(&rig, 0, 2);
    rng_guest_expect_log(&guest, "it is stopped");
    expect_used(rig.driver, 1, CHAIN_MAX / 2);
    expect_served(&guest, &other);
    rng_guest_stop(&guest);
}

/* --- all --- */

/* By the worker alone, and by way of the pool. */
static void add_for_sources(const char *name, GTestDataFunc test)
{
    g_autofree char *at_once = g_strdup_printf("/rng-rings/%s/at-once", name);
    g_autofree char *fed = g_strdup_printf("/rng-rings/%s/by-the-feeder", name);

    g_test_add_data_func(at_once, "", test);
    g_test_add_data_func(fed, "--source=/dev/urandom", test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(breakages); i++) {
        g_autofree char *path = g_strdup_printf("/rng-rings/breaks/%s", breakages[i].name);

        g_test_add_data_func(path, &breakages[i], test_breakage);
    }
    add_for_sources("truncated", test_truncated);
    add_for_sources("race", test_race);
    add_for_sources("empty", test_empty);
    add_for_sources("thousands", test_thousands);
    add_for_sources("long-chain", test_long_chain);
    return g_test_run();
}
