/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inflight file, and logs as other back-ends and hostile front-ends leave them. What a killed
 * back-end of ours leaves is the business of test-inflight-kill.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring-guest.h"

#define NUM 8

struct rig {
    struct ring_guest guest;
    struct vu_inflight *inflight;
    struct vu_inflight_split *split; /* queue 0's part, of either kind */
    struct vu_inflight_packed *packed;
};

static void rig_init(struct rig *rig, uint64_t features, unsigned queue_size)
{
    struct vu_inflight_desc desc;
    int fd;

    ring_guest_init(&rig->guest, NUM, features);
    g_assert_cmpint(
        vu_inflight_create(2, queue_size, rig->guest.packed, &rig->inflight, &desc, &fd), ==, 0);
    close(fd);
    rig->guest.vring.inflight = rig->inflight;
    rig->split = vu_inflight_split_queue(rig->inflight, 0, NUM);
    rig->packed = vu_inflight_packed_queue(rig->inflight, 0, NUM);
}

static void rig_clear(struct rig *rig)
{
    ring_guest_clear(&rig->guest);
    vu_inflight_destroy(rig->inflight);
}

/* Leaves the requests that are in flight behind, as if killed: the log keeps them. */
static void rig_abandon(struct rig *rig, struct vu_elem **elems, unsigned n)
{
    bool give_up = true;

    g_assert_cmpint(vu_vring_stop(&rig->guest.vring, &give_up, NULL), ==, n > 0 ? -ECANCELED : 0);
    vu_vring_push(&rig->guest.vring, elems, n);
}

/* How many of them another process had before. */
static unsigned assert_popped(struct rig *rig, const uint16_t *ids, unsigned n)
{
    struct vu_elem *elems[NUM];
    unsigned n_again = 0;

    g_assert_cmpuint(vu_vring_pop(&rig->guest.vring, elems, NUM), ==, n);
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmpuint(elems[i]->id, ==, ids[i]);
        g_assert_true(i == n_again || !elems[i]->is_again); /* they are the first */
        n_again += elems[i]->is_again;
    }
    vu_vring_push(&rig->guest.vring, elems, n);
    return n_again;
}

/* --- the file --- */

static void test_create(void)
{
    struct vu_inflight *inflight, *mapped;
    struct vu_inflight_desc desc;
    struct stat st;
    int fd;

    g_assert_cmpint(vu_inflight_create(0, 128, false, &inflight, &desc, &fd), ==, -EINVAL);
    g_assert_cmpint(vu_inflight_create(1, 0, false, &inflight, &desc, &fd), ==, -EINVAL);
    g_assert_cmpint(vu_inflight_create(VU_INFLIGHT_MAX_QUEUES + 1, 1, false, &inflight, &desc, &fd),
                    ==, -EINVAL);
    g_assert_cmpint(vu_inflight_create(1, VU_RING_MAX_SIZE + 1, true, &inflight, &desc, &fd), ==,
                    -EINVAL);
    g_assert_cmpint(vu_inflight_create(3, 128, false, &inflight, &desc, &fd), ==, 0);
    g_assert_cmpuint(desc.n_queues, ==, 3);
    g_assert_cmpuint(desc.queue_size, ==, 128);
    g_assert_cmpuint(desc.mmap_offset, ==, 0);
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_assert_cmpuint(desc.mmap_size, <=, (uint64_t)st.st_size);
    g_assert_cmpint(ftruncate(fd, 0), ==, -1);

    /* As every other back-end has it: the parts follow each other, rounded up to 64 bytes. */
    g_assert_true((uint8_t *)vu_inflight_split_queue(inflight, 1, 128) ==
                  inflight->addr + 128 * 16 + 64);
    g_assert_nonnull(vu_inflight_split_queue(inflight, 2, 64));
    g_assert_null(vu_inflight_split_queue(inflight, 3, 128));
    g_assert_null(vu_inflight_split_queue(inflight, 0, 256));
    g_assert_null(vu_inflight_packed_queue(inflight, 0, 128));
    vu_inflight_split_queue(inflight, 2, 128)->desc[127].counter = 42;
    g_assert_cmpint(vu_inflight_map(&desc, fd, false, &mapped), ==, 0);
    g_assert_cmpuint(vu_inflight_split_queue(mapped, 2, 128)->desc[127].counter, ==, 42);
    vu_inflight_destroy(mapped);
    vu_inflight_destroy(inflight);
    vu_inflight_destroy(NULL);
    close(fd);
}

static void test_map_wrong(void)
{
    const struct vu_inflight_desc good = {.mmap_size = 2 * (16 * 16 + 64), .n_queues = 2, 16, 0};
    struct vu_inflight_desc desc;
    struct vu_inflight *inflight;
    int fd = memfd_create("inflight", MFD_CLOEXEC);

    g_assert_cmpint(ftruncate(fd, 8192), ==, 0);
    desc = good;
    g_assert_cmpint(vu_inflight_map(&desc, fd, false, &inflight), ==, 0);
    vu_inflight_destroy(inflight);
    desc.mmap_offset = 4096 + 64; /* needs no page of its own */
    g_assert_cmpint(vu_inflight_map(&desc, fd, false, &inflight), ==, 0);
    vu_inflight_destroy(inflight);

    g_assert_cmpint(vu_inflight_map(&good, fd, true, &inflight), ==, -EINVAL); /* too small */
    desc = good;
    desc.mmap_size--;
    g_assert_cmpint(vu_inflight_map(&desc, fd, false, &inflight), ==, -EINVAL);
    desc = good;
    desc.mmap_offset = 8192 - 512;
    g_assert_cmpint(vu_inflight_map(&desc, fd, false, &inflight), ==, -EINVAL);
    desc.mmap_offset = 8;
    g_assert_cmpint(vu_inflight_map(&desc, fd, false, &inflight), ==, -EINVAL);
    desc.mmap_offset = UINT64_MAX - 63;
    g_assert_cmpint(vu_inflight_map(&desc, fd, false, &inflight), ==, -EINVAL);
    desc = good;
    desc.n_queues = 0;
    g_assert_cmpint(vu_inflight_map(&desc, fd, false, &inflight), ==, -EINVAL);
    desc.n_queues = 257;
    desc.mmap_size = UINT64_MAX;
    g_assert_cmpint(vu_inflight_map(&desc, fd, false, &inflight), ==, -EINVAL);
    desc = good;
    desc.queue_size = 0;
    g_assert_cmpint(vu_inflight_map(&desc, fd, false, &inflight), ==, -EINVAL);
    desc.queue_size = 32769;
    desc.mmap_size = UINT64_MAX;
    g_assert_cmpint(vu_inflight_map(&desc, fd, false, &inflight), ==, -EINVAL);
    desc = good;
    desc.queue_size = 32768; /* beyond the file, whatever it says */
    desc.mmap_size = UINT64_MAX;
    g_assert_cmpint(vu_inflight_map(&desc, fd, false, &inflight), ==, -EINVAL);
    g_assert_cmpint(vu_inflight_map(&good, -1, false, &inflight), ==, -EBADF);
    close(fd);
}

/* --- good logs --- */

/* What is in the region while requests are in flight, field by field. */
static void test_split_layout(void)
{
    struct vu_elem *elems[3];
    struct rig rig;
    uint32_t base;

    rig_init(&rig, 0, 16);
    ring_guest_start(&rig.guest);
    g_assert_cmpuint(rig.split->version, ==, 1);
    g_assert_cmpuint(rig.split->desc_num, ==, 16);
    for (uint16_t id = 0; id < 6; id += 2)
        ring_guest_add_simple(&rig.guest, id, 16);
    g_assert_cmpuint(vu_vring_pop(&rig.guest.vring, elems, 3), ==, 3);
    g_assert_cmpuint(rig.split->desc[0].inflight, ==, 1);
    g_assert_cmpuint(rig.split->desc[1].inflight, ==, 0);
    g_assert_cmpuint(rig.split->desc[4].counter, ==, 2);
    vu_vring_push(&rig.guest.vring, elems + 1, 2);
    g_assert_cmpuint(rig.split->desc[0].inflight, ==, 1);
    g_assert_cmpuint(rig.split->desc[2].inflight, ==, 0);
    g_assert_cmpuint(rig.split->desc[4].inflight, ==, 0);
    g_assert_cmpuint(rig.split->last_batch_head, ==, 4);
    g_assert_cmpuint(rig.split->desc[4].next, ==, 2);
    g_assert_cmpuint(rig.split->used_idx, ==, 2);
    vu_vring_push(&rig.guest.vring, elems, 1);
    /* A position that the front-end gets to know is not the log's any more. */
    g_assert_cmpint(vu_vring_stop(&rig.guest.vring, NULL, &base), ==, 0);
    g_assert_cmpuint(base, ==, 3);
    g_assert_cmpuint(rig.split->version, ==, 0);
    rig_clear(&rig);
}

static void test_packed_layout(void)
{
    const struct ring_guest_desc three[] = {{RING_GUEST_BORDER, 1, 0},
                                            {RING_GUEST_BORDER, 2, 0},
                                            {RING_GUEST_BORDER, 3, VU_DESC_F_WRITE}};
    struct vu_elem *elems[2];
    struct rig rig;

    rig_init(&rig, RING_GUEST_PACKED, 16);
    ring_guest_start(&rig.guest);
    g_assert_cmpuint(rig.packed->version, ==, 1);
    g_assert_cmpuint(rig.packed->desc_num, ==, 16);
    g_assert_cmpuint(rig.packed->used_wrap_counter, ==, 1);
    ring_guest_add_simple(&rig.guest, 6, 16);
    ring_guest_add(&rig.guest, 7, three, 3);
    g_assert_cmpuint(vu_vring_pop(&rig.guest.vring, elems, 2), ==, 2);
    g_assert_cmpuint(rig.packed->desc[0].inflight, ==, 1);
    g_assert_cmpuint(rig.packed->desc[0].num, ==, 2);
    g_assert_cmpuint(rig.packed->desc[0].last, ==, 1);
    g_assert_cmpuint(rig.packed->desc[2].inflight, ==, 1);
    g_assert_cmpuint(rig.packed->desc[2].num, ==, 3);
    g_assert_cmpuint(rig.packed->desc[2].last, ==, 4);
    g_assert_cmpuint(rig.packed->desc[2].counter, ==, 1);
    g_assert_cmpuint(rig.packed->desc[4].id, ==, 7);
    g_assert_cmpuint(rig.packed->desc[4].len, ==, 3);
    g_assert_cmphex(rig.packed->desc[4].addr, ==, RING_GUEST_BORDER);
    g_assert_cmphex(rig.packed->desc[4].flags, ==, VU_DESC_F_WRITE | VU_DESC_F_AVAIL);
    g_assert_cmpuint(rig.packed->free_head, ==, 5);
    g_assert_cmpuint(rig.packed->old_free_head, ==, 5);
    vu_vring_push(&rig.guest.vring, elems + 1, 1);
    g_assert_cmpuint(rig.packed->desc[2].inflight, ==, 0);
    g_assert_cmpuint(rig.packed->free_head, ==, 2);
    g_assert_cmpuint(rig.packed->old_free_head, ==, 2);
    g_assert_cmpuint(rig.packed->desc[4].next, ==, 5);
    g_assert_cmpuint(rig.packed->used_idx, ==, 3);
    g_assert_cmpuint(rig.packed->old_used_idx, ==, 3);
    vu_vring_push(&rig.guest.vring, elems, 1);
    rig_clear(&rig);
}

/* A base that the front-end did not keep up to date does not matter; the counters' order does. */
static void test_resubmit(gconstpointer features)
{
    const uint16_t all[] = {2, 4, 0, 6};
    struct vu_elem *elems[4];
    struct rig rig;
    uint16_t id;
    uint32_t len;

    rig_init(&rig, GPOINTER_TO_SIZE(features), 8);
    ring_guest_start(&rig.guest);
    ring_guest_add_simple(&rig.guest, 0, 16);
    g_assert_cmpuint(vu_vring_pop(&rig.guest.vring, elems, 4), ==, 1);
    vu_elem_complete(elems[0], 0);
    g_assert_true(ring_guest_take_used(&rig.guest, &id, &len));
    for (unsigned i = 0; i < 3; i++)
        ring_guest_add_simple(&rig.guest, all[i], 16);
    g_assert_cmpuint(vu_vring_pop(&rig.guest.vring, elems, 4), ==, 3);
    rig_abandon(&rig, elems, 3);
    rig.guest.vring.base = ring_guest_first_base(&rig.guest);
    ring_guest_add_simple(&rig.guest, 6, 16);
    ring_guest_start(&rig.guest);
    g_assert_true(vu_vring_has_work(&rig.guest.vring));
    g_assert_true(vu_vring_arm_kick(&rig.guest.vring));
    g_assert_cmpuint(ring_guest_calls(&rig.guest), >=, 1);
    g_assert_cmpuint(assert_popped(&rig, all, 4), ==, 3);
    for (unsigned i = 0; i < 4; i++) {
        g_assert_true(ring_guest_take_used(&rig.guest, &id, &len));
        g_assert_cmpuint(id, ==, all[i]);
    }
    rig_clear(&rig);
}

/* libvhost-user: one request a batch, no list, used_idx 0 until the first comes back. */
static void test_libvhost_user(void)
{
    const uint16_t expected[] = {5, 2};
    struct rig rig;

    rig_init(&rig, 0, NUM);
    for (uint16_t id = 0; id < NUM; id++) {
        const struct ring_guest_desc desc = {RING_GUEST_BORDER, 16, 0};

        if (id != 3 && id != 6)
            ring_guest_add(&rig.guest, id, &desc, 1);
    }
    /* It was given 0, 1, 2, 4, 5 and 7, in some order; 7, 4, 0 came back, and then 1, just now. */
    rig.split->version = 1;
    rig.split->desc_num = NUM;
    rig.split->used_idx = 3;
    rig.split->last_batch_head = 1;
    rig.split->desc[1] = (struct vu_inflight_split_desc){.inflight = 1, .next = 999, .counter = 3};
    rig.split->desc[2] = (struct vu_inflight_split_desc){.inflight = 1, .counter = 900};
    rig.split->desc[5] = (struct vu_inflight_split_desc){.inflight = 1, .counter = 7};
    le16_store(&ring_guest_used(&rig.guest)->idx, 4);
    ring_guest_start(&rig.guest);
    assert_popped(&rig, expected, 2);
    g_assert_cmpuint(rig.split->used_idx, ==, 6);
    rig_clear(&rig);
}

/* --- bad logs --- */

struct bad_log {
    const char *name;
    void (*spoil)(struct rig *rig);
    const char *reason;
    uint64_t features;
};

#define SPOIL(name, statement)                      \
    static void name(struct rig *rig)               \
    {                                               \
        struct vu_inflight_split *s = rig->split;   \
        struct vu_inflight_packed *p = rig->packed; \
                                                    \
        (void)s;                                    \
        (void)p;                                    \
        statement;                                  \
    }

SPOIL(split_version, s->version = 2)
SPOIL(split_desc_num, s->desc_num = NUM - 1)
SPOIL(split_desc_num_large, s->desc_num = 17)
SPOIL(split_beyond, s->desc[NUM].inflight = 1)
SPOIL(split_used_idx, s->used_idx = (uint16_t)(s->used_idx - NUM - 1))
SPOIL(split_batch_beyond, s->used_idx = (uint16_t)(s->used_idx - 1); s->last_batch_head = NUM)
SPOIL(split_batch_next, s->used_idx = (uint16_t)(s->used_idx - 2); s->last_batch_head = 1;
      s->desc[1].next = 60000)
SPOIL(split_batch_loop, s->used_idx = (uint16_t)(s->used_idx - 3); s->last_batch_head = 1;
      s->desc[1].next = 2; s->desc[2].next = 1)
SPOIL(no_place, rig->guest.vring.index = 2)
SPOIL(packed_version, p->version = 7)
SPOIL(packed_desc_num, p->desc_num = 0)
SPOIL(packed_used_idx, p->used_idx = NUM)
SPOIL(packed_old_used_idx, p->old_used_idx = 0xffff)
SPOIL(packed_wrap, p->old_used_wrap_counter = 2)
SPOIL(packed_free_loop, p->desc[p->old_free_head].next = p->old_free_head)
SPOIL(packed_free_short, p->desc[p->old_free_head].next = 0xffff)
SPOIL(packed_free_in_flight, p->old_free_head = 1)
SPOIL(packed_num_zero, p->desc[0].num = 0)
SPOIL(packed_num_large, p->desc[0].num = NUM + 1)
SPOIL(packed_num_into_next, p->desc[0].num = 3)
SPOIL(packed_last, p->desc[2].last = 2)
SPOIL(packed_next, p->desc[0].next = 16)
SPOIL(packed_marked, p->desc[3].inflight = 1)
SPOIL(packed_unmarked, p->desc[2].inflight = 0)

static const struct bad_log bad_logs[] = {
    {"split/version", split_version, "its version is unknown", 0},
    {"split/desc-num", split_desc_num, "its number of descriptors is not the ring's", 0},
    {"split/desc-num-large", split_desc_num_large, "its number of descriptors", 0},
    {"split/beyond", split_beyond, "a request beyond the ring is in flight", 0},
    {"split/used-idx", split_used_idx, "its used index is not of this ring", 0},
    {"split/batch-beyond", split_batch_beyond, "its last batch leads beyond the ring", 0},
    {"split/batch-next", split_batch_next, "its last batch leads beyond the ring", 0},
    {"split/batch-loop", split_batch_loop, "its last batch loops", 0},
    {"split/no-place", no_place, "no place for this ring", 0},
    {"packed/no-place", no_place, "no place for this ring", RING_GUEST_PACKED},
    {"packed/version", packed_version, "its version is unknown", RING_GUEST_PACKED},
    {"packed/desc-num", packed_desc_num, "its number of descriptors", RING_GUEST_PACKED},
    {"packed/used-idx", packed_used_idx, "its used index is not", RING_GUEST_PACKED},
    {"packed/old-used-idx", packed_old_used_idx, "its used index is not", RING_GUEST_PACKED},
    {"packed/wrap", packed_wrap, "its used index is not", RING_GUEST_PACKED},
    {"packed/free-loop", packed_free_loop, "its free list loops", RING_GUEST_PACKED},
    {"packed/free-short", packed_free_short, "entries are lost", RING_GUEST_PACKED},
    {"packed/free-in-flight", packed_free_in_flight, "do not belong to it", RING_GUEST_PACKED},
    {"packed/num-zero", packed_num_zero, "a bad number of descriptors", RING_GUEST_PACKED},
    {"packed/num-large", packed_num_large, "a bad number of descriptors", RING_GUEST_PACKED},
    {"packed/num-into-next", packed_num_into_next, "in flight is another", RING_GUEST_PACKED},
    {"packed/last", packed_last, "in flight is another", RING_GUEST_PACKED},
    {"packed/next", packed_next, "do not belong to it", RING_GUEST_PACKED},
    {"packed/marked", packed_marked, "a bad number of descriptors", RING_GUEST_PACKED},
    {"packed/unmarked", packed_unmarked, "entries are lost", RING_GUEST_PACKED},
};

/* Two requests of two descriptors in flight, and one that came back, is what is spoilt. */
static void test_bad_log(gconstpointer data)
{
    const struct bad_log *bad = data;
    struct vu_elem *elems[3];
    struct rig rig;
    uint16_t id;
    uint32_t len;

    rig_init(&rig, bad->features, 16);
    ring_guest_start(&rig.guest);
    for (id = 0; id < 6; id += 2)
        ring_guest_add_simple(&rig.guest, id, 16);
    g_assert_cmpuint(vu_vring_pop(&rig.guest.vring, elems, 3), ==, 3);
    vu_elem_complete(elems[2], 0);
    g_assert_true(ring_guest_take_used(&rig.guest, &id, &len));
    rig_abandon(&rig, elems, 2);
    bad->spoil(&rig);
    ring_guest_log_begin();
    g_assert_cmpint(vu_vring_start(&rig.guest.vring, rig.guest.memory, NULL), ==, -EBADMSG);
    g_autofree char *log = ring_guest_log_end();

    g_test_message("%s", log);
    g_assert_cmpuint(ring_guest_count_lines(log), ==, 1);
    g_assert_nonnull(strstr(log, "cannot start a ring of 8: inflight log: "));
    g_assert_nonnull(strstr(log, bad->reason));
    /* Nothing stays behind: without the log the ring starts. */
    rig.guest.vring.inflight = NULL;
    ring_guest_start(&rig.guest);
    rig_clear(&rig);
}

/* A good log with a few bytes changed: a ring starts on it or does not, and works. */
static void test_garbage(gconstpointer features)
{
    unsigned n_started = 0;

    for (unsigned round = 0; round < 2000; round++) {
        struct vu_elem *elems[NUM];
        struct rig rig;
        unsigned n;

        rig_init(&rig, GPOINTER_TO_SIZE(features), NUM);
        ring_guest_start(&rig.guest);
        for (uint16_t id = 0; id < NUM; id += 2)
            ring_guest_add_simple(&rig.guest, id, 16);
        g_assert_cmpuint(vu_vring_pop(&rig.guest.vring, elems, 3), ==, 3);
        vu_elem_complete(elems[2], 0);
        rig_abandon(&rig, elems, 2);
        for (int i = g_test_rand_int_range(0, 3); i >= 0; i--)
            rig.inflight->addr[g_test_rand_int_range(10, 32 * NUM)] =
                (uint8_t)g_test_rand_int_range(0, 12);
        ring_guest_log_begin();
        if (vu_vring_start(&rig.guest.vring, rig.guest.memory, NULL) == 0) {
            n_started++;
            n = vu_vring_pop(&rig.guest.vring, elems, NUM);
            vu_vring_push(&rig.guest.vring, elems, n);
        }
        g_free(ring_guest_log_end());
        rig_clear(&rig);
    }
    g_test_message("%u of 2000 started", n_started);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/inflight/create", test_create);
    g_test_add_func("/inflight/map-wrong", test_map_wrong);
    g_test_add_func("/inflight/split/layout", test_split_layout);
    g_test_add_func("/inflight/packed/layout", test_packed_layout);
    g_test_add_func("/inflight/split/libvhost-user", test_libvhost_user);
    g_test_add_data_func("/inflight/split/resubmit", GSIZE_TO_POINTER(0), test_resubmit);
    g_test_add_data_func("/inflight/packed/resubmit", GSIZE_TO_POINTER(RING_GUEST_PACKED),
                         test_resubmit);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad_logs); i++) {
        g_autofree char *path = g_strdup_printf("/inflight/bad-log/%s", bad_logs[i].name);

        g_test_add_data_func(path, &bad_logs[i], test_bad_log);
    }
    g_test_add_data_func("/inflight/split/garbage", GSIZE_TO_POINTER(0), test_garbage);
    g_test_add_data_func("/inflight/packed/garbage", GSIZE_TO_POINTER(RING_GUEST_PACKED),
                         test_garbage);
    return g_test_run();
}
