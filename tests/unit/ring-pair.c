/* SPDX-License-Identifier: Apache-2.0 */
/* A driver and a device joined by a ring: see ring-pair.h. */
#include "ring-pair.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>

#include "vhost-user/iov.h"

#define PAIR_GPA      UINT64_C(0x80000000)
#define PAIR_REGION   UINT64_C(0x400000)
#define PAIR_BORDER   (PAIR_GPA + PAIR_REGION)
#define PAIR_SLOT_LEN 5000u
#define PAIR_HEADER   16u /* seed, in_len: at the beginning of an out part that has room */

unsigned ring_pair_rand(struct ring_pair_rand *rand, unsigned n)
{
    rand->state = rand->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((rand->state >> 33) % n);
}

/* Byte `at` of the stream that belongs to seed. */
static uint8_t pair_byte(uint64_t seed, uint64_t at)
{
    return (uint8_t)((seed + at * 167 + (at >> 8) * 59) ^ (seed >> 7));
}

/* Copies between a buffer of ours and guest memory, which may straddle. */
static void pair_copy(const struct ring_pair *pair, uint64_t gpa, uint8_t *buf, uint64_t len,
                      bool to_guest)
{
    while (len > 0) {
        uint64_t part = gpa < PAIR_BORDER ? MIN(len, PAIR_BORDER - gpa) : len;
        uint8_t *at = vu_shmem_at(&pair->shmem, gpa, part);

        g_assert_nonnull(at);
        memcpy(to_guest ? at : buf, to_guest ? buf : at, part);
        gpa += part;
        buf += part;
        len -= part;
    }
}

static void pair_map(struct ring_pair *pair)
{
    struct vu_region_desc descs[2];
    int fds[2];

    vu_shmem_init(&pair->shmem);
    g_assert_cmpint(vu_shmem_add(&pair->shmem, PAIR_GPA, PAIR_REGION), ==, 0);
    g_assert_cmpint(vu_shmem_add(&pair->shmem, PAIR_BORDER, PAIR_REGION), ==, 0);
    for (unsigned i = 0; i < 2; i++) {
        descs[i] = vu_shmem_describe(&pair->shmem.regions[i]);
        fds[i] = pair->shmem.regions[i].fd;
    }
    g_assert_cmpint(vu_memory_create(descs, fds, 2, &pair->memory), ==, 0);
}

void ring_pair_init(struct ring_pair *pair, unsigned num, uint64_t features, uint32_t seed)
{
    struct vu_driver_config config = {.num = num, .features = features, .indirect_max = 32};
    struct vu_vring *vring = &pair->vring;

    memset(pair, 0, sizeof(*pair));
    pair->rand.state = seed;
    pair_map(pair);
    g_assert_cmpint(vu_driver_create(&pair->shmem, &config, &pair->driver), ==, 0);
    pair->n_slots = MIN(2 * num, RING_PAIR_MAX_SLOTS);
    vu_vring_init(vring, 0, "pair");
    vring->num = num;
    vring->features = features | VU_BIT(VU_F_VERSION_1);
    vring->desc_uva = (uintptr_t)pair->driver->desc;
    vring->avail_uva = (uintptr_t)pair->driver->avail;
    vring->used_uva = (uintptr_t)pair->driver->used;
    vring->base = vu_driver_base(pair->driver);
    vu_vring_set_enabled(vring, true);
    vu_vring_set_call(vring, fcntl(pair->driver->call_fd, F_DUPFD_CLOEXEC, 0));
    vu_vring_set_kick(vring, fcntl(pair->driver->kick_fd, F_DUPFD_CLOEXEC, 0));
    ring_pair_start(pair);
}

void ring_pair_start(struct ring_pair *pair)
{
    g_assert_cmpint(vu_vring_start(&pair->vring, pair->memory, NULL), ==, 0);
}

void ring_pair_clear(struct ring_pair *pair)
{
    g_assert_cmpint(vu_vring_stop(&pair->vring, NULL, NULL), ==, 0);
    vu_vring_destroy(&pair->vring);
    vu_memory_unref(pair->memory);
    vu_driver_destroy(pair->driver);
    vu_shmem_clear(&pair->shmem);
}

/* Cuts [gpa, gpa + len) into n pieces of at least a byte. */
static void pair_cut(struct ring_pair *pair, struct vu_sg *sg, unsigned n, uint64_t gpa,
                     uint64_t len)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned left = n - i - 1;
        uint64_t most = len - left;
        uint64_t part = left == 0 ? len : 1 + ring_pair_rand(&pair->rand, (unsigned)most);

        sg[i] = (struct vu_sg){gpa, (uint32_t)part};
        gpa += part;
        len -= part;
    }
}

/* Where the slot's memory begins: around the border, so that one slot straddles it. */
static uint64_t pair_slot_gpa(const struct ring_pair *pair, const struct ring_pair_slot *slot)
{
    return PAIR_BORDER - pair->n_slots / 2 * PAIR_SLOT_LEN - 1234 + slot->index * PAIR_SLOT_LEN;
}

static void pair_shape(struct ring_pair *pair, struct ring_pair_slot *slot)
{
    unsigned most = MIN(RING_PAIR_MAX_SG, MAX(pair->vring.num / 2, 1u)), n;
    uint64_t gpa = pair_slot_gpa(pair, slot);
    uint8_t buf[PAIR_SLOT_LEN / 2];
    uint64_t header[2];

    n = 1 + ring_pair_rand(&pair->rand, most);
    slot->n_out = ring_pair_rand(&pair->rand, n + 1);
    slot->n_in = n - slot->n_out;
    slot->out_len =
        slot->n_out == 0 ? 0 : slot->n_out + ring_pair_rand(&pair->rand, sizeof(buf) - slot->n_out);
    slot->in_len =
        slot->n_in == 0 ? 0 : slot->n_in + ring_pair_rand(&pair->rand, sizeof(buf) - slot->n_in);
    slot->seed = pair->n_added * 7919 + 1;
    pair_cut(pair, slot->sg, slot->n_out, gpa, slot->out_len);
    pair_cut(pair, slot->sg + slot->n_out, slot->n_in, gpa + sizeof(buf), slot->in_len);
    for (unsigned i = 0; i < slot->out_len; i++)
        buf[i] = pair_byte(slot->seed, i);
    header[0] = slot->seed;
    header[1] = slot->in_len;
    memcpy(buf, header, MIN(slot->out_len, sizeof(header)));
    pair_copy(pair, gpa, buf, slot->out_len, true);
    memset(buf, 0xee, sizeof(buf));
    pair_copy(pair, gpa + sizeof(buf), buf, slot->in_len, true);
}

bool ring_pair_add(struct ring_pair *pair)
{
    struct ring_pair_slot *slot = NULL;
    unsigned from = ring_pair_rand(&pair->rand, pair->n_slots);
    int rc;

    for (unsigned i = 0; i < pair->n_slots && slot == NULL; i++)
        if (!pair->slots[(from + i) % pair->n_slots].busy)
            slot = &pair->slots[(from + i) % pair->n_slots];
    if (slot == NULL)
        return false;
    slot->index = (unsigned)(slot - pair->slots);
    pair_shape(pair, slot);
    rc = vu_driver_add(pair->driver, slot->sg, slot->n_out, slot->n_in, slot);
    if (rc == -ENOSPC)
        return false;
    g_assert_cmpint(rc, ==, 0);
    slot->busy = true;
    slot->order = pair->n_added++;
    return true;
}

void ring_pair_serve(struct vu_elem *elem)
{
    uint64_t header[2] = {0, elem->in_len}, seed;
    uint8_t buf[PAIR_SLOT_LEN / 2];
    struct vu_iov_cursor cursor;

    g_assert_cmpuint(elem->out_len, <=, sizeof(buf));
    g_assert_cmpuint(elem->in_len, <=, sizeof(buf));
    vu_iov_cursor_init(&cursor, elem->iov, elem->n_out, 0);
    g_assert_cmpuint(vu_iov_read(&cursor, buf, sizeof(buf)), ==, elem->out_len);
    seed = 0;
    if (elem->out_len >= PAIR_HEADER) {
        memcpy(header, buf, sizeof(header));
        seed = header[0];
        g_assert_cmpuint(header[1], ==, elem->in_len);
        for (unsigned i = PAIR_HEADER; i < elem->out_len; i++)
            g_assert_cmpuint(buf[i], ==, pair_byte(seed, i));
    }
    /* The same when it is served once more, by a successor. */
    elem->written = (uint32_t)((seed * 31 + elem->out_len) % (elem->in_len + 1));
    for (unsigned i = 0; i < elem->written; i++)
        buf[i] = pair_byte(~seed, i);
    vu_iov_cursor_init(&cursor, elem->iov + elem->n_out, elem->n_in, 0);
    g_assert_cmpuint(vu_iov_write(&cursor, buf, elem->written), ==, elem->written);
}

static void pair_check(struct ring_pair *pair, struct ring_pair_slot *slot, uint32_t len)
{
    uint64_t seed = slot->out_len >= PAIR_HEADER ? slot->seed : 0;
    uint8_t buf[PAIR_SLOT_LEN / 2];

    g_assert_true(slot->busy);
    g_assert_cmpuint(len, <=, slot->in_len);
    pair_copy(pair, pair_slot_gpa(pair, slot) + sizeof(buf), buf, slot->in_len, false);
    for (unsigned i = 0; i < slot->in_len; i++)
        g_assert_cmpuint(buf[i], ==, i < len ? pair_byte(~seed, i) : 0xee);
    if (pair->driver->in_order)
        g_assert_cmpuint(slot->order, ==, pair->n_harvested);
    slot->busy = false;
    pair->n_harvested++;
}

unsigned ring_pair_harvest(struct ring_pair *pair)
{
    struct vu_driver_used used[7];
    unsigned total = 0;
    int n;

    while ((n = vu_driver_harvest(pair->driver, used, G_N_ELEMENTS(used))) > 0) {
        for (int i = 0; i < n; i++)
            pair_check(pair, used[i].token, used[i].len);
        total += (unsigned)n;
    }
    g_assert_cmpint(n, ==, 0);
    return total;
}
