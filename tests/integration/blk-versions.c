/* SPDX-License-Identifier: Apache-2.0 */
/* See blk-versions.h. A sector holds the number of the request that wrote it, 64 times, or zeros.
 */
#include "blk-versions.h"

#include <string.h>
#include <unistd.h>

#include "blk-control.h"
#include "vblkd/virtio-blk.h"

#define VERSIONS_MAX_SECTORS 128u /* of one request */
#define VERSIONS_NAP_US      100
#define VERSIONS_PATIENCE    300000u /* naps: half a minute or more */
#define VERSIONS_HEADER      sizeof(struct blk_header)

/* --- life --- */

static void instant_free(gpointer opaque)
{
    struct versions_instant *instant = opaque;

    g_array_unref(instant->beside);
    g_free(instant->name);
    g_free(instant->since);
    g_free(instant->may_be_zero);
    g_free(instant);
}

bool versions_start(struct versions *versions, const struct blk_guest_setup *setup, uint32_t block)
{
    *versions = (struct versions){0};
    if (!blk_guest_start(&versions->guest, setup))
        return false;
    versions->n_sectors = setup->image_len / BLK_SECTOR;
    versions->block = block / BLK_SECTOR;
    versions->sectors = g_new0(struct versions_sector, versions->n_sectors);
    for (uint64_t i = 0; i < versions->n_sectors; i++)
        versions->sectors[i].is_zero = true;
    versions->instants = g_ptr_array_new_with_free_func(instant_free);
    for (unsigned q = 0; q < setup->n_queues; q++)
        for (unsigned i = 0; i < VERSIONS_SLOTS; i++)
            blk_guest_slot_init(&versions->guest, &versions->slots[q][i]);
    return true;
}

void versions_stop(struct versions *versions)
{
    g_autofree uint8_t *data = NULL;

    versions_drain(versions);
    blk_guest_stop(&versions->guest);
    data = blk_guest_read_image(&versions->guest, versions->guest.setup.inflight);
    versions_check_now(versions, data);
}

void versions_clear(struct versions *versions)
{
    g_ptr_array_unref(versions->instants);
    g_free(versions->sectors);
}

void versions_resize(struct versions *versions, uint64_t len)
{
    uint64_t n = len / BLK_SECTOR;

    versions->sectors = g_renew(struct versions_sector, versions->sectors, n);
    for (uint64_t i = versions->n_sectors; i < n; i++)
        versions->sectors[i] = (struct versions_sector){.is_zero = true};
    versions->n_sectors = n;
    versions->guest.setup.image_len = len;
}

/* --- requests --- */

static bool versions_overlap(const struct versions *versions, uint64_t first, uint64_t n)
{
    for (unsigned q = 0; q < versions->guest.setup.n_queues; q++) {
        for (unsigned i = 0; i < VERSIONS_SLOTS; i++) {
            const struct versions_request *request = &versions->requests[q][i];

            if (versions->slots[q][i].in_flight && first < request->first + request->n &&
                request->first < first + n)
                return true;
        }
    }
    return false;
}

static void instant_note(struct versions_instant *instant, const struct versions_request *request)
{
    g_array_append_val(instant->beside, *request);
    for (uint64_t s = request->first; request->is_zero && s < request->first + request->n; s++)
        instant->may_be_zero[s] = true;
}

static void versions_fill(struct blk_guest_slot *slot, const struct versions_request *request,
                          uint32_t type)
{
    struct blk_range range = {.sector = le64_from(request->first),
                              .num_sectors = le32_from((uint32_t)request->n)};
    uint32_t len = (uint32_t)request->n * BLK_SECTOR;

    switch (type) {
    case BLK_T_IN:
        blk_guest_fill(slot, type, request->first, 0, len);
        memset(slot->in, 0xa5, len);
        break;
    case BLK_T_OUT:
        blk_guest_fill(slot, type, request->first, len, 0);
        for (uint32_t i = 0; i < len; i += sizeof(request->number))
            memcpy(slot->out + VERSIONS_HEADER + i, &request->number, sizeof(request->number));
        break;
    case BLK_T_FLUSH:
        blk_guest_fill(slot, type, 0, 0, 0);
        break;
    default:
        blk_guest_fill(slot, type, 0, sizeof(range), 0);
        memcpy(slot->out + VERSIONS_HEADER, &range, sizeof(range));
    }
}

static void versions_begin(struct versions *versions, unsigned queue, unsigned index)
{
    static const uint32_t types[] = {BLK_T_IN,  BLK_T_IN,  BLK_T_OUT,   BLK_T_OUT,
                                     BLK_T_OUT, BLK_T_OUT, BLK_T_FLUSH, BLK_T_WRITE_ZEROES};
    GRand *rand = versions->guest.rand;
    uint32_t type = types[g_rand_int_range(rand, 0, G_N_ELEMENTS(types))];
    uint64_t n_blocks = versions->n_sectors / versions->block;
    uint64_t first = (uint64_t)g_rand_int_range(rand, 0, (gint32)n_blocks) * versions->block;
    uint64_t most = g_rand_int_range(rand, 0, 8) ? 16 : VERSIONS_MAX_SECTORS;
    uint64_t n = (uint64_t)g_rand_int_range(rand, 1, (gint32)(most / versions->block) + 1);
    struct versions_request request = {.first = first, .is_zero = type == BLK_T_WRITE_ZEROES};

    request.n = type == BLK_T_FLUSH ? 0 : MIN(n * versions->block, versions->n_sectors - first);
    if (versions_overlap(versions, request.first, request.n))
        return;
    request.number = ++versions->n_begun;
    versions->requests[queue][index] = request;
    versions_fill(&versions->slots[queue][index], &request, type);
    g_assert_true(blk_guest_add(&versions->guest, queue, &versions->slots[queue][index]));
    if (versions->instant && type != BLK_T_IN)
        instant_note(versions->instant, &request);
}

static void versions_check_sector(const struct versions_sector *sector, const uint8_t *data)
{
    uint64_t expected = sector->is_zero ? 0 : sector->number;

    for (unsigned i = 0; i < BLK_SECTOR; i += sizeof(expected)) {
        uint64_t found;

        memcpy(&found, data + i, sizeof(found));
        g_assert_cmpuint(found, ==, expected);
    }
}

static void versions_end(struct versions *versions, struct blk_guest_slot *slot)
{
    size_t at = (size_t)(slot - &versions->slots[0][0]);
    const struct versions_request *request = &versions->requests[0][0] + at;

    g_assert_cmpuint(blk_guest_status(slot), ==, BLK_S_OK);
    versions->n_done++;
    for (uint64_t i = 0; i < request->n; i++) {
        struct versions_sector *sector = &versions->sectors[request->first + i];

        if (slot->type == BLK_T_IN)
            versions_check_sector(sector, slot->in + i * BLK_SECTOR);
        else
            *sector = (struct versions_sector){request->number, request->is_zero};
    }
}

/* --- going on --- */

bool versions_harvest(struct versions *versions)
{
    struct blk_guest_slot *slot;
    bool got = false;

    for (unsigned q = 0; q < versions->guest.setup.n_queues; q++) {
        while ((slot = blk_guest_try_take(&versions->guest, q)) != NULL) {
            versions_end(versions, slot);
            got = true;
        }
    }
    return got;
}

static void versions_pump(struct versions *versions)
{
    struct blk_guest *guest = &versions->guest;
    bool got;

    for (unsigned q = 0; q < guest->setup.n_queues; q++) {
        for (unsigned i = 0; i < VERSIONS_SLOTS; i++)
            if (!versions->slots[q][i].in_flight && g_rand_int_range(guest->rand, 0, 3) > 0)
                versions_begin(versions, q, i);
        vu_driver_kick(guest->queues[q]);
    }
    got = versions_harvest(versions);
    versions->n_idle = got ? 0 : versions->n_idle + 1;
    g_assert_cmpuint(versions->n_idle, <, VERSIONS_PATIENCE);
    if (!got)
        g_usleep(VERSIONS_NAP_US);
}

void versions_run(struct versions *versions, unsigned n)
{
    uint64_t until = versions->n_done + n;

    while (versions->n_done < until)
        versions_pump(versions);
}

void versions_drain(struct versions *versions)
{
    for (unsigned q = 0; q < versions->guest.setup.n_queues; q++)
        while (versions->guest.queues[q]->n_in_flight > 0)
            versions_end(versions, blk_guest_take(&versions->guest, q));
}

static struct versions_instant *versions_begin_instant(struct versions *versions, const char *name)
{
    struct versions_instant *instant = g_new0(struct versions_instant, 1);

    instant->name = g_strdup(name);
    instant->n_sectors = versions->n_sectors;
    instant->since = g_new(uint64_t, versions->n_sectors);
    instant->may_be_zero = g_new(bool, versions->n_sectors);
    instant->beside = g_array_new(FALSE, FALSE, sizeof(struct versions_request));
    for (uint64_t i = 0; i < versions->n_sectors; i++) {
        instant->since[i] = versions->sectors[i].number;
        instant->may_be_zero[i] = versions->sectors[i].is_zero;
    }
    for (unsigned q = 0; q < versions->guest.setup.n_queues; q++)
        for (unsigned i = 0; i < VERSIONS_SLOTS; i++)
            if (versions->slots[q][i].in_flight && versions->slots[q][i].type != BLK_T_IN)
                instant_note(instant, &versions->requests[q][i]);
    return instant;
}

char *versions_command(struct versions *versions, const char *name, int fd, const char *line)
{
    int control = blk_control_connect(versions->guest.control);
    char *answer;

    if (name)
        versions->instant = versions_begin_instant(versions, name);
    blk_control_send(control, fd, "%s", line);
    while (!(answer = blk_control_answer(control, 0)))
        versions_pump(versions);
    if (name) {
        versions->instant->last = versions->n_begun;
        g_ptr_array_add(versions->instants, g_steal_pointer(&versions->instant));
    }
    close(control);
    return answer;
}

/* --- judging --- */

static uint64_t versions_number(const uint8_t *sector)
{
    uint64_t number, other;

    memcpy(&number, sector, sizeof(number));
    for (unsigned i = 0; i < BLK_SECTOR; i += sizeof(other)) {
        memcpy(&other, sector + i, sizeof(other));
        g_assert_cmpuint(other, ==, number);
    }
    return number;
}

/* Of a write that shows anywhere, nothing older shows where it was. */
static void instant_check_whole(const struct versions_request *request, const uint8_t *data)
{
    bool shows = false, lacks = false;

    for (uint64_t s = request->first; s < request->first + request->n; s++) {
        uint64_t number = versions_number(data + s * BLK_SECTOR);

        shows = shows || number == request->number;
        lacks = lacks || (number != 0 && number < request->number);
    }
    g_assert_false(shows && lacks);
}

void versions_check_instant(const struct versions_instant *instant, const uint8_t *data)
{
    for (uint64_t s = 0; s < instant->n_sectors; s++) {
        uint64_t number = versions_number(data + s * BLK_SECTOR);

        if (number == 0) {
            g_assert_true(instant->may_be_zero[s]);
            continue;
        }
        g_assert_cmpuint(number, >=, instant->since[s]);
        g_assert_cmpuint(number, <=, instant->last);
    }
    for (guint i = 0; i < instant->beside->len; i++)
        instant_check_whole(&g_array_index(instant->beside, struct versions_request, i), data);
}

void versions_check_now(const struct versions *versions, const uint8_t *data)
{
    for (uint64_t s = 0; s < versions->n_sectors; s++)
        versions_check_sector(&versions->sectors[s], data + s * BLK_SECTOR);
}
