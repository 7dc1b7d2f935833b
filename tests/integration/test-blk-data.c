/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random reads, writes, zeros, discards and flushes through the daemon, on several queues, mirrored
 * in memory: what is read is what was written, and so is the image in the end. With `kill`, the
 * daemon dies at any moment, again and again, and its successor goes on.
 */
#include <glib.h>
#include <string.h>

#include "blk-guest.h"
#include "vblkd/virtio-blk.h"

#define IMAGE_LEN  (8u << 20)
#define N_SLOTS    24 /* of each queue */
#define N_REQUESTS 4000u
#define N_KILLS    10u

struct rig {
    struct blk_guest guest;
    struct blk_guest_slot slots[BLK_GUEST_MAX_QUEUES][N_SLOTS];
    uint8_t *shadow;
    bool *is_vague; /* of each sector: discarded, so that anything may be read */
    uint64_t n_begun, n_done;
    uint32_t block;
};

static bool rig_overlaps(const struct rig *rig, uint64_t offset, uint64_t len)
{
    for (unsigned q = 0; q < rig->guest.setup.n_queues; q++) {
        for (unsigned i = 0; i < N_SLOTS; i++) {
            const struct blk_guest_slot *slot = &rig->slots[q][i];

            if (slot->in_flight && offset < slot->offset + slot->len && slot->offset < offset + len)
                return true;
        }
    }
    return false;
}

static void rig_set_vague(struct rig *rig, const struct blk_guest_slot *slot, bool is_vague)
{
    for (uint64_t i = slot->offset; i < slot->offset + slot->len; i += BLK_SECTOR)
        rig->is_vague[i / BLK_SECTOR] = is_vague;
}

static void rig_fill(struct rig *rig, struct blk_guest_slot *slot)
{
    uint32_t len = (uint32_t)slot->len;
    uint64_t sector = slot->offset / BLK_SECTOR;
    struct blk_range range = {.sector = le64_from(sector),
                              .num_sectors = le32_from(len / BLK_SECTOR)};

    switch (slot->type) {
    case BLK_T_IN:
        blk_guest_fill(slot, BLK_T_IN, sector, 0, len);
        memset(slot->in, 0xa5, len);
        break;
    case BLK_T_OUT:
        blk_guest_fill(slot, BLK_T_OUT, sector, len, 0);
        for (uint32_t i = 0; i < len; i++)
            slot->out[sizeof(struct blk_header) + i] =
                rig->n_begun % 4 ? (uint8_t)(rig->n_begun * 7 + i / 13) : 0;
        memcpy(rig->shadow + slot->offset, slot->out + sizeof(struct blk_header), len);
        rig_set_vague(rig, slot, false);
        break;
    case BLK_T_FLUSH:
        blk_guest_fill(slot, BLK_T_FLUSH, 0, 0, 0);
        break;
    default:
        if (slot->type == BLK_T_WRITE_ZEROES)
            range.flags = le32_from(rig->n_begun % 2 ? BLK_RANGE_UNMAP : 0);
        blk_guest_fill(slot, slot->type, 0, sizeof(range), 0);
        memcpy(slot->out + sizeof(struct blk_header), &range, sizeof(range));
        memset(rig->shadow + slot->offset, 0, len);
        rig_set_vague(rig, slot, slot->type == BLK_T_DISCARD);
    }
}

static bool rig_begin(struct rig *rig, unsigned queue, struct blk_guest_slot *slot)
{
    static const uint32_t types[] = {BLK_T_IN,    BLK_T_IN,      BLK_T_IN,          BLK_T_IN,
                                     BLK_T_OUT,   BLK_T_OUT,     BLK_T_OUT,         BLK_T_OUT,
                                     BLK_T_FLUSH, BLK_T_DISCARD, BLK_T_WRITE_ZEROES};
    GRand *rand = rig->guest.rand;
    uint32_t n_blocks = IMAGE_LEN / rig->block;
    uint32_t most = g_rand_int_range(rand, 0, 8) ? 8 : BLK_GUEST_MAX_DATA / rig->block;
    uint64_t first = (uint64_t)g_rand_int_range(rand, 0, (gint32)n_blocks);
    uint64_t n = (uint64_t)g_rand_int_range(rand, 1, (gint32)most + 1);

    n = MIN(n, n_blocks - first);
    slot->type = types[g_rand_int_range(rand, 0, G_N_ELEMENTS(types))];
    slot->offset = first * rig->block;
    slot->len = slot->type == BLK_T_FLUSH ? 0 : n * rig->block;
    if (rig_overlaps(rig, slot->offset, slot->len))
        return false;
    rig_fill(rig, slot);
    /* Half of the descriptors of the ring at most: there is always room. */
    g_assert_true(blk_guest_add(&rig->guest, queue, slot));
    rig->n_begun++;
    return true;
}

static void rig_check(struct rig *rig, const struct blk_guest_slot *slot)
{
    g_assert_cmpuint(blk_guest_status(slot), ==, BLK_S_OK);
    rig->n_done++;
    if (slot->type != BLK_T_IN)
        return;
    for (uint64_t i = 0; i < slot->len; i += BLK_SECTOR) {
        if (!rig->is_vague[(slot->offset + i) / BLK_SECTOR])
            g_assert_true(memcmp(slot->in + i, rig->shadow + slot->offset + i, BLK_SECTOR) == 0);
    }
}

static void rig_finish(struct rig *rig)
{
    struct blk_guest *guest = &rig->guest;
    g_autofree uint8_t *image = NULL;

    g_assert_cmpuint(rig->n_done, ==, rig->n_begun);
    blk_guest_stop(guest);
    image = blk_guest_read_image(guest, guest->setup.inflight);
    for (uint64_t i = 0; i < IMAGE_LEN; i += BLK_SECTOR)
        if (!rig->is_vague[i / BLK_SECTOR])
            g_assert_true(memcmp(image + i, rig->shadow + i, BLK_SECTOR) == 0);
    blk_guest_clear(guest);
    g_free(rig->shadow);
    g_free(rig->is_vague);
}

static void rig_run(struct rig *rig, unsigned n_kills)
{
    struct blk_guest *guest = &rig->guest;
    uint64_t next_kill = n_kills ? N_REQUESTS / (n_kills + 1) : UINT64_MAX;
    struct blk_guest_slot *slot;

    while (rig->n_done < N_REQUESTS) {
        for (unsigned q = 0; q < guest->setup.n_queues; q++) {
            for (unsigned i = 0; i < N_SLOTS; i++)
                if (!rig->slots[q][i].in_flight && g_rand_int_range(guest->rand, 0, 3) > 0)
                    rig_begin(rig, q, &rig->slots[q][i]);
            vu_driver_kick(guest->queues[q]);
        }
        if (rig->n_begun >= next_kill) {
            next_kill += N_REQUESTS / (n_kills + 1);
            blk_guest_restart(guest);
        }
        for (unsigned q = 0; q < guest->setup.n_queues; q++)
            while ((slot = blk_guest_try_take(guest, q)) != NULL)
                rig_check(rig, slot);
        if (guest->queues[0]->n_in_flight > 0)
            rig_check(rig, blk_guest_take(guest, 0));
    }
    for (unsigned q = 0; q < guest->setup.n_queues; q++)
        while (guest->queues[q]->n_in_flight > 0)
            rig_check(rig, blk_guest_take(guest, q));
}

struct scenario {
    const char *name, *options;
    uint64_t features;
    unsigned n_queues, n_kills;
    uint32_t block;
    const char *qcow2;
    bool no_journal;
};

#define INDIRECT VU_BIT(VU_F_RING_INDIRECT_DESC)
#define EVENT    VU_BIT(VU_F_RING_EVENT_IDX)
#define PACKED   VU_BIT(VU_F_RING_PACKED)

static const struct scenario scenarios[] = {
    {"split", NULL, INDIRECT | EVENT, 4, 0, 512},
    {"packed", NULL, INDIRECT | EVENT | PACKED, 4, 0, 512},
    {"threads", "--aio=threads", INDIRECT, 2, 0, 512},
    {"native", "--aio=native --cache=none", INDIRECT | PACKED, 2, 0, 4096},
    {"direct", "--aio=io_uring --cache=none", INDIRECT | EVENT, 2, 0, 4096},
    {"writethrough", "--cache=writethrough --sandbox=none", INDIRECT, 1, 0, 512},
    {"unsafe", "--cache=unsafe --detect-zeroes=unmap", INDIRECT, 1, 0, 512},
    {"in-order", "--in-order", INDIRECT | EVENT | VU_BIT(VU_F_IN_ORDER), 2, 0, 512},
    {"limits", "--iops=4000 --iops-max=50 --bps=400M", INDIRECT | EVENT, 2, 0, 512},
    {"no-poll", "--poll-us=0", INDIRECT | EVENT, 2, 0, 512},
    {"qcow2/default", "--format=qcow2", INDIRECT | EVENT, 4, 0, 512, "lazy_refcounts=off"},
    {"qcow2/small-clusters", "--format=qcow2 --cache-size=64K", INDIRECT | EVENT | PACKED, 4, 0,
     512, "cluster_size=512"},
    {"qcow2/subclusters", "--format=qcow2 --cache=none --aio=native", INDIRECT | EVENT, 4, 0, 4096,
     "extended_l2=on"},
    {"qcow2/writethrough", "--format=qcow2 --cache=writethrough --aio=threads", INDIRECT, 2, 0, 512,
     "cluster_size=4k,refcount_bits=1"},
    {"qcow2/kill", "--format=qcow2", INDIRECT | EVENT, 2, N_KILLS, 512, "cluster_size=4k"},
    {"qcow2/kill-lazy", "--format=qcow2 --sandbox=none", INDIRECT | EVENT, 2, N_KILLS, 512,
     "cluster_size=512,lazy_refcounts=on"},
    /* Clusters lie anywhere in blocks. */
    {"qcow2/kill-direct", "--format=qcow2 --cache=none --sandbox=none", INDIRECT | EVENT, 2,
     N_KILLS, 4096, "cluster_size=512"},
    {"qcow2/kill-v2", "--format=qcow2", INDIRECT | EVENT, 2, N_KILLS, 512, "compat=0.10"},
    {"qcow2/kill-no-journal", "--format=qcow2", INDIRECT | EVENT, 2, N_KILLS, 512,
     "lazy_refcounts=on", true},
    {"kill/split", NULL, INDIRECT | EVENT, 2, N_KILLS, 512},
    {"kill/packed", "--cache=none --sandbox=none", INDIRECT | EVENT | PACKED, 2, N_KILLS, 4096},
};

static void test_data(gconstpointer data)
{
    const struct scenario *scenario = data;
    const struct blk_guest_setup setup = {
        .options = scenario->options,
        .n_queues = scenario->n_queues,
        .features = scenario->features | VU_BIT(BLK_F_DISCARD) | VU_BIT(BLK_F_WRITE_ZEROES) |
                    VU_BIT(BLK_F_FLUSH),
        .inflight = scenario->n_kills > 0,
        .image_len = IMAGE_LEN,
        .qcow2 = scenario->qcow2,
        .no_journal = scenario->no_journal,
    };
    g_autofree struct rig *rig = g_new0(struct rig, 1);

    if (!blk_guest_start(&rig->guest, &setup))
        return;
    rig->shadow = g_malloc0(IMAGE_LEN);
    rig->is_vague = g_new0(bool, IMAGE_LEN / BLK_SECTOR);
    rig->block = scenario->block;
    for (unsigned q = 0; q < setup.n_queues; q++)
        for (unsigned i = 0; i < N_SLOTS; i++)
            blk_guest_slot_init(&rig->guest, &rig->slots[q][i]);
    rig_run(rig, scenario->n_kills);
    rig_finish(rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(scenarios); i++) {
        g_autofree char *path = g_strdup_printf("/blk-data/%s", scenarios[i].name);

        g_test_add_data_func(path, &scenarios[i], test_data);
    }
    return g_test_run();
}
