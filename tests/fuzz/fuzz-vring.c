/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile driver (and front-end, where there is an inflight region) against the device's side of
 * a ring. The input's first byte chooses features; then it is a row of steps, a byte of opcode each
 * with the operands that the table below counts. Addresses are chosen near the borders of memory,
 * so that most are nearly right.
 *
 * Checked after every step: what was popped lies in guest memory, whole, and can be touched; the
 * ring's counts agree with ours.
 */
#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/ring-guest.h"
#include "vhost-user/iov.h"
#include "vhost-user/log.h"

#define FUZZ_NUM   8
#define FUZZ_TABLE (RING_GUEST_BORDER - 0x40) /* indirect tables straddle the regions */
#define FUZZ_RING  0x3000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
    const uint8_t *data;
    size_t left;
    struct vu_elem *held[FUZZ_NUM];
    unsigned n_held;
    bool other_map;
};

static struct ring_guest guest;
static struct vu_memory *maps[2]; /* the whole memory, and its first region alone */
static struct vu_inflight *logs[2];

static uint8_t fuzz_byte(struct fuzz *fuzz)
{
    if (fuzz->left == 0)
        return 0;
    fuzz->left--;
    return *fuzz->data++;
}

/* Two bytes: which place, and how far from it. */
static uint64_t fuzz_gpa(struct fuzz *fuzz)
{
    static const uint64_t places[] = {RING_GUEST_GPA + 0x8000, RING_GUEST_BORDER, FUZZ_TABLE,
                                      RING_GUEST_END,          RING_GUEST_GPA,    0};
    uint8_t place = fuzz_byte(fuzz), distance = fuzz_byte(fuzz);

    return places[place % G_N_ELEMENTS(places)] + (uint64_t)(int64_t)(int8_t)distance;
}

static uint32_t fuzz_len(struct fuzz *fuzz)
{
    uint8_t len = fuzz_byte(fuzz);

    return len < 0xf0 ? len : UINT32_C(1) << (len & 31);
}

/* --- steps of the driver --- */

static void fuzz_write_desc(struct fuzz *fuzz)
{
    unsigned index = fuzz_byte(fuzz) % FUZZ_NUM;
    uint64_t gpa = fuzz_gpa(fuzz);
    uint32_t len = fuzz_len(fuzz);
    uint16_t flags = fuzz_byte(fuzz), link = fuzz_byte(fuzz);

    if (guest.packed) {
        struct vu_packed_desc *desc = ring_guest_packed_desc(&guest, index);

        desc->addr = le64_from(gpa);
        desc->len = le32_from(len);
        desc->id = le16_from(link);
        desc->flags = le16_from((uint16_t)((flags & 0x7f) | (flags & 0x80) << 8 |
                                           (flags & 0x40 ? VU_DESC_F_AVAIL : 0)));
    } else {
        *ring_guest_split_desc(&guest, index) = (struct vu_split_desc){
            le64_from(gpa), le32_from(len), le16_from(flags), le16_from(link)};
    }
}

static void fuzz_write_table(struct fuzz *fuzz)
{
    unsigned index = fuzz_byte(fuzz) % FUZZ_NUM;
    struct ring_guest_desc desc = {.gpa = fuzz_gpa(fuzz), .len = fuzz_len(fuzz)};

    desc.flags = fuzz_byte(fuzz);
    ring_guest_write_table(&guest, FUZZ_TABLE, index, desc, fuzz_byte(fuzz));
}

static void fuzz_offer(struct fuzz *fuzz)
{
    uint8_t head = fuzz_byte(fuzz);

    if (!guest.packed)
        ring_guest_offer(&guest, head & 0x1f);
    else
        ring_guest_add_simple(&guest, head, 8);
}

static void fuzz_offer_good(struct fuzz *fuzz)
{
    ring_guest_add_simple(&guest, fuzz_byte(fuzz) % FUZZ_NUM, 8);
}

static void fuzz_poke(struct fuzz *fuzz)
{
    unsigned offset = (fuzz_byte(fuzz) & 3u) << 12; /* desc, avail, used */

    offset = (offset + fuzz_byte(fuzz)) % FUZZ_RING;
    *(uint8_t *)ring_guest_at(&guest, RING_GUEST_GPA + offset, 1) = fuzz_byte(fuzz);
}

static void fuzz_poke_log(struct fuzz *fuzz)
{
    unsigned offset = fuzz_byte(fuzz);

    logs[guest.packed]->addr[offset] = fuzz_byte(fuzz);
}

/* --- steps of the device --- */

static void fuzz_check_elem(const struct vu_elem *elem)
{
    uint64_t out_len = 0, in_len = 0;

    for (unsigned i = 0; i < elem->n_out + elem->n_in; i++) {
        uint8_t *first = elem->iov[i].iov_base, *last = first + elem->iov[i].iov_len - 1;

        g_assert_cmpuint(elem->iov[i].iov_len, >, 0);
        g_assert_cmpuint(vu_memory_host_to_gpa(elem->memory, last) -
                             vu_memory_host_to_gpa(elem->memory, first),
                         ==, elem->iov[i].iov_len - 1);
        g_assert_cmphex(vu_memory_host_to_gpa(elem->memory, last), !=, UINT64_MAX);
        if (i < elem->n_out) {
            out_len += elem->iov[i].iov_len;
        } else {
            in_len += elem->iov[i].iov_len;
            *first ^= 1;
            *last ^= 1;
        }
    }
    g_assert_cmpuint(elem->out_len, ==, out_len);
    g_assert_cmpuint(elem->in_len, ==, in_len);
}

static void fuzz_pop(struct fuzz *fuzz)
{
    unsigned room = FUZZ_NUM - fuzz->n_held, n;

    if (room == 0)
        return;
    n = vu_vring_pop(&guest.vring, fuzz->held + fuzz->n_held, 1 + fuzz_byte(fuzz) % room);
    for (unsigned i = 0; i < n; i++)
        fuzz_check_elem(fuzz->held[fuzz->n_held++]);
}

/* Pushes a few, from somewhere in the middle. */
static void fuzz_push(struct fuzz *fuzz)
{
    uint8_t choice = fuzz_byte(fuzz);
    unsigned at, n;

    if (fuzz->n_held == 0)
        return;
    at = (choice & 0xf) % fuzz->n_held;
    n = 1 + (choice >> 4) % (fuzz->n_held - at);
    for (unsigned i = 0; i < n; i++)
        fuzz->held[at + i]->written = choice;
    vu_vring_push(&guest.vring, fuzz->held + at, n);
    fuzz->n_held -= n;
    memmove(fuzz->held + at, fuzz->held + at + n, (fuzz->n_held - at) * sizeof(fuzz->held[0]));
}

static void fuzz_sleep(struct fuzz *fuzz)
{
    if (!vu_vring_arm_kick(&guest.vring))
        vu_vring_disarm_kick(&guest.vring);
}

static void fuzz_start(struct fuzz *fuzz)
{
    int err = guest.vring.started ? 0 : vu_vring_start(&guest.vring, maps[fuzz->other_map], NULL);

    g_assert_true(err == 0 || err == -EINVAL || err == -EBADMSG);
}

/* Stops, with requests in flight left behind where there are some, and starts again. */
static void fuzz_restart(struct fuzz *fuzz)
{
    const bool give_up = true;
    bool tell = fuzz_byte(fuzz) % 2 != 0;
    uint32_t base;

    vu_vring_stop(&guest.vring, &give_up, tell ? &base : NULL);
    vu_vring_push(&guest.vring, fuzz->held, fuzz->n_held);
    fuzz->n_held = 0;
    if (!tell)
        guest.vring.base = fuzz_byte(fuzz);
    fuzz_start(fuzz);
}

static void fuzz_move(struct fuzz *fuzz)
{
    fuzz->other_map = !fuzz->other_map;
    vu_vring_set_memory(&guest.vring, maps[fuzz->other_map]);
}

static void (*const fuzz_steps[])(struct fuzz *fuzz) = {
    fuzz_write_desc, fuzz_write_table, fuzz_offer, fuzz_offer_good, fuzz_poke,    fuzz_poke_log,
    fuzz_pop,        fuzz_push,        fuzz_pop,   fuzz_sleep,      fuzz_restart, fuzz_move,
};

/* --- one input --- */

static void fuzz_init(void)
{
    struct vu_inflight_desc desc;
    struct vu_region_desc region;
    int fd;

    vu_log_set_level(VU_LOG_OFF);
    ring_guest_init(&guest, FUZZ_NUM, 0);
    maps[0] = guest.memory;
    region = vu_shmem_describe(&guest.shmem.regions[1]);
    g_assert_cmpint(vu_memory_create_removed(maps[0], &region, &maps[1]), ==, 0);
    for (unsigned packed = 0; packed < 2; packed++) {
        g_assert_cmpint(vu_inflight_create(1, FUZZ_NUM, packed != 0, &logs[packed], &desc, &fd), ==,
                        0);
        close(fd);
    }
}

/* An empty ring with these features, whatever the last input left. */
static void fuzz_prepare(uint8_t choice)
{
    vu_vring_destroy(&guest.vring);
    guest.packed = (choice & 1) != 0;
    guest.features = VU_BIT(VU_F_VERSION_1) | (guest.packed ? RING_GUEST_PACKED : 0) |
                     (choice & 2 ? RING_GUEST_INDIRECT : 0) | (choice & 4 ? RING_GUEST_EVENT : 0) |
                     (choice & 8 ? RING_GUEST_IN_ORDER : 0);
    guest.avail_idx = guest.used_idx = 0;
    guest.avail_wrap = guest.used_wrap = true;
    memset(ring_guest_at(&guest, RING_GUEST_GPA, FUZZ_RING), 0, FUZZ_RING);
    memset(logs[guest.packed]->addr, 0, logs[guest.packed]->map_len);
    ring_guest_init_vring(&guest, &guest.vring, ring_guest_first_base(&guest));
    guest.vring.inflight = choice & 16 ? logs[guest.packed] : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {.data = data, .left = size};
    const bool give_up = true;

    if (maps[0] == NULL)
        fuzz_init();
    fuzz_prepare(fuzz_byte(&fuzz));
    fuzz_start(&fuzz);
    while (fuzz.left > 0) {
        fuzz_steps[fuzz_byte(&fuzz) % G_N_ELEMENTS(fuzz_steps)](&fuzz);
        g_assert_cmpuint(guest.vring.n_in_flight, >=, fuzz.n_held);
        g_assert_cmpuint(guest.vring.n_slots, <=, FUZZ_NUM);
        if ((guest.features & RING_GUEST_IN_ORDER) == 0)
            g_assert_cmpuint(guest.vring.n_in_flight, ==, fuzz.n_held);
    }
    vu_vring_push(&guest.vring, fuzz.held, fuzz.n_held);
    vu_vring_stop(&guest.vring, &give_up, NULL);
    g_assert_cmpuint(guest.vring.n_in_flight, ==, 0);
    return 0;
}
