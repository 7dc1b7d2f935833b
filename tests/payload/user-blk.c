/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk behind a vhost-user back-end, driven from ring 3: several requests in flight over split
 * and packed rings, polled and with interrupts, with and without an event index.
 *
 * Each sector is lines "sector NNNNNNN P": its number, and who wrote it. The host has written the
 * first 256 KiB (h); each pass reads these, and writes and reads as much behind the last one (a, b,
 * ...). The command line may say "long": each pass goes on for some seconds, while the back-end is
 * killed.
 */
#include "acpi.h"
#include "passes.h"

#define TYPE_IN       0
#define TYPE_OUT      1
#define TYPE_FLUSH    4

#define IN_FLIGHT     12
#define BLOCK         4096
#define BLOCK_SECTORS (BLOCK / 512)
#define N_BLOCKS      64           /* a power of two */
#define LONG          (1ull << 33) /* of the time stamp counter: some seconds */

struct header {
    uint32_t type, reserved;
    uint64_t sector;
};

struct request {
    struct header header;
    uint8_t status;
    uint8_t data[BLOCK];
};

static uint8_t ring[4096] __attribute__((aligned(4096)));
static struct request requests[IN_FLIGHT];
static bool is_long;

static void fill_line(uint8_t line[16], uint64_t sector, char pass)
{
    static const char word[] = "sector ";

    for (unsigned i = 0; i < 7; i++)
        line[i] = (uint8_t)word[i];
    for (unsigned i = 13; i >= 7; i--, sector /= 10)
        line[i] = (uint8_t)('0' + sector % 10);
    line[14] = (uint8_t)pass;
    line[15] = '\n';
}

static void fill(uint8_t *data, uint64_t sector, char pass)
{
    for (unsigned i = 0; i < BLOCK; i += 16)
        fill_line(data + i, sector + i / 512, pass);
}

static bool is_filled(const uint8_t *data, uint64_t sector, char pass)
{
    uint8_t line[16];

    for (unsigned i = 0; i < BLOCK; i++) {
        if (i % 16 == 0)
            fill_line(line, sector + i / 512, pass);
        if (data[i] != line[i % 16])
            return false;
    }
    return true;
}

static bool submit(struct virtio_queue *queue, struct request *request, uint32_t type,
                   uint64_t sector, char pass)
{
    struct virtio_part parts[] = {
        {&request->header, sizeof(request->header), false},
        {request->data, BLOCK, type == TYPE_IN},
        {&request->status, 1, true},
    };

    request->header = (struct header){.type = type, .sector = sector};
    request->status = 0xff;
    if (type == TYPE_OUT)
        fill(request->data, sector, pass);
    if (!virtio_add(queue, parts, 3, request))
        return false;
    virtio_notify(queue);
    return true;
}

static bool is_done(const struct request *request, uint32_t len, char pass)
{
    bool is_write = request->header.type == TYPE_OUT;

    return request->status == 0 && len == (is_write ? 1 : BLOCK + 1) &&
           (is_write || is_filled(request->data, request->header.sector, pass));
}

/* Where the n-th request of a region goes: to each block once, in an order of its own. */
static uint64_t sector_of(uint64_t first, unsigned n)
{
    return first + n * 37 % N_BLOCKS * BLOCK_SECTORS;
}

/* All blocks of a region, as many at a time as there are requests. */
static bool move_region(struct virtio_queue *queue, const volatile unsigned *counter, uint32_t type,
                        uint64_t first, char pass)
{
    unsigned n_begun = 0;

    for (; n_begun < IN_FLIGHT; n_begun++)
        if (!submit(queue, &requests[n_begun], type, sector_of(first, n_begun), pass))
            return false;
    for (unsigned n_done = 0; n_done < N_BLOCKS; n_done++) {
        void *tag = NULL;
        uint32_t len;

        if (!virtio_wait(queue, counter, &tag, &len) || !is_done(tag, len, pass))
            return false;
        if (n_begun < N_BLOCKS && !submit(queue, tag, type, sector_of(first, n_begun++), pass))
            return false;
    }
    return true;
}

static bool flush(struct virtio_queue *queue)
{
    struct request *request = &requests[0];
    struct virtio_part parts[] = {
        {&request->header, sizeof(request->header), false},
        {&request->status, 1, true},
    };

    request->header = (struct header){.type = TYPE_FLUSH};
    request->status = 0xff;
    return virtio_request(queue, parts, 2) == 1 && request->status == 0;
}

/* Writes and reads something else and the same again, so that no request may be lost. */
static bool move_for_long(struct virtio_queue *queue, const volatile unsigned *counter,
                          uint64_t first, char pass)
{
    const char letters[] = {(char)(pass - 'a' + 'A'), pass};
    uint64_t begin = payload_tsc();
    bool good = true;

    while (good && payload_tsc() - begin < LONG)
        for (unsigned i = 0; good && i < sizeof(letters); i++)
            good = move_region(queue, counter, TYPE_OUT, first, letters[i]) &&
                   move_region(queue, counter, TYPE_IN, first, letters[i]);
    return good;
}

static void make_pass(struct virtio *virtio, const struct pass *pass)
{
    const uint64_t own = (uint64_t)N_BLOCKS * BLOCK_SECTORS * (unsigned)(pass->name - 'a' + 1);
    const volatile unsigned *counter = pass->has_irqs ? &passes_n_irqs : NULL;
    struct virtio_queue queue;

    passes_negotiate(virtio, pass);
    payload_check(virtio_queue_init(&queue, virtio, 0, 64, ring), "queue");
    virtio_set_ok(virtio);
    payload_check(move_region(&queue, counter, TYPE_IN, 0, 'h'), "what the host wrote is read");
    payload_check(move_region(&queue, counter, TYPE_OUT, own, pass->name), "writing");
    payload_check(move_region(&queue, counter, TYPE_IN, own, pass->name),
                  "what was written is read");
    if (is_long)
        payload_check(move_for_long(&queue, counter, own, pass->name), "and for a while");
    payload_check(flush(&queue), "flushed");
}

void payload_main(const struct payload_info *info)
{
    is_long = payload_has_word(info, "long");
    passes_run(info, 2, make_pass);
}
