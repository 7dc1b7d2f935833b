/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only split rings have: the two index rings and their wrap at 2^16, flags and event indexes
 * by which each side asks to be told, and where in memory all this is written.
 */
#include <glib.h>
#include <string.h>

#include "ring-guest.h"

#define NUM 8

static void serve_one(struct ring_guest *guest, uint16_t id)
{
    struct vu_elem *elem;
    uint16_t got;
    uint32_t len;

    ring_guest_add_simple(guest, id, 16);
    g_assert_cmpuint(vu_vring_pop(&guest->vring, &elem, 1), ==, 1);
    vu_elem_complete(elem, 3);
    g_assert_true(ring_guest_take_used(guest, &got, &len));
    g_assert_cmpuint(got, ==, id);
}

/* Begins just before the indexes wrap. */
static void start_at(struct ring_guest *guest, uint16_t idx)
{
    guest->avail_idx = guest->used_idx = idx;
    le16_store(&ring_guest_avail(guest)->idx, idx);
    le16_store(&ring_guest_used(guest)->idx, idx);
    guest->vring.base = idx;
    ring_guest_start(guest);
    ring_guest_calls(guest);
}

static void test_wrap(void)
{
    struct ring_guest guest;
    uint32_t base;

    ring_guest_init(&guest, NUM, 0);
    start_at(&guest, 65530);
    for (unsigned i = 0; i < 20; i++)
        serve_one(&guest, 2);
    g_assert_cmpuint(le16_load(&ring_guest_used(&guest)->idx), ==, 14);
    g_assert_cmpint(vu_vring_stop(&guest.vring, NULL, &base), ==, 0);
    g_assert_cmpuint(base, ==, 14);
    ring_guest_clear(&guest);
}

/* The used entries of a batch are there before the index is, and the index moves once. */
static void test_used_layout(void)
{
    struct vu_elem *elems[3];
    struct ring_guest guest;
    struct vu_split_used *used;

    ring_guest_init(&guest, NUM, 0);
    ring_guest_start(&guest);
    used = ring_guest_used(&guest);
    for (uint16_t id = 0; id < 6; id += 2)
        ring_guest_add_simple(&guest, id, 16);
    g_assert_cmpuint(vu_vring_pop(&guest.vring, elems, 3), ==, 3);
    elems[1]->written = 9;
    vu_vring_push(&guest.vring, elems + 1, 2);
    g_assert_cmpuint(le16_load(&used->idx), ==, 2);
    g_assert_cmpuint(le32_load(&used->ring[0].id), ==, 2);
    g_assert_cmpuint(le32_load(&used->ring[0].len), ==, 9);
    g_assert_cmpuint(le32_load(&used->ring[1].id), ==, 4);
    g_assert_cmpuint(le32_load(&used->ring[1].len), ==, 0);
    vu_vring_push(&guest.vring, elems, 1);
    ring_guest_clear(&guest);
}

static void test_flags(void)
{
    struct ring_guest guest;
    struct vu_split_avail *avail;
    struct vu_split_used *used;

    ring_guest_init(&guest, NUM, 0);
    ring_guest_start(&guest);
    avail = ring_guest_avail(&guest);
    used = ring_guest_used(&guest);
    vu_vring_disarm_kick(&guest.vring);
    g_assert_cmphex(le16_load(&used->flags), ==, VU_USED_F_NO_NOTIFY);
    g_assert_false(vu_vring_arm_kick(&guest.vring));
    g_assert_cmphex(le16_load(&used->flags), ==, 0);
    serve_one(&guest, 0);
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 1);
    le16_store(&avail->flags, VU_AVAIL_F_NO_INTERRUPT);
    serve_one(&guest, 0);
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 0);
    le16_store(&avail->flags, 0);
    serve_one(&guest, 0);
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 1);
    ring_guest_add_simple(&guest, 0, 16);
    g_assert_true(vu_vring_arm_kick(&guest.vring)); /* arrived in between */
    /* A ring that stops leaves kicks wanted, as whoever runs it next will expect. */
    vu_vring_disarm_kick(&guest.vring);
    g_assert_cmpint(vu_vring_stop(&guest.vring, NULL, NULL), ==, 0);
    g_assert_cmphex(le16_load(&used->flags), ==, 0);
    ring_guest_clear(&guest);
}

static void test_event_idx(void)
{
    struct ring_guest guest;
    struct vu_elem *elems[4];
    le16_t *used_event, *avail_event;

    ring_guest_init(&guest, NUM, RING_GUEST_EVENT);
    start_at(&guest, 65533);
    used_event = vu_split_used_event(ring_guest_avail(&guest), NUM);
    avail_event = vu_split_avail_event(ring_guest_used(&guest), NUM);
    /* The flag means nothing now. */
    le16_store(&ring_guest_avail(&guest)->flags, VU_AVAIL_F_NO_INTERRUPT);
    g_assert_false(vu_vring_arm_kick(&guest.vring));
    g_assert_cmpuint(le16_load(avail_event), ==, 65533);
    g_assert_true(vu_event_passed(le16_load(avail_event), 65534, 65533));
    vu_vring_disarm_kick(&guest.vring);
    g_assert_false(vu_event_passed(le16_load(avail_event), 65534, 65533));
    g_assert_cmphex(le16_load(&ring_guest_used(&guest)->flags), ==, 0);
    le16_store(used_event, 60000);
    serve_one(&guest, 0); /* the first since the start: always */
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 1);
    serve_one(&guest, 0); /* 65534 -> 65535 */
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 0);
    le16_store(used_event, 1);
    serve_one(&guest, 0); /* -> 0 */
    serve_one(&guest, 0); /* -> 1 */
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 0);
    serve_one(&guest, 0); /* -> 2: passes 1 */
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 1);
    serve_one(&guest, 0);
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 0);

    /* A batch that passes it in its middle. */
    le16_store(used_event, 5);
    for (uint16_t id = 0; id < 8; id += 2)
        ring_guest_add_simple(&guest, id, 16);
    g_assert_cmpuint(vu_vring_pop(&guest.vring, elems, 4), ==, 4);
    vu_vring_push(&guest.vring, elems, 4);
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 1);
    g_assert_false(vu_vring_arm_kick(&guest.vring));
    g_assert_cmpuint(le16_load(avail_event), ==, 7);
    ring_guest_clear(&guest);
}

/* Descriptors of the ring, then a table at their end. */
static void test_direct_then_indirect(void)
{
    struct ring_guest guest;
    struct vu_elem *elem;

    ring_guest_init(&guest, NUM, RING_GUEST_INDIRECT);
    ring_guest_start(&guest);
    const uint64_t table = guest.buffer_gpa + 3, buffer = guest.buffer_gpa + 0x1000;
    const struct ring_guest_desc descs[] = {{buffer, 10, 0}, {table, 48, VU_DESC_F_INDIRECT}};

    /* Entry 0 leads to 2 and over the unused 1. */
    ring_guest_write_table(&guest, table, 0,
                           (struct ring_guest_desc){buffer + 16, 20, VU_DESC_F_NEXT}, 2);
    ring_guest_write_table(&guest, table, 1, (struct ring_guest_desc){0, 1, 0xffff}, 0xffff);
    ring_guest_write_table(&guest, table, 2,
                           (struct ring_guest_desc){buffer + 64, 30, VU_DESC_F_WRITE}, 0xffff);
    ring_guest_add(&guest, 5, descs, 2);
    g_assert_cmpuint(vu_vring_pop(&guest.vring, &elem, 1), ==, 1);
    g_assert_cmpuint(elem->n_out, ==, 2);
    g_assert_cmpuint(elem->out_len, ==, 30);
    g_assert_cmpuint(elem->in_len, ==, 30);
    vu_elem_complete(elem, 30);
    ring_guest_clear(&guest);
}

/* As long as the ring itself: no loop, whatever the order of its descriptors. */
static void test_whole_ring(void)
{
    struct ring_guest guest;
    struct vu_elem *elem;

    ring_guest_init(&guest, NUM, 0);
    ring_guest_start(&guest);
    for (unsigned i = 0; i < NUM; i++)
        *ring_guest_split_desc(&guest, i) = (struct vu_split_desc){
            le64_from(guest.buffer_gpa + i), le32_from(1), le16_from(i == 4 ? 0 : VU_DESC_F_NEXT),
            le16_from((uint16_t)((i + 3) % NUM))};
    ring_guest_offer(&guest, 7);
    g_assert_cmpuint(vu_vring_pop(&guest.vring, &elem, 1), ==, 1);
    g_assert_cmpuint(elem->n_out, ==, NUM);
    vu_elem_complete(elem, 0);
    ring_guest_clear(&guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vring-split/wrap", test_wrap);
    g_test_add_func("/vring-split/used-layout", test_used_layout);
    g_test_add_func("/vring-split/flags", test_flags);
    g_test_add_func("/vring-split/event-idx", test_event_idx);
    g_test_add_func("/vring-split/direct-then-indirect", test_direct_then_indirect);
    g_test_add_func("/vring-split/whole-ring", test_whole_ring);
    return g_test_run();
}
