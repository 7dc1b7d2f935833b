/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots: requests read from a descriptor (a packet socket stands where /dev/fuse does), where
 * replies are put, and how both are described to the back-end.
 */
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "contrib/mount/slot.h"

struct fixture {
    struct vu_shmem shmem;
    struct slot_pool pool;
    int fds[2]; /* the kernel's end, ours */
};

static void set_up(struct fixture *f, gconstpointer data)
{
    vu_shmem_init(&f->shmem);
    g_assert_cmpint(vu_shmem_add(&f->shmem, 0x100000, 16u << 20), ==, 0);
    g_assert_cmpint(slot_pool_init(&f->pool, &f->shmem, 3), ==, 0);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, f->fds),
                    ==, 0);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    close(f->fds[0]);
    close(f->fds[1]);
    slot_pool_clear(&f->pool);
    vu_shmem_clear(&f->shmem);
}

static void send_request(struct fixture *f, uint32_t opcode, uint32_t len, uint32_t said_len)
{
    g_autofree uint8_t *bytes = g_malloc(len);
    struct fuse_in_header header = {.len = said_len, .opcode = opcode, .unique = 2};

    for (uint32_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)i;
    memcpy(bytes, &header, MIN(sizeof(header), len));
    g_assert_cmpint(write(f->fds[0], bytes, len), ==, len);
}

static void test_pool(struct fixture *f, gconstpointer data)
{
    struct slot *a = slot_pool_take(&f->pool), *b = slot_pool_take(&f->pool);

    g_assert_true(a != b);
    g_assert_cmpuint(b->sequence, ==, a->sequence + 1);
    g_assert_cmpuint(f->pool.n_in_flight, ==, 2);
    slot_pool_give(&f->pool, a);
    g_assert_true(f->pool.free == a); /* the warm one */
    g_assert_false(a->in_flight);
    slot_pool_take(&f->pool);
    slot_pool_take(&f->pool);
    g_assert_null(f->pool.free);
}

static void test_read(struct fixture *f, gconstpointer data)
{
    struct slot *slot = f->pool.free;

    g_assert_cmpint(slot_read_request(slot, f->fds[1]), ==, -EAGAIN);
    send_request(f, FUSE_GETATTR, 56, 56);
    g_assert_cmpint(slot_read_request(slot, f->fds[1]), ==, 0);
    g_assert_cmpuint(slot->request_len, ==, 56);
    g_assert_cmpuint(slot->head.header.opcode, ==, FUSE_GETATTR);
    g_assert_true(memcmp(slot->base + SLOT_REQUEST_OFFSET, slot->head.bytes, 56) == 0);
    send_request(f, FUSE_GETATTR, 56, 57);
    g_assert_cmpint(slot_read_request(slot, f->fds[1]), ==, -EPROTO);
    send_request(f, FUSE_GETATTR, 39, 39);
    g_assert_cmpint(slot_read_request(slot, f->fds[1]), ==, -EPROTO);

    /* Long ones: whole, and the data of a WRITE at the beginning of a page. */
    send_request(f, FUSE_WRITE, 80 + 100000, 80 + 100000);
    g_assert_cmpint(slot_read_request(slot, f->fds[1]), ==, 0);
    for (uint32_t i = 40; i < 80 + 100000; i++)
        g_assert_cmpuint(slot->base[SLOT_REQUEST_OFFSET + i], ==, (uint8_t)i);
    g_assert_cmpuint((SLOT_REQUEST_OFFSET + 80) % SLOT_PAGE, ==, 0);
}

/* Ranges lie in the slot, do not overlap, and hold what they shall. */
static void check_ranges(const struct slot *slot, unsigned want_out, unsigned want_in)
{
    struct vu_sg sg[SLOT_MAX_SG];
    unsigned n_in;
    unsigned n_out = slot_describe(slot, sg, &n_in);
    uint64_t end = slot->gpa + SLOT_REQUEST_OFFSET;

    g_assert_cmpuint(n_out, ==, want_out);
    g_assert_cmpuint(n_in, ==, want_in);
    for (unsigned i = 0; i < n_out; i++) {
        g_assert_cmpuint(sg[i].gpa, ==, end);
        end += sg[i].len;
    }
    g_assert_cmpuint(end, ==, slot->gpa + SLOT_REQUEST_OFFSET + slot->request_len);
    if (n_in == 0)
        return;
    g_assert_cmpuint(sg[n_out].len, ==, slot->reply_len);
    g_assert_true(sg[n_out].gpa >= end ||
                  sg[n_out].gpa + sg[n_out].len <= slot->gpa + SLOT_REQUEST_OFFSET);
    g_assert_cmpuint(sg[n_out].gpa + sg[n_out].len, <=, slot->gpa + SLOT_LEN);
}

static void test_replies(struct fixture *f, gconstpointer data)
{
    static const uint32_t requests[] = {40, 41, 80, 81, 4096, 4097, 65536, 80 + SLOT_DATA_MAX};
    static const uint32_t replies[] = {0, 8, 128, 3999, 4000, 4001, 4096, 65536, SLOT_DATA_MAX};
    struct slot *slot = f->pool.free;
    g_autofree uint8_t *bytes = g_malloc0(SLOT_DATA_MAX + 80);

    for (unsigned i = 0; i < G_N_ELEMENTS(requests); i++)
        for (unsigned j = 0; j < G_N_ELEMENTS(replies); j++) {
            slot_set_request(slot, bytes, requests[i]);
            check_ranges(slot, 1, 0);
            if (slot_offer_reply(slot, replies[j]) < 0) {
                g_assert_cmpuint(requests[i] + replies[j], >, SLOT_DATA_MAX);
                continue;
            }
            check_ranges(slot, 1, 1);
            if (replies[j] >= SLOT_PAGE)
                g_assert_cmpuint((slot->reply_offset + 16) % SLOT_PAGE, ==, 0);
        }
    slot_set_request(slot, bytes, 80);
    g_assert_cmpint(slot_offer_reply(slot, SLOT_DATA_MAX), ==, 0);
    g_assert_cmpint(slot_offer_reply(slot, UINT32_MAX), ==, -E2BIG);
    g_assert_cmpint(slot_offer_reply(slot, UINT64_MAX), ==, -E2BIG);
}

static void test_write_framing(struct fixture *f, gconstpointer data)
{
    struct slot *slot = f->pool.free;

    send_request(f, FUSE_WRITE, 80 + 512, 80 + 512);
    g_assert_cmpint(slot_read_request(slot, f->fds[1]), ==, 0);
    g_assert_cmpint(slot_offer_reply(slot, sizeof(struct fuse_write_out)), ==, 0);
    check_ranges(slot, 3, 1);
    send_request(f, FUSE_WRITE, 80, 80); /* no data */
    g_assert_cmpint(slot_read_request(slot, f->fds[1]), ==, 0);
    check_ranges(slot, 1, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, func) g_test_add(name, struct fixture, NULL, set_up, func, tear_down)
    ADD("/slot/pool", test_pool);
    ADD("/slot/read", test_read);
    ADD("/slot/replies", test_replies);
    ADD("/slot/write-framing", test_write_framing);
    return g_test_run();
}
