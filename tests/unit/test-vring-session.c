/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session does with rings of both kinds: start and stop, bases, memory and logs that change,
 * signals, and rings that break.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ring-guest.h"

#define W VU_DESC_F_WRITE

static void test_stop_and_go(gconstpointer features)
{
    struct ring_guest guest;
    struct vu_elem *elem;
    bool give_up = true;
    uint32_t base;

    ring_guest_init(&guest, 4, GPOINTER_TO_SIZE(features));
    /* Never started: its base comes back. */
    g_assert_cmpint(vu_vring_stop(&guest.vring, NULL, &base), ==, 0);
    g_assert_cmphex(base, ==, ring_guest_first_base(&guest));
    g_assert_cmpuint(vu_vring_pop(&guest.vring, &elem, 1), ==, 0);
    g_assert_false(vu_vring_arm_kick(&guest.vring));
    for (unsigned i = 0; i < 7; i++) {
        vu_vring_set_enabled(&guest.vring, false);
        ring_guest_start(&guest);
        ring_guest_add_simple(&guest, 0, 16);
        g_assert_cmpuint(vu_vring_pop(&guest.vring, &elem, 1), ==, 0);
        vu_vring_set_enabled(&guest.vring, true);
        vu_elem_complete(ring_guest_pop_one(&guest), 1);
        ring_guest_assert_used(&guest, 0, 1);
        g_assert_cmpint(vu_vring_stop(&guest.vring, NULL, &base), ==, 0);
        g_assert_cmphex(base, ==, guest.vring.base);
        if (guest.packed)
            g_assert_cmphex(base, ==,
                            (uint32_t)(guest.avail_idx | guest.avail_wrap << 15) * 0x10001u);
        else
            g_assert_cmphex(base, ==, guest.avail_idx);
    }

    /* A stop that is not waited for: the request comes back later, to a ring that runs anew. */
    ring_guest_start(&guest);
    ring_guest_add_simple(&guest, 0, 16);
    elem = ring_guest_pop_one(&guest);
    g_assert_cmpint(vu_vring_stop(&guest.vring, &give_up, NULL), ==, -ECANCELED);
    ring_guest_start(&guest);
    vu_elem_complete(elem, 1);
    ring_guest_assert_no_used(&guest);
    ring_guest_clear(&guest);
}

/* User Mode Linux sends base 0 for a fresh packed ring; a driver may have filled it before the
 * start. */
static void test_base_without_wrap(gconstpointer features)
{
    struct ring_guest guest;

    for (unsigned n_before = 0; n_before < 3; n_before++) {
        ring_guest_init(&guest, 8, GPOINTER_TO_SIZE(features));
        guest.vring.base = 0;
        for (unsigned i = 0; i < n_before; i++)
            ring_guest_add_simple(&guest, 0, 16);
        ring_guest_start(&guest);
        for (unsigned i = 0; i < 3; i++) {
            if (i >= n_before)
                ring_guest_add_simple(&guest, 0, 16);
            vu_elem_complete(ring_guest_pop_one(&guest), 1);
        }
        g_assert_cmpint(vu_vring_stop(&guest.vring, NULL, NULL), ==, 0);
        ring_guest_clear(&guest);
    }
}

/* The third lap begins inside a chain, so that slot 0 keeps what the driver wrote, and ends with
 * the ring: base 0, and nothing to pop. The driver is at work on the next lap meanwhile, all of it
 * one batch, whose first flags come last. */
static void test_base_after_crossing(gconstpointer features)
{
    struct ring_guest guest;
    struct vu_packed_desc *first = NULL;
    struct vu_elem *elem;
    le16_t new_flags = {0};
    uint32_t base;

    ring_guest_init(&guest, 4, GPOINTER_TO_SIZE(features));
    ring_guest_start(&guest);
    for (unsigned n = 0; n < 4 + 3 + 1 + 3; n++) {
        const struct ring_guest_desc descs[] = {{guest.buffer_gpa, 8, 0}, {guest.buffer_gpa, 8, 0}};

        ring_guest_add(&guest, 0, descs, n == 7 ? 2 : 1);
        vu_elem_complete(ring_guest_pop_one(&guest), 0);
        ring_guest_assert_used(&guest, 0, 0);
    }
    g_assert_cmpint(vu_vring_stop(&guest.vring, NULL, &base), ==, 0);
    if (guest.packed)
        g_assert_cmphex(base, ==, 0);
    if (guest.packed) {
        const struct ring_guest_desc descs[4] = {{guest.buffer_gpa, 8, W}, {0}, {0}, {0}};
        le16_t old_flags;

        first = ring_guest_packed_desc(&guest, 0);
        old_flags = first->flags;
        ring_guest_add(&guest, 0, descs, 4);
        new_flags = first->flags;
        first->flags = old_flags;
    }
    ring_guest_start(&guest);
    g_assert_cmpuint(vu_vring_pop(&guest.vring, &elem, 1), ==, 0);
    if (guest.packed)
        first->flags = new_flags;
    else
        ring_guest_add_simple(&guest, 0, 16);
    vu_elem_complete(ring_guest_pop_one(&guest), 1);
    ring_guest_assert_used(&guest, 0, 1);
    ring_guest_clear(&guest);
}

static void test_wrong_start(gconstpointer features)
{
    struct ring_guest guest;
    struct vu_vring *vring = &guest.vring;
    uint64_t desc_uva, used_uva;

    ring_guest_init(&guest, 8, GPOINTER_TO_SIZE(features));
    desc_uva = vring->desc_uva;
    used_uva = vring->used_uva;
    ring_guest_log_begin();
    vring->num = 0;
    g_assert_cmpint(vu_vring_start(vring, guest.memory, NULL), ==, -EINVAL);
    vring->num = VU_RING_MAX_SIZE * 2;
    g_assert_cmpint(vu_vring_start(vring, guest.memory, NULL), ==, -EINVAL);
    if (!guest.packed) {
        vring->num = 7;
        g_assert_cmpint(vu_vring_start(vring, guest.memory, NULL), ==, -EINVAL);
    }
    vring->num = 8;
    vring->desc_uva = desc_uva + 8;
    g_assert_cmpint(vu_vring_start(vring, guest.memory, NULL), ==, -EINVAL);
    vring->desc_uva = desc_uva + RING_GUEST_REGION - 64;
    g_assert_cmpint(vu_vring_start(vring, guest.memory, NULL), ==, -EINVAL);
    vring->desc_uva = UINT64_MAX - 63;
    g_assert_cmpint(vu_vring_start(vring, guest.memory, NULL), ==, -EINVAL);
    vring->desc_uva = desc_uva;
    vring->used_uva = used_uva + 2;
    g_assert_cmpint(vu_vring_start(vring, guest.memory, NULL), ==, -EINVAL);
    vring->used_uva = used_uva;
    vring->base = 0x80088008;
    g_assert_cmpint(vu_vring_start(vring, guest.memory, NULL), ==, -EINVAL);
    g_autofree char *log = ring_guest_log_end();

    g_assert_cmpuint(ring_guest_count_lines(log), ==, guest.packed ? 7 : 8);
    g_assert_nonnull(strstr(log, "test: queue 0: cannot start a ring of 8: "));
    ring_guest_clear(&guest);
}

/* Memory changes under a running ring with a request in flight. */
static void test_memory_change(gconstpointer features)
{
    struct ring_guest guest;
    struct vu_memory *grown, *shrunk;
    struct vu_region_desc extra, first;
    struct vu_elem *elem;
    uint8_t *byte;

    ring_guest_init(&guest, 8, GPOINTER_TO_SIZE(features));
    ring_guest_start(&guest);
    g_assert_cmpint(vu_shmem_add(&guest.shmem, RING_GUEST_END, RING_GUEST_REGION), ==, 0);
    extra = vu_shmem_describe(&guest.shmem.regions[2]);
    g_assert_cmpint(vu_memory_create_added(guest.memory, &extra, guest.shmem.regions[2].fd, &grown),
                    ==, 0);
    g_assert_cmpint(vu_vring_set_memory(&guest.vring, grown), ==, 0);
    const struct ring_guest_desc far = {RING_GUEST_END, 64, W};

    ring_guest_add(&guest, 0, &far, 1);
    elem = ring_guest_pop_one(&guest);

    /* The region goes; what is in flight still has it, and only that. */
    g_assert_cmpint(vu_memory_create_removed(grown, &extra, &shrunk), ==, 0);
    g_assert_cmpint(vu_vring_set_memory(&guest.vring, shrunk), ==, 0);
    vu_memory_unref(grown);
    byte = elem->iov[0].iov_base;
    *byte = 7;
    g_assert_cmpuint(*(uint8_t *)ring_guest_at(&guest, RING_GUEST_END, 1), ==, 7);
    vu_elem_complete(elem, 64);
    ring_guest_assert_used(&guest, 0, 64);
    ring_guest_add_simple(&guest, 0, 16);
    vu_elem_complete(ring_guest_pop_one(&guest), 1);
    ring_guest_assert_used(&guest, 0, 1);

    /* The ring's own region goes: no pointer into it is used any more. */
    ring_guest_add_simple(&guest, 0, 16);
    elem = ring_guest_pop_one(&guest);
    first = vu_shmem_describe(&guest.shmem.regions[0]);
    vu_memory_unref(guest.memory);
    g_assert_cmpint(vu_memory_create_removed(shrunk, &first, &guest.memory), ==, 0);
    vu_memory_unref(shrunk);
    ring_guest_log_begin();
    g_assert_cmpint(vu_vring_set_memory(&guest.vring, guest.memory), ==, -EINVAL);
    g_autofree char *log = ring_guest_log_end();

    g_assert_cmpuint(ring_guest_count_lines(log), ==, 1);
    g_assert_cmpuint(ring_guest_errors(&guest), ==, 1);
    vu_elem_complete(elem, 1);
    ring_guest_assert_no_used(&guest);
    ring_guest_clear(&guest);
}

static bool page_is_dirty(const uint8_t *bits, uint64_t gpa)
{
    return (bits[gpa / VU_LOG_PAGE_SIZE / 8] >> (gpa / VU_LOG_PAGE_SIZE % 8) & 1) != 0;
}

static void test_dirty_log(gconstpointer features)
{
    const uint64_t size = RING_GUEST_END / VU_LOG_PAGE_SIZE / 8;
    int fd = memfd_create("log", MFD_CLOEXEC);
    struct vu_dirty_log *log;
    struct ring_guest guest;
    uint8_t *bits;
    uint64_t at;

    g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
    bits = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert_true(bits != MAP_FAILED);
    g_assert_cmpint(vu_dirty_log_create(fd, size, 0, &log), ==, 0);
    ring_guest_init(&guest, 8, GPOINTER_TO_SIZE(features));
    ring_guest_start(&guest);
    at = RING_GUEST_BORDER - 0x1800;
    const struct ring_guest_desc descs[] = {{at - 0x1000, 0x10, 0}, {at, 0x4000, W}};

    /* Log without LOG_ALL, then with it and not for the used ring, then for both. */
    for (unsigned round = 0; round < 3; round++) {
        memset(bits, 0, size);
        guest.vring.log_used = round == 2;
        vu_vring_set_log(&guest.vring, log,
                         guest.features | (round > 0 ? VU_BIT(VU_F_LOG_ALL) : 0));
        ring_guest_add(&guest, 0, descs, 2);
        vu_elem_complete(ring_guest_pop_one(&guest), 0x1801);
        ring_guest_assert_used(&guest, 0, 0x1801);
        g_assert_false(page_is_dirty(bits, at - 0x1000));
        g_assert_cmpint(page_is_dirty(bits, at), ==, round > 0);
        g_assert_cmpint(page_is_dirty(bits, at + 0x1000), ==, round > 0);
        g_assert_cmpint(page_is_dirty(bits, RING_GUEST_BORDER), ==, round > 0);
        g_assert_false(page_is_dirty(bits, RING_GUEST_BORDER + 0x1000));
        /* Used entries: the used ring at 0x2000; packed: the descriptors at 0. */
        at = guest.packed ? RING_GUEST_GPA : RING_GUEST_GPA + 0x2000;
        g_assert_cmpint(page_is_dirty(bits, at), ==, round == 2);
        at = descs[1].gpa;
    }
    memset(bits, 0, size);
    vu_vring_arm_kick(&guest.vring);
    g_assert_true(page_is_dirty(bits, RING_GUEST_GPA + 0x2000));
    vu_vring_set_log(&guest.vring, NULL, guest.features);
    vu_dirty_log_unref(log);
    ring_guest_clear(&guest);
    munmap(bits, size);
    close(fd);
}

/* A call that comes late is signalled for what is there; UML's calls are sockets. */
static void test_signals(gconstpointer features)
{
    struct ring_guest guest;
    uint64_t words[4];
    int pair[2];

    ring_guest_init(&guest, 8, GPOINTER_TO_SIZE(features));
    ring_guest_start(&guest);
    vu_vring_set_call(&guest.vring, fcntl(guest.call_fd, F_DUPFD_CLOEXEC, 0));
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 0);
    vu_vring_set_call(&guest.vring, -1);
    ring_guest_add_simple(&guest, 0, 16);
    vu_elem_complete(ring_guest_pop_one(&guest), 1);
    ring_guest_assert_used(&guest, 0, 1);
    vu_vring_set_call(&guest.vring, fcntl(guest.call_fd, F_DUPFD_CLOEXEC, 0));
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 1);

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    vu_vring_set_call(&guest.vring, pair[1]);
    g_assert_cmpint(recv(pair[0], words, sizeof(words), MSG_DONTWAIT), ==, 8);
    g_assert_cmpuint(words[0], ==, 1);
    close(pair[0]); /* nobody listens: no signal kills us */
    if (!guest.packed)
        le16_store(vu_split_used_event(ring_guest_avail(&guest), 8), guest.used_idx);
    ring_guest_add_simple(&guest, 0, 16);
    vu_elem_complete(ring_guest_pop_one(&guest), 1);
    ring_guest_assert_used(&guest, 0, 1);

    /* A full eventfd, even one that would block, holds nobody up. */
    vu_vring_set_call(&guest.vring, -1);
    g_assert_cmpint(fcntl(guest.call_fd, F_SETFL, 0), ==, 0);
    g_assert_cmpint(eventfd_write(guest.call_fd, UINT64_MAX - 1), ==, 0);
    vu_vring_set_call(&guest.vring, fcntl(guest.call_fd, F_DUPFD_CLOEXEC, 0));
    g_assert_cmpuint(ring_guest_calls(&guest), ==, UINT64_MAX - 1);

    /* A file is not written to. */
    ring_guest_log_begin();
    vu_vring_set_call(&guest.vring, memfd_create("file", MFD_CLOEXEC));
    g_autofree char *log = ring_guest_log_end();

    g_assert_cmpstr(log, ==,
                    "error: test: queue 0: call is neither an eventfd nor a socket and not used\n");
    ring_guest_clear(&guest);
}

static void test_break(gconstpointer features)
{
    struct ring_guest guest;
    struct vu_elem *elem;
    uint32_t base;

    ring_guest_init(&guest, 8, GPOINTER_TO_SIZE(features));
    ring_guest_start(&guest);
    ring_guest_add_simple(&guest, 0, 16);
    elem = ring_guest_pop_one(&guest);
    ring_guest_log_begin();
    vu_vring_break(&guest.vring, "a %s request", "silly");
    vu_vring_break(&guest.vring, "only the first is told");
    g_autofree char *log = ring_guest_log_end();

    g_assert_cmpstr(log, ==, "error: test: queue 0: a silly request; it is stopped\n");
    g_assert_cmpuint(ring_guest_errors(&guest), ==, 1);
    ring_guest_add_simple(&guest, 2, 16);
    g_assert_false(vu_vring_has_work(&guest.vring));
    g_assert_cmpuint(vu_vring_pop(&guest.vring, &elem + 0, 1), ==, 0);
    vu_elem_complete(elem, 1);
    ring_guest_assert_no_used(&guest);
    g_assert_cmpuint(ring_guest_calls(&guest), ==, 0);

    /* Stopped and started again, it works from where it was. */
    g_assert_cmpint(vu_vring_stop(&guest.vring, NULL, &base), ==, 0);
    ring_guest_start(&guest);
    elem = ring_guest_pop_one(&guest);
    vu_elem_complete(elem, 1);
    ring_guest_clear(&guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ring_guest_add_tests("vring-session", "stop-and-go", test_stop_and_go);
    ring_guest_add_tests("vring-session", "base-without-wrap", test_base_without_wrap);
    ring_guest_add_tests("vring-session", "base-after-crossing", test_base_after_crossing);
    ring_guest_add_tests("vring-session", "wrong-start", test_wrong_start);
    ring_guest_add_tests("vring-session", "memory-change", test_memory_change);
    ring_guest_add_tests("vring-session", "dirty-log", test_dirty_log);
    ring_guest_add_tests("vring-session", "signals", test_signals);
    ring_guest_add_tests("vring-session", "break", test_break);
    return g_test_run();
}
