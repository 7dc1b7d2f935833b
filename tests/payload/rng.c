/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random bytes from a vhost-user back-end: buffers of several lengths, many at a time, through
 * split and packed rings; what is written is not what was there, and not the same twice.
 */
#include "acpi.h"
#include "virtio.h"

#define F_VERSION1 (1ull << 32)
#define F_PACKED   (1ull << 34)
#define PATTERN    0xa5
#define N_BUFFERS  8
#define BUFFER_LEN 256u

static uint8_t ring[4096] __attribute__((aligned(4096)));
static uint8_t buffers[N_BUFFERS][BUFFER_LEN];

void payload_ap_main(unsigned index)
{
}

static void fill(void)
{
    for (unsigned i = 0; i < N_BUFFERS; i++)
        for (unsigned k = 0; k < BUFFER_LEN; k++)
            buffers[i][k] = PATTERN;
}

/* Bytes that differ from what was there: nearly all. */
static unsigned count_changed(const uint8_t *bytes, unsigned len)
{
    unsigned n = 0;

    for (unsigned i = 0; i < len; i++)
        n += bytes[i] != PATTERN;
    return n;
}

static unsigned count_equal(const uint8_t *a, const uint8_t *b)
{
    unsigned n = 0;

    for (unsigned i = 0; i < BUFFER_LEN; i++)
        n += a[i] == b[i];
    return n;
}

static void check_parts(struct virtio_queue *queue)
{
    const struct virtio_part parts[] = {
        {buffers[0], 1, true}, {buffers[0] + 1, 100, true}, {buffers[1], BUFFER_LEN, true}};
    int64_t len;

    fill();
    len = virtio_request(queue, parts, 3);
    payload_check(len == 101 + BUFFER_LEN, "a request of three parts is filled");
    payload_check(count_changed(buffers[0], 101) > 90 && count_changed(buffers[1], 256) > 240,
                  "with what was not there");
    payload_check(count_changed(buffers[0] + 101, BUFFER_LEN - 101) == 0, "and no more than that");
}

static void check_many(struct virtio_queue *queue)
{
    unsigned n_filled = 0, n_equal = 0;
    uint32_t len;
    void *tag;

    fill();
    for (unsigned i = 0; i < N_BUFFERS; i++) {
        const struct virtio_part part = {buffers[i], BUFFER_LEN, true};

        virtio_add(queue, &part, 1, buffers[i]);
    }
    virtio_kick(queue);
    for (unsigned i = 0; i < N_BUFFERS; i++)
        n_filled += virtio_wait(queue, NULL, &tag, &len) && len == BUFFER_LEN;
    payload_check(n_filled == N_BUFFERS, "requests of a batch are filled");
    for (unsigned i = 1; i < N_BUFFERS; i++)
        n_equal += count_equal(buffers[0], buffers[i]);
    payload_check(n_equal < 50, "each with something else");
}

static void check_session(struct virtio *virtio, uint64_t features)
{
    struct virtio_queue queue;

    payload_check(virtio_negotiate(virtio, F_VERSION1 | features), "features");
    payload_check(virtio_queue_init(&queue, virtio, 0, 16, ring), "a queue");
    virtio_set_ok(virtio);
    check_parts(&queue);
    check_many(&queue);
}

void payload_main(const struct payload_info *info)
{
    struct virtio virtio;

    if (!payload_check(virtio_find(&virtio, 4), "an entropy device in the bus"))
        payload_power_off();
    payload_print("# split\n");
    check_session(&virtio, 0);
    virtio_reset(&virtio);
    payload_print("# packed\n");
    check_session(&virtio, F_PACKED);
    virtio_reset(&virtio);
    payload_print("# and split again\n");
    check_session(&virtio, 0);
    payload_finish();
}
