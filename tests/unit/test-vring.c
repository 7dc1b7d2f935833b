/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of requests through rings of both kinds: batches, indirect tables, order.
 */
#include <glib.h>
#include <string.h>

#include "ring-guest.h"
#include "vhost-user/cleanup.h"

#define W VU_DESC_F_WRITE

static void test_round_trip(gconstpointer features)
{
    struct ring_guest guest;
    struct vu_elem *elem;

    ring_guest_init(&guest, 8, GPOINTER_TO_SIZE(features));
    ring_guest_start(&guest);
    g_assert_false(vu_vring_has_work(&guest.vring));
    const struct ring_guest_desc descs[] = {{guest.buffer_gpa, 40, 0},
                                            {0, 0, 0}, /* dropped, wherever it points */
                                            {guest.buffer_gpa + 64, 16, 0},
                                            {guest.buffer_gpa + 128, 0, W},
                                            {guest.buffer_gpa + 128, 100, W}};
    memcpy(ring_guest_at(&guest, guest.buffer_gpa, 5), "hello", 5);
    ring_guest_add(&guest, 1, descs, G_N_ELEMENTS(descs));
    g_assert_true(vu_vring_has_work(&guest.vring));

    elem = ring_guest_pop_one(&guest);
    g_assert_true(elem->vring == &guest.vring && elem->memory == guest.memory);
    g_assert_cmpuint(elem->n_out, ==, 2);
    g_assert_cmpuint(elem->n_in, ==, 1);
    g_assert_cmpuint(elem->out_len, ==, 56);
    g_assert_cmpuint(elem->in_len, ==, 100);
    g_assert_cmpint(memcmp(elem->iov[0].iov_base, "hello", 5), ==, 0);
    g_assert_cmpuint(elem->iov[2].iov_len, ==, 100);
    g_assert_null(elem->user);
    memcpy(elem->iov[2].iov_base, "world", 5);
    g_assert_false(vu_vring_has_work(&guest.vring));
    ring_guest_assert_no_used(&guest);
    vu_elem_complete(elem, 5);
    ring_guest_assert_used(&guest, 1, 5);
    g_assert_cmpint(memcmp(ring_guest_at(&guest, guest.buffer_gpa + 128, 5), "world", 5), ==, 0);
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 1);

    /* More than there was room for is never claimed. */
    ring_guest_add_simple(&guest, 0, 8);
    vu_elem_complete(ring_guest_pop_one(&guest), 9);
    ring_guest_assert_used(&guest, 0, 8);
    ring_guest_clear(&guest);
}

static void test_empty_chain(gconstpointer features)
{
    struct ring_guest guest;
    struct vu_elem *elem;
    const struct ring_guest_desc desc = {0, 0, 0};

    ring_guest_init(&guest, 4, GPOINTER_TO_SIZE(features));
    ring_guest_start(&guest);
    ring_guest_add(&guest, 0, &desc, 1);
    elem = ring_guest_pop_one(&guest);
    g_assert_cmpuint(elem->n_out + elem->n_in, ==, 0);
    vu_elem_complete(elem, 0);
    ring_guest_assert_used(&guest, 0, 0);
    ring_guest_clear(&guest);
}

/* Many laps of batches of all sizes; each batch is one notification. */
static void test_batches(gconstpointer features)
{
    struct vu_elem *elems[16];
    struct ring_guest guest;
    struct vu_vring_stats stats;

    ring_guest_init(&guest, 16, GPOINTER_TO_SIZE(features));
    ring_guest_start(&guest);
    for (unsigned round = 0; round < 16000; round++) {
        unsigned n = round % 8 + 1;

        if (!guest.packed) /* wherever the index is, the driver wants to hear of the next entry */
            le16_store(vu_split_used_event(ring_guest_avail(&guest), 16), guest.used_idx);
        for (unsigned i = 0; i < n; i++)
            ring_guest_add_simple(&guest, (uint16_t)(2 * i), 64);
        g_assert_cmpuint(vu_vring_pop(&guest.vring, elems, 3), ==, MIN(n, 3));
        if (n > 3)
            g_assert_cmpuint(vu_vring_pop(&guest.vring, elems + 3, 13), ==, n - 3);
        g_assert_cmpuint(vu_vring_pop(&guest.vring, elems, 16), ==, 0);
        for (unsigned i = 0; i < n; i++)
            elems[i]->written = i;
        vu_vring_push(&guest.vring, elems, n);
        for (unsigned i = 0; i < n; i++)
            ring_guest_assert_used(&guest, (uint16_t)(2 * i), i);
        ring_guest_assert_no_used(&guest);
        g_assert_cmpuint(ring_guest_calls(&guest), ==, 1);
    }
    vu_vring_get_stats(&guest.vring, &stats);
    g_assert_cmpuint(stats.n_popped, ==, 16000 / 8 * 36);
    g_assert_cmpuint(stats.n_pushed, ==, stats.n_popped);
    g_assert_cmpuint(stats.n_notifies, ==, 16000);
    ring_guest_clear(&guest);
}

static void test_out_of_order(gconstpointer features)
{
    struct vu_elem *elems[3];
    struct ring_guest guest;

    ring_guest_init(&guest, 8, GPOINTER_TO_SIZE(features));
    ring_guest_start(&guest);
    for (uint16_t id = 0; id < 6; id += 2)
        ring_guest_add_simple(&guest, id, 16);
    g_assert_cmpuint(vu_vring_pop(&guest.vring, elems, 3), ==, 3);
    vu_elem_complete(elems[2], 2);
    vu_elem_complete(elems[0], 0);
    vu_elem_complete(elems[1], 1);
    ring_guest_assert_used(&guest, 4, 2);
    ring_guest_assert_used(&guest, 0, 0);
    ring_guest_assert_used(&guest, 2, 1);
    ring_guest_clear(&guest);
}

static void test_in_order(gconstpointer features)
{
    struct vu_elem *elems[4];
    struct ring_guest guest;

    ring_guest_init(&guest, 8, GPOINTER_TO_SIZE(features) | RING_GUEST_IN_ORDER);
    ring_guest_start(&guest);
    for (uint16_t id = 0; id < 8; id += 2)
        ring_guest_add_simple(&guest, id, 16);
    g_assert_cmpuint(vu_vring_pop(&guest.vring, elems, 4), ==, 4);
    vu_elem_complete(elems[1], 1);
    vu_elem_complete(elems[2], 2);
    ring_guest_assert_no_used(&guest);
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 0);
    vu_elem_complete(elems[0], 0);
    for (uint16_t i = 0; i < 3; i++)
        ring_guest_assert_used(&guest, (uint16_t)(2 * i), i);
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 1);
    vu_elem_complete(elems[3], 3);
    ring_guest_assert_used(&guest, 6, 3);

    /* What is held back when the ring breaks is given up, and the rest as it comes. */
    for (uint16_t id = 0; id < 8; id += 2)
        ring_guest_add_simple(&guest, id, 16);
    g_assert_cmpuint(vu_vring_pop(&guest.vring, elems, 4), ==, 4);
    vu_elem_complete(elems[1], 1);
    ring_guest_log_begin();
    vu_vring_break(&guest.vring, "nonsense");
    g_free(ring_guest_log_end());
    g_assert_cmpuint(guest.vring.n_in_flight, ==, 3);
    vu_vring_push(&guest.vring, elems + 2, 2);
    vu_elem_complete(elems[0], 0);
    ring_guest_assert_no_used(&guest);
    ring_guest_clear(&guest);
}

static void assert_ranges(const struct vu_elem *elem, const struct ring_guest *guest,
                          const struct ring_guest_desc *want, unsigned n)
{
    g_assert_cmpuint(elem->n_out + elem->n_in, ==, n);
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmpuint(vu_memory_host_to_gpa(guest->memory, elem->iov[i].iov_base), ==,
                         want[i].gpa);
        g_assert_cmpuint(elem->iov[i].iov_len, ==, want[i].len);
        g_assert_cmpint(i >= elem->n_out, ==, want[i].flags == W);
    }
}

/* A table that straddles two regions in the middle of a descriptor, and buffers that do. */
static void test_indirect(gconstpointer features)
{
    const uint64_t table = RING_GUEST_BORDER - 24, low = RING_GUEST_BORDER - 0x3000;
    const struct ring_guest_desc entries[] = {
        {low, 0x100, 0}, {RING_GUEST_BORDER - 0x1000, 0x1800, 0}, {low + 0x200, 0x10, W}};
    const struct ring_guest_desc want[] = {{low, 0x100, 0},
                                           {RING_GUEST_BORDER - 0x1000, 0x1000, 0},
                                           {RING_GUEST_BORDER, 0x800, 0},
                                           {low + 0x200, 0x10, W}};
    struct ring_guest guest;
    struct vu_elem *elem;

    ring_guest_init(&guest, 4, GPOINTER_TO_SIZE(features) | RING_GUEST_INDIRECT);
    ring_guest_start(&guest);
    for (unsigned i = 0; i < 3; i++) {
        struct ring_guest_desc entry = entries[i];

        entry.flags |= i < 2 && !guest.packed ? VU_DESC_F_NEXT : 0;
        ring_guest_write_table(&guest, table, i, entry, (uint16_t)(i + 1));
    }
    /* The flag WRITE of the descriptor that refers to a table means nothing. */
    const struct ring_guest_desc desc = {table, 48, VU_DESC_F_INDIRECT | W};

    for (unsigned round = 0; round < 10; round++) {
        ring_guest_add(&guest, 3, &desc, 1);
        elem = ring_guest_pop_one(&guest);
        assert_ranges(elem, &guest, want, G_N_ELEMENTS(want));
        vu_elem_complete(elem, 16);
        ring_guest_assert_used(&guest, 3, 16);
    }
    ring_guest_clear(&guest);
}

/* Tables as long as can be, in pieces: the element grows, and its array is used again. */
static void test_longest_chain(gconstpointer features)
{
    const unsigned n = VU_CHAIN_MAX_DESCS;
    struct ring_guest guest;
    struct vu_elem *elem;
    const struct iovec *iov = NULL;
    uint64_t buffer;

    ring_guest_init(&guest, 4, GPOINTER_TO_SIZE(features) | RING_GUEST_INDIRECT);
    ring_guest_start(&guest);
    buffer = guest.buffer_gpa + n * UINT64_C(16);
    for (unsigned i = 0; i < n; i++)
        ring_guest_write_table(
            &guest, guest.buffer_gpa, i,
            (struct ring_guest_desc){buffer + i * UINT64_C(64), 64,
                                     i + 1 < n && !guest.packed ? VU_DESC_F_NEXT : 0},
            (uint16_t)(i + 1));
    const struct ring_guest_desc desc = {guest.buffer_gpa, n * 16, VU_DESC_F_INDIRECT};

    for (unsigned round = 0; round < 3; round++) {
        ring_guest_add(&guest, 0, &desc, 1);
        elem = ring_guest_pop_one(&guest);
        g_assert_cmpuint(elem->n_out, ==, n);
        g_assert_cmpuint(elem->out_len, ==, n * 64);
        g_assert_true(iov == NULL || iov == elem->iov);
        iov = elem->iov;
        vu_elem_complete(elem, 0);
        ring_guest_assert_used(&guest, 0, 0);
    }
    ring_guest_clear(&guest);
}

/* What a stopping device has no answer for comes again; with an inflight log as without. Each round
 * begins at another place of the ring. */
static void give_back_rounds(struct ring_guest *guest)
{
    struct vu_elem *elems[4];
    uint32_t base;

    for (unsigned round = 0; round < 40; round++) {
        for (uint16_t id = 0; id < 8; id += 2)
            ring_guest_add_simple(guest, id, 16);
        g_assert_cmpuint(vu_vring_pop(&guest->vring, elems, 4), ==, 4);
        vu_elem_complete(elems[0], 7);
        ring_guest_assert_used(guest, 0, 7);
        g_assert_false(vu_vring_give_back(elems[1]));
        for (unsigned i = 3; i > 0; i--)
            g_assert_true(vu_vring_give_back(elems[i]));
        g_assert_cmpuint(vu_vring_n_working(&guest->vring), ==, 0);
        g_assert_cmpint(vu_vring_stop(&guest->vring, NULL, round % 2 == 0 ? &base : NULL), ==, 0);
        ring_guest_start(guest);
        g_assert_cmpuint(vu_vring_pop(&guest->vring, elems, 4), ==, 3);
        for (unsigned i = 0; i < 3; i++) {
            vu_elem_complete(elems[i], i);
            ring_guest_assert_used(guest, (uint16_t)(2 * i + 2), i);
        }
        if (round % 3 == 0) {
            const struct ring_guest_desc desc = {guest->buffer_gpa, 16, W};

            ring_guest_add(guest, 1, &desc, 1);
            vu_elem_complete(ring_guest_pop_one(guest), 0);
            ring_guest_assert_used(guest, 1, 0);
        }
    }
}

static void test_give_back(gconstpointer features)
{
    struct ring_guest guest;

    ring_guest_init(&guest, 8, GPOINTER_TO_SIZE(features));
    ring_guest_start(&guest);
    give_back_rounds(&guest);
    ring_guest_clear(&guest);
}

static void test_give_back_logged(gconstpointer features)
{
    struct vu_inflight_desc desc;
    struct ring_guest guest;
    vu_autofd int fd = -1;

    ring_guest_init(&guest, 8, GPOINTER_TO_SIZE(features));
    g_assert_cmpint(vu_inflight_create(1, 8, guest.packed, &guest.vring.inflight, &desc, &fd), ==,
                    0);
    ring_guest_start(&guest);
    give_back_rounds(&guest);
    g_assert_cmpint(vu_vring_stop(&guest.vring, NULL, NULL), ==, 0);
    vu_inflight_destroy(guest.vring.inflight);
    guest.vring.inflight = NULL;
    ring_guest_clear(&guest);
}

/* A driver that changes what it made available gets an answer, and the ring stays where it is. */
static void test_give_back_changed(gconstpointer features)
{
    struct ring_guest guest;
    struct vu_elem *elem;

    ring_guest_init(&guest, 8, GPOINTER_TO_SIZE(features));
    ring_guest_start(&guest);
    ring_guest_add_simple(&guest, 2, 16);
    elem = ring_guest_pop_one(&guest);
    le16_store(&ring_guest_avail(&guest)->ring[0], 3);
    le16_store(&ring_guest_packed_desc(&guest, 1)->id, 3);
    g_assert_false(vu_vring_give_back(elem));
    vu_elem_complete(elem, 0);
    ring_guest_assert_used(&guest, 2, 0);
    ring_guest_clear(&guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ring_guest_add_tests("vring", "round-trip", test_round_trip);
    ring_guest_add_tests("vring", "empty-chain", test_empty_chain);
    ring_guest_add_tests("vring", "batches", test_batches);
    ring_guest_add_tests("vring", "out-of-order", test_out_of_order);
    ring_guest_add_tests("vring", "in-order", test_in_order);
    ring_guest_add_tests("vring", "indirect", test_indirect);
    ring_guest_add_tests("vring", "longest-chain", test_longest_chain);
    ring_guest_add_tests("vring", "give-back", test_give_back);
    ring_guest_add_tests("vring", "give-back-logged", test_give_back_logged);
    ring_guest_add_tests("vring", "give-back-changed", test_give_back_changed);
    return g_test_run();
}
