/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only packed rings have: wrap counters, used descriptors written over available ones, the two
 * event suppression areas, and bases of two halves.
 */
#include <glib.h>
#include <string.h>

#include "ring-guest.h"

#define NUM   7 /* any number will do */
#define AVAIL VU_DESC_F_AVAIL
#define USED  VU_DESC_F_USED
#define W     VU_DESC_F_WRITE

static void serve_one(struct ring_guest *guest, uint16_t id)
{
    uint16_t got;
    uint32_t len;

    ring_guest_add_simple(guest, id, 16);
    vu_elem_complete(ring_guest_pop_one(guest), 3);
    g_assert_true(ring_guest_take_used(guest, &got, &len));
    g_assert_cmpuint(got, ==, id);
}

static void assert_desc(const struct ring_guest *guest, unsigned slot, uint16_t id, uint32_t len,
                        unsigned flags)
{
    const struct vu_packed_desc *desc = ring_guest_packed_desc(guest, slot);

    g_assert_cmpuint(le16_value(desc->id), ==, id);
    g_assert_cmpuint(le32_value(desc->len), ==, len);
    g_assert_cmphex(le16_value(desc->flags), ==, flags);
}

/* Chains of every length over the end of the ring, many times. */
static void test_wrap(void)
{
    struct ring_guest_desc descs[NUM];
    struct ring_guest guest;
    struct vu_elem *elem;
    uint16_t id;
    uint32_t len;

    ring_guest_init(&guest, NUM, RING_GUEST_PACKED);
    ring_guest_start(&guest);
    for (unsigned round = 0; round < 500; round++) {
        unsigned n = round % NUM + 1;

        for (unsigned i = 0; i < n; i++)
            descs[i] = (struct ring_guest_desc){guest.buffer_gpa + i, 1, i > 1 ? W : 0};
        ring_guest_add(&guest, (uint16_t)(round % 200), descs, n);
        elem = ring_guest_pop_one(&guest);
        g_assert_cmpuint(elem->n_out + elem->n_in, ==, n);
        g_assert_false(vu_vring_has_work(&guest.vring));
        vu_elem_complete(elem, n);
        g_assert_true(ring_guest_take_used(&guest, &id, &len));
        g_assert_cmpuint(id, ==, round % 200);
        g_assert_cmpuint(len, ==, n > 2 ? n - 2 : 0);
    }
    ring_guest_clear(&guest);
}

/* Used descriptors follow each other where chains began, in the order of completion. */
static void test_used_layout(void)
{
    const struct ring_guest_desc three[] = {
        {RING_GUEST_BORDER, 1, 0}, {RING_GUEST_BORDER, 1, 0}, {RING_GUEST_BORDER, 64, W}};
    struct vu_elem *elems[3];
    struct ring_guest guest;

    ring_guest_init(&guest, NUM, RING_GUEST_PACKED);
    ring_guest_start(&guest);
    ring_guest_add(&guest, 9, three + 2, 1);
    ring_guest_add(&guest, 5, three, 3);
    ring_guest_add(&guest, 6, three, 2);
    g_assert_cmpuint(vu_vring_pop(&guest.vring, elems, 3), ==, 3);
    elems[1]->written = 33;
    vu_vring_push(&guest.vring, elems + 1, 1);
    assert_desc(&guest, 0, 5, 33, AVAIL | USED | W);
    assert_desc(&guest, 3, 5, 64, AVAIL | W); /* as it was */
    vu_vring_push(&guest.vring, (struct vu_elem *[]){elems[2], elems[0]}, 2);
    assert_desc(&guest, 3, 6, 0, AVAIL | USED);
    assert_desc(&guest, 5, 9, 0, AVAIL | USED);
    g_assert_cmphex(guest.vring.used_idx, ==, 6);

    /* Over the end, the wrap counters turn. */
    guest.n_descs[9] = guest.n_descs[5] = guest.n_descs[6] = 0;
    guest.used_idx = 6;
    ring_guest_add(&guest, 1, three, 2);
    ring_guest_add(&guest, 2, three + 2, 1);
    g_assert_cmpuint(vu_vring_pop(&guest.vring, elems, 3), ==, 2);
    elems[0]->written = elems[1]->written = 7;
    vu_vring_push(&guest.vring, elems, 2);
    assert_desc(&guest, 6, 1, 0, AVAIL | USED);
    assert_desc(&guest, 1, 2, 7, W);
    ring_guest_clear(&guest);
}

static void test_base(void)
{
    struct ring_guest guest;
    uint32_t base;

    ring_guest_init(&guest, NUM, RING_GUEST_PACKED);
    ring_guest_start(&guest);
    for (unsigned i = 0; i < 5; i++)
        serve_one(&guest, 3); /* ten slots: one lap and three */
    g_assert_cmpint(vu_vring_stop(&guest.vring, NULL, &base), ==, 0);
    g_assert_cmphex(base, ==, 0x00030003);
    ring_guest_start(&guest);
    serve_one(&guest, 3);
    g_assert_cmpint(vu_vring_stop(&guest.vring, NULL, &base), ==, 0);
    g_assert_cmphex(base, ==, 0x00050005);
    ring_guest_clear(&guest);
}

/* Front-ends that know only the first half mean it for both. */
static void test_half_base(void)
{
    struct ring_guest guest;

    ring_guest_init(&guest, NUM, RING_GUEST_PACKED);
    guest.avail_idx = guest.used_idx = 4;
    guest.vring.base = 0x8004;
    ring_guest_start(&guest);
    serve_one(&guest, 0);
    g_assert_cmpuint(guest.used_idx, ==, 6);
    ring_guest_clear(&guest);
}

static void set_driver_event(struct ring_guest *guest, unsigned flags, unsigned slot, bool wrap)
{
    struct vu_packed_event *event = ring_guest_driver_event(guest);

    le16_store(&event->off_wrap, (uint16_t)(slot | (unsigned)wrap << 15));
    le16_store(&event->flags, (uint16_t)flags);
}

static void test_calls(void)
{
    struct vu_elem *elems[3];
    struct ring_guest guest;

    ring_guest_init(&guest, NUM, RING_GUEST_PACKED | RING_GUEST_EVENT);
    ring_guest_start(&guest);
    set_driver_event(&guest, VU_EVENT_DISABLE, 0, true);
    serve_one(&guest, 0); /* the first since the start: always */
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 1);
    serve_one(&guest, 0); /* slots 2, 3 */
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 0);
    set_driver_event(&guest, VU_EVENT_ENABLE, 0, true);
    serve_one(&guest, 0); /* 4, 5 */
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 1);
    set_driver_event(&guest, VU_EVENT_DESC, 1, false);
    serve_one(&guest, 0); /* 6, 0: not there yet */
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 0);
    serve_one(&guest, 0); /* 1, 2 */
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 1);
    serve_one(&guest, 0); /* 3, 4: it is behind */
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 0);

    /* A batch that passes it in its middle and wraps. */
    set_driver_event(&guest, VU_EVENT_DESC, 6, false);
    for (unsigned i = 0; i < 3; i++)
        ring_guest_add_simple(&guest, (uint16_t)i, 16); /* 5, 6, 0, 1, 2, 3 */
    g_assert_cmpuint(vu_vring_pop(&guest.vring, elems, 3), ==, 3);
    vu_vring_push(&guest.vring, elems, 3);
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 1);
    ring_guest_clear(&guest);
}

/* Without EVENT_IDX a driver that asks for a descriptor gets every call. */
static void test_calls_unasked(void)
{
    struct ring_guest guest;

    ring_guest_init(&guest, NUM, RING_GUEST_PACKED);
    ring_guest_start(&guest);
    set_driver_event(&guest, VU_EVENT_DESC, 1, false);
    serve_one(&guest, 0);
    serve_one(&guest, 0);
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 2);
    ring_guest_clear(&guest);
}

static void assert_device_event(const struct ring_guest *guest, unsigned flags, unsigned off_wrap)
{
    const struct vu_packed_event *event = ring_guest_device_event(guest);

    g_assert_cmphex(le16_load(&event->flags), ==, flags);
    if (flags == VU_EVENT_DESC)
        g_assert_cmphex(le16_load(&event->off_wrap), ==, off_wrap);
}

static void test_kicks(void)
{
    struct ring_guest guest;

    ring_guest_init(&guest, NUM, RING_GUEST_PACKED | RING_GUEST_EVENT);
    ring_guest_start(&guest);
    g_assert_false(vu_vring_arm_kick(&guest.vring));
    assert_device_event(&guest, VU_EVENT_DESC, 0x8000);
    vu_vring_disarm_kick(&guest.vring);
    assert_device_event(&guest, VU_EVENT_DISABLE, 0);
    for (unsigned i = 0; i < 5; i++)
        serve_one(&guest, 0);
    g_assert_false(vu_vring_arm_kick(&guest.vring));
    assert_device_event(&guest, VU_EVENT_DESC, 3);
    ring_guest_add_simple(&guest, 0, 16);
    g_assert_true(vu_vring_arm_kick(&guest.vring));
    g_assert_cmpint(vu_vring_stop(&guest.vring, NULL, NULL), ==, 0);
    vu_vring_set_log(&guest.vring, NULL, guest.features & ~RING_GUEST_EVENT);
    ring_guest_start(&guest);
    vu_vring_disarm_kick(&guest.vring);
    assert_device_event(&guest, VU_EVENT_DISABLE, 0);
    g_assert_true(vu_vring_arm_kick(&guest.vring));
    assert_device_event(&guest, VU_EVENT_ENABLE, 0);
    ring_guest_clear(&guest);
}

/* Of the flags in a table only WRITE counts, and all entries do. */
static void test_table_flags(void)
{
    struct ring_guest guest;
    struct vu_elem *elem;

    ring_guest_init(&guest, NUM, RING_GUEST_PACKED | RING_GUEST_INDIRECT);
    ring_guest_start(&guest);
    const uint64_t table = guest.buffer_gpa + 5, buffer = guest.buffer_gpa + 0x1000;
    const struct ring_guest_desc desc = {table, 48, VU_DESC_F_INDIRECT};

    ring_guest_write_table(&guest, table, 0, (struct ring_guest_desc){buffer, 1, 0}, 77);
    ring_guest_write_table(&guest, table, 1, (struct ring_guest_desc){buffer, 2, AVAIL | USED}, 0);
    ring_guest_write_table(&guest, table, 2, (struct ring_guest_desc){buffer, 4, W}, 0xffff);
    ring_guest_add(&guest, 5, &desc, 1);
    elem = ring_guest_pop_one(&guest);
    g_assert_cmpuint(elem->out_len, ==, 3);
    g_assert_cmpuint(elem->in_len, ==, 4);
    g_assert_cmpuint(elem->id, ==, 5);
    vu_elem_complete(elem, 4);
    ring_guest_clear(&guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vring-packed/wrap", test_wrap);
    g_test_add_func("/vring-packed/used-layout", test_used_layout);
    g_test_add_func("/vring-packed/base", test_base);
    g_test_add_func("/vring-packed/half-base", test_half_base);
    g_test_add_func("/vring-packed/calls", test_calls);
    g_test_add_func("/vring-packed/calls-unasked", test_calls_unasked);
    g_test_add_func("/vring-packed/kicks", test_kicks);
    g_test_add_func("/vring-packed/table-flags", test_table_flags);
    return g_test_run();
}
