/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings made to hurt: every one ends as one log line that names the ring and the descriptor, one
 * signal on err, and a ring that pops nothing more. What was popped before comes back as always.
 */
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ring-guest.h"

#define NUM      8
#define W        VU_DESC_F_WRITE
#define NEXT     VU_DESC_F_NEXT
#define INDIRECT VU_DESC_F_INDIRECT
#define BUFFER   (RING_GUEST_GPA + 0x8000)
#define TABLE    (RING_GUEST_GPA + 0x10000)

struct hostile_case {
    const char *name;
    void (*write)(struct ring_guest *guest);
    const char *log; /* what the line must say */
    bool split, packed;
    bool without_indirect; /* the feature is not negotiated */
    bool in_flight;        /* a good request is in flight, rather than in the same batch */
};

static void add(struct ring_guest *guest, uint64_t gpa, uint32_t len, uint16_t flags)
{
    const struct ring_guest_desc desc = {gpa, len, flags};

    ring_guest_add(guest, 2, &desc, 1);
}

/* A table of n descriptors, chained where the kind needs that. */
static void write_table(struct ring_guest *guest, const struct ring_guest_desc *descs, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct ring_guest_desc desc = descs[i];

        desc.flags |= i + 1 < n && !guest->packed ? NEXT : 0;
        ring_guest_write_table(guest, TABLE, i, desc, (uint16_t)(i + 1));
    }
}

static void write_uniform_table(struct ring_guest *guest, struct ring_guest_desc desc, unsigned n)
{
    g_autofree struct ring_guest_desc *descs = g_new(struct ring_guest_desc, n);

    for (unsigned i = 0; i < n; i++)
        descs[i] = desc;
    write_table(guest, descs, n);
}

static void below_memory(struct ring_guest *guest)
{
    add(guest, 0x1000, 16, 0);
}

static void beyond_memory(struct ring_guest *guest)
{
    add(guest, RING_GUEST_END - 8, 9, W);
}

static void wraps(struct ring_guest *guest)
{
    add(guest, UINT64_MAX - 7, 16, 0);
}

static void huge(struct ring_guest *guest)
{
    add(guest, BUFFER, UINT32_MAX, 0);
}

static void readable_last(struct ring_guest *guest)
{
    const struct ring_guest_desc descs[] = {{BUFFER, 16, 0}, {BUFFER, 16, W}, {BUFFER + 64, 8, 0}};

    ring_guest_add(guest, 2, descs, 3);
}

static void readable_last_in_table(struct ring_guest *guest)
{
    const struct ring_guest_desc descs[] = {{BUFFER, 16, W}, {BUFFER + 64, 8, 0}};

    write_table(guest, descs, 2);
    add(guest, TABLE, 32, INDIRECT);
}

static void indirect_unasked(struct ring_guest *guest)
{
    write_uniform_table(guest, (struct ring_guest_desc){BUFFER, 16, 0}, 1);
    add(guest, TABLE, 16, INDIRECT);
}

static void indirect_next(struct ring_guest *guest)
{
    const struct ring_guest_desc descs[] = {{TABLE, 16, INDIRECT}, {BUFFER, 16, W}};

    write_uniform_table(guest, (struct ring_guest_desc){BUFFER, 16, 0}, 1);
    ring_guest_add(guest, 2, descs, 2);
}

static void indirect_empty(struct ring_guest *guest)
{
    add(guest, TABLE, 0, INDIRECT);
}

static void indirect_short(struct ring_guest *guest)
{
    add(guest, TABLE, 8, INDIRECT);
}

static void indirect_odd(struct ring_guest *guest)
{
    write_uniform_table(guest, (struct ring_guest_desc){BUFFER, 16, 0}, 4);
    add(guest, TABLE, 63, INDIRECT);
}

static void indirect_long(struct ring_guest *guest)
{
    add(guest, TABLE, (VU_CHAIN_MAX_DESCS + 1) * 16, INDIRECT);
}

static void indirect_outside(struct ring_guest *guest)
{
    add(guest, RING_GUEST_END - 16, 32, INDIRECT);
}

static void indirect_nested(struct ring_guest *guest)
{
    const struct ring_guest_desc descs[] = {{BUFFER, 16, 0}, {TABLE, 32, INDIRECT}};

    write_table(guest, descs, 2);
    add(guest, TABLE, 32, INDIRECT);
}

static void bad_entry_in_table(struct ring_guest *guest)
{
    const struct ring_guest_desc descs[] = {{BUFFER, 16, 0}, {0x1234, 77, 0}};

    write_table(guest, descs, 2);
    add(guest, TABLE, 32, INDIRECT);
}

static void too_long(struct ring_guest *guest)
{
    const struct ring_guest_desc descs[] = {{BUFFER, 16, 0},
                                            {TABLE, VU_CHAIN_MAX_DESCS * 16, INDIRECT}};

    write_uniform_table(guest, (struct ring_guest_desc){BUFFER, 4, 0}, VU_CHAIN_MAX_DESCS);
    ring_guest_add(guest, 2, descs, 2);
}

/* Descriptors that all straddle two regions. */
static void too_many_pieces(struct ring_guest *guest)
{
    write_uniform_table(guest, (struct ring_guest_desc){RING_GUEST_BORDER - 8, 16, 0},
                        VU_CHAIN_MAX_DESCS);
    add(guest, TABLE, VU_CHAIN_MAX_DESCS * 16, INDIRECT);
}

static void head_beyond(struct ring_guest *guest)
{
    ring_guest_offer(guest, NUM);
}

static void next_beyond(struct ring_guest *guest)
{
    *ring_guest_split_desc(guest, 2) = (struct vu_split_desc){
        .addr = le64_from(BUFFER), .len = le32_from(4), le16_from(NEXT), le16_from(NUM)};
    ring_guest_offer(guest, 2);
}

static void loop(struct ring_guest *guest)
{
    for (unsigned i = 2; i < 4; i++)
        *ring_guest_split_desc(guest, i) = (struct vu_split_desc){.addr = le64_from(BUFFER),
                                                                  .len = le32_from(4),
                                                                  le16_from(NEXT),
                                                                  le16_from((uint16_t)(5 - i))};
    ring_guest_offer(guest, 2);
}

static void loop_of_nothing(struct ring_guest *guest)
{
    *ring_guest_split_desc(guest, 2) =
        (struct vu_split_desc){.flags = le16_from(NEXT), .next = le16_from(2)};
    ring_guest_offer(guest, 2);
}

static void table_next_beyond(struct ring_guest *guest)
{
    ring_guest_write_table(guest, TABLE, 0, (struct ring_guest_desc){BUFFER, 4, NEXT}, 2);
    add(guest, TABLE, 32, INDIRECT);
}

static void table_loop(struct ring_guest *guest)
{
    ring_guest_write_table(guest, TABLE, 0, (struct ring_guest_desc){BUFFER, 4, NEXT}, 1);
    ring_guest_write_table(guest, TABLE, 1, (struct ring_guest_desc){BUFFER, 4, NEXT}, 0);
    add(guest, TABLE, 32, INDIRECT);
}

static void avail_far_ahead(struct ring_guest *guest)
{
    guest->avail_idx = (uint16_t)(guest->avail_idx + NUM);
    ring_guest_offer(guest, 0);
}

static void avail_behind(struct ring_guest *guest)
{
    guest->avail_idx = (uint16_t)(guest->avail_idx - 2);
    ring_guest_offer(guest, 0);
}

/* All that is in flight is offered again. */
static void avail_twice(struct ring_guest *guest)
{
    for (unsigned i = 0; i < NUM; i++)
        ring_guest_offer(guest, 0);
}

static void endless_chain(struct ring_guest *guest)
{
    struct ring_guest_desc descs[NUM];

    for (unsigned i = 0; i < NUM; i++)
        descs[i] = (struct ring_guest_desc){BUFFER, 4, NEXT};
    ring_guest_add(guest, 2, descs, NUM);
}

static void into_flight(struct ring_guest *guest)
{
    struct ring_guest_desc descs[NUM];

    for (unsigned i = 0; i < NUM; i++)
        descs[i] = (struct ring_guest_desc){BUFFER, 4, 0};
    ring_guest_add(guest, 2, descs, NUM);
}

static const struct hostile_case cases[] = {
    {"below-memory", below_memory, "outside guest memory: descriptor 2: address 0x1000, length 16,",
     true, true},
    {"beyond-memory", beyond_memory, "outside guest memory: descriptor 2: address 0x401ffff8,",
     true, true},
    {"wraps", wraps, "outside guest memory: descriptor 2: address 0xfffffffffffffff8,", true, true},
    {"huge", huge, "outside guest memory: descriptor 2: address 0x40008000, length 4294967295,",
     true, true},
    {"readable-last", readable_last,
     "readable after writable: descriptor 4: address 0x40008040, length 8,", true, true},
    {"readable-last-in-table", readable_last_in_table,
     "readable after writable: descriptor 1 of the indirect table at 0x40010000: ", true, true},
    {"indirect-unasked", indirect_unasked,
     "indirect table without the feature: descriptor 2: ", true, true, true},
    {"indirect-next", indirect_next, "indirect table with a next descriptor: descriptor 2: ", true,
     true},
    {"indirect-empty", indirect_empty, "indirect table of a bad length: descriptor 2: ", true,
     true},
    {"indirect-short", indirect_short, "indirect table of a bad length: descriptor 2: ", true,
     true},
    {"indirect-odd", indirect_odd, "indirect table of a bad length: descriptor 2: ", true, true},
    {"indirect-long", indirect_long, "indirect table too long: descriptor 2: ", true, true},
    {"indirect-outside", indirect_outside,
     "indirect table outside guest memory: descriptor 2: ", true, true},
    {"indirect-nested", indirect_nested,
     "indirect table inside an indirect table: descriptor 1 of the indirect table at 0x40010000: ",
     true, true},
    {"bad-entry-in-table", bad_entry_in_table,
     "outside guest memory: descriptor 1 of the indirect table at 0x40010000: address 0x1234, "
     "length 77,",
     true, true},
    {"too-long", too_long, "chain too long: descriptor 1023 of the indirect table", true, true},
    {"too-many-pieces", too_many_pieces, "chain in too many pieces: descriptor 544 of the indirect",
     true, true},
    {"head-beyond", head_beyond, "avail entry 1: head 8 of 8", true, false},
    {"next-beyond", next_beyond,
     "next beyond the ring: descriptor 2: address 0x40008000, length 4, flags 0x1, next 8", true,
     false},
    {"loop", loop, "chain loops: descriptor 3: ", true, false},
    {"loop-of-nothing", loop_of_nothing, "chain loops: descriptor 2: ", true, false},
    {"table-next-beyond", table_next_beyond, "next beyond the indirect table: descriptor 0 of ",
     true, false},
    {"table-loop", table_loop, "loop in an indirect table: descriptor 1 of ", true, false},
    {"avail-far-ahead", avail_far_ahead, "avail index 10: 9 requests more, with 1 of 8 in flight",
     true, false, .in_flight = true},
    {"avail-behind", avail_behind, "avail index 0: 65535 requests more", true, false,
     .in_flight = true},
    {"avail-twice", avail_twice, "avail index 9: 8 requests more, with 1 of 8 in flight", true,
     false, .in_flight = true},
    {"endless-chain", endless_chain, "more descriptors than the ring has: descriptor 0: ", false,
     true, .in_flight = true},
    {"into-flight", into_flight, "more descriptors than the ring has: descriptor 0: ", false, true,
     .in_flight = true},
};

static void run_case(const struct hostile_case *hostile, uint64_t features)
{
    struct vu_elem *elem = NULL, *none = NULL;
    struct ring_guest guest;
    uint16_t id;
    uint32_t len;

    if (!hostile->without_indirect)
        features |= RING_GUEST_INDIRECT;
    ring_guest_init(&guest, NUM, features);
    ring_guest_start(&guest);
    ring_guest_add_simple(&guest, 0, 16);
    if (hostile->in_flight)
        g_assert_cmpuint(vu_vring_pop(&guest.vring, &elem, 1), ==, 1);
    hostile->write(&guest);
    ring_guest_log_begin();
    for (unsigned i = 0; i < 2; i++) {
        struct vu_elem *elems[4];
        unsigned n = vu_vring_pop(&guest.vring, elems, 4);

        g_assert_cmpuint(n, ==, elem == NULL ? 1 : 0);
        if (n == 1)
            elem = elems[0];
    }
    g_autofree char *log = ring_guest_log_end();

    g_test_message("%s", log);
    g_assert_cmpuint(ring_guest_count_lines(log), ==, 1);
    g_assert_true(g_str_has_prefix(log, "error: test: queue 0: "));
    if (strstr(log, hostile->log) == NULL)
        g_error("expected \"%s\" in %s", hostile->log, log);
    g_assert_cmpuint(ring_guest_errors(&guest), ==, 1);
    g_assert_false(vu_vring_has_work(&guest.vring));
    g_assert_false(vu_vring_arm_kick(&guest.vring));
    vu_vring_disarm_kick(&guest.vring);
    g_assert_cmpuint(elem->in_len, ==, 16);
    vu_vring_push(&guest.vring, &elem, 1);
    g_assert_false(ring_guest_take_used(&guest, &id, &len));
    g_assert_cmpuint(vu_vring_pop(&guest.vring, &none, 1), ==, 0);
    g_assert_cmpuint(ring_guest_errors(&guest), ==, 0);
    ring_guest_clear(&guest);
}

static void test_split(gconstpointer hostile)
{
    run_case(hostile, 0);
}

static void test_packed(gconstpointer hostile)
{
    run_case(hostile, RING_GUEST_PACKED);
}

/* A chain of more than 4 GiB, all of it in memory. */
static void test_too_large(gconstpointer features)
{
    const uint64_t len = UINT64_C(3) << 30;
    struct ring_guest guest;
    struct vu_region_desc region;
    struct vu_memory *memory;
    struct vu_elem *elem;

    ring_guest_init(&guest, NUM, GPOINTER_TO_SIZE(features));
    g_assert_cmpint(vu_shmem_add(&guest.shmem, RING_GUEST_END, len), ==, 0);
    region = vu_shmem_describe(&guest.shmem.regions[2]);
    g_assert_cmpint(
        vu_memory_create_added(guest.memory, &region, guest.shmem.regions[2].fd, &memory), ==, 0);
    vu_memory_unref(guest.memory);
    guest.memory = memory;
    ring_guest_start(&guest);
    const struct ring_guest_desc descs[] = {{RING_GUEST_END, (uint32_t)len, 0},
                                            {RING_GUEST_END, (uint32_t)len, W}};

    ring_guest_add(&guest, 0, descs, 2);
    ring_guest_log_begin();
    g_assert_cmpuint(vu_vring_pop(&guest.vring, &elem, 1), ==, 0);
    g_autofree char *log = ring_guest_log_end();

    g_assert_nonnull(strstr(log, "chain of more than 4 GiB: descriptor 1: "));
    ring_guest_clear(&guest);
}

/* --- memory that changes while it is read --- */

struct flipper {
    void *at;
    union {
        struct vu_split_desc split;
        struct vu_packed_desc packed;
        uint64_t words[2];
    } good, bad;
    bool started, stop; /* atomic */
};

/* As the guest is no program of ours, the thread sanitizer is not told of what it does. */
__attribute__((no_sanitize("thread"))) static void *flip(void *arg)
{
    struct flipper *flipper = arg;
    volatile uint64_t *at = flipper->at;

    __atomic_store_n(&flipper->started, true, __ATOMIC_RELAXED);
    while (!__atomic_load_n(&flipper->stop, __ATOMIC_RELAXED)) {
        at[0] = flipper->bad.words[0];
        at[1] = flipper->bad.words[1];
        at[0] = flipper->good.words[0];
        at[1] = flipper->good.words[1];
    }
    return NULL;
}

/*
 * A descriptor that is good one moment and points far outside the next: whatever is popped lies in
 * memory, whole. With a table the descriptor is an entry of it.
 */
static void run_flip(uint64_t features, bool table)
{
    const uint64_t limit = 2 * RING_GUEST_REGION;
    struct flipper flipper = {0};
    struct ring_guest guest;
    struct vu_elem *elem;
    pthread_t thread;
    unsigned n_popped = 0;

    ring_guest_init(&guest, NUM, features | RING_GUEST_INDIRECT);
    ring_guest_log_begin();
    if (guest.packed) {
        flipper.good.packed = (struct vu_packed_desc){.addr = le64_from(BUFFER),
                                                      .len = le32_from(0x1000),
                                                      .flags = le16_from(VU_DESC_F_AVAIL)};
        flipper.bad.packed = flipper.good.packed;
        flipper.bad.packed.len = le32_from(0x7fffffff);
    } else {
        flipper.good.split =
            (struct vu_split_desc){.addr = le64_from(BUFFER), .len = le32_from(0x1000)};
        flipper.bad.split = flipper.good.split;
        flipper.bad.split.len = le32_from(0x7fffffff);
    }
    flipper.at =
        table ? ring_guest_at(&guest, TABLE, 16) : ring_guest_at(&guest, RING_GUEST_GPA, 16);
    memcpy(flipper.at, &flipper.good, sizeof(flipper.good));
    g_assert_cmpint(pthread_create(&thread, NULL, flip, &flipper), ==, 0);
    while (!__atomic_load_n(&flipper.started, __ATOMIC_RELAXED))
        g_usleep(100);
    for (unsigned round = 0; round < 5000; round++) {
        if (table) {
            guest.avail_idx = guest.packed ? 0 : guest.avail_idx;
            guest.avail_wrap = true;
            add(&guest, TABLE, 16, INDIRECT);
        } else if (!guest.packed) {
            ring_guest_offer(&guest, 0);
        }
        ring_guest_start(&guest);
        if (vu_vring_pop(&guest.vring, &elem, 1) == 1) {
            n_popped++;
            g_assert_cmpuint(elem->n_out + elem->n_in, ==, 1);
            g_assert_cmpuint(elem->out_len + elem->in_len, ==, elem->iov[0].iov_len);
            g_assert_cmpuint(elem->iov[0].iov_len, <=, limit);
            vu_elem_complete(elem, 0);
        }
        g_assert_cmpint(vu_vring_stop(&guest.vring, NULL, NULL), ==, 0);
        guest.vring.base = guest.packed ? ring_guest_first_base(&guest) : guest.avail_idx;
    }
    __atomic_store_n(&flipper.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    g_autofree char *log = ring_guest_log_end();

    g_test_message("%u popped, %u refused", n_popped, ring_guest_count_lines(log));
    ring_guest_clear(&guest);
}

static void test_flip(gconstpointer features)
{
    run_flip(GPOINTER_TO_SIZE(features), false);
    run_flip(GPOINTER_TO_SIZE(features), true);
}

/* --- files cut off under us --- */

static void assert_truncated(struct ring_guest *guest, const char *what)
{
    struct vu_elem *elem;

    ring_guest_log_begin();
    g_assert_cmpuint(vu_vring_pop(&guest->vring, &elem, 1), ==, 0);
    g_assert_cmpuint(vu_vring_pop(&guest->vring, &elem, 1), ==, 0);
    g_autofree char *log = ring_guest_log_end();
    g_autofree char *want =
        g_strdup_printf("error: test: queue 0: %s truncated by its owner; it is stopped\n", what);

    g_assert_cmpstr(log, ==, want);
    g_assert_cmpuint(ring_guest_errors(guest), ==, 1);
}

static void test_truncated_memory(gconstpointer features)
{
    const uint64_t len = 0x10000;
    struct ring_guest guest;
    struct vu_region_desc region;
    struct vu_memory *memory;
    int fd = memfd_create("memory", MFD_CLOEXEC);

    g_assert_cmpint(ftruncate(fd, (off_t)len), ==, 0);
    ring_guest_init(&guest, NUM, GPOINTER_TO_SIZE(features) | RING_GUEST_INDIRECT);
    region = (struct vu_region_desc){.gpa = RING_GUEST_END, .size = len, .uva = 0x10000};
    g_assert_cmpint(vu_memory_create_added(guest.memory, &region, fd, &memory), ==, 0);
    vu_memory_unref(guest.memory);
    guest.memory = memory;
    ring_guest_start(&guest);
    g_assert_cmpint(ftruncate(fd, 0), ==, 0);
    /* The table reads as zeros: a chain of nothing, were it believed. */
    add(&guest, RING_GUEST_END, 16, INDIRECT);
    assert_truncated(&guest, "guest memory was");
    ring_guest_clear(&guest);
    close(fd);
}

static void test_truncated_inflight(gconstpointer features)
{
    struct vu_inflight_desc desc = {.mmap_size = 0x2000, .n_queues = 1, .queue_size = NUM};
    struct ring_guest guest;
    int fd = memfd_create("inflight", MFD_CLOEXEC);

    g_assert_cmpint(ftruncate(fd, 0x2000), ==, 0);
    ring_guest_init(&guest, NUM, GPOINTER_TO_SIZE(features));
    g_assert_cmpint(vu_inflight_map(&desc, fd, guest.packed, &guest.vring.inflight), ==, 0);
    ring_guest_start(&guest);
    g_assert_cmpint(ftruncate(fd, 0), ==, 0);
    ring_guest_add_simple(&guest, 0, 16);
    assert_truncated(&guest, "the inflight file was");
    g_assert_cmpint(vu_vring_stop(&guest.vring, NULL, NULL), ==, 0);
    vu_inflight_destroy(guest.vring.inflight);
    guest.vring.inflight = NULL;
    ring_guest_clear(&guest);
    close(fd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *split = g_strdup_printf("/vring-hostile/split/%s", cases[i].name);
        g_autofree char *packed = g_strdup_printf("/vring-hostile/packed/%s", cases[i].name);

        if (cases[i].split)
            g_test_add_data_func(split, &cases[i], test_split);
        if (cases[i].packed)
            g_test_add_data_func(packed, &cases[i], test_packed);
    }
    ring_guest_add_tests("vring-hostile", "too-large", test_too_large);
    ring_guest_add_tests("vring-hostile", "flip", test_flip);
    ring_guest_add_tests("vring-hostile", "truncated-memory", test_truncated_memory);
    ring_guest_add_tests("vring-hostile", "truncated-inflight", test_truncated_inflight);
    return g_test_run();
}
