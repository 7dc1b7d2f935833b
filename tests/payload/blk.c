/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk behind a vhost-user back-end, as a driver sees it: the device in the PCI bus, reading and
 * writing over split and packed rings, interrupts, registers that are frozen, a reboot.
 *
 * The disk begins with 8 bytes of the letter d, then counts boots in a byte. The command line may
 * say "split" (the back-end has no packed rings) and "long" (go on for some seconds, on rings that
 * it has, while the back-end is killed).
 */
#include "acpi.h"
#include "virtio.h"

#define F_EVENT_IDX (1ull << 29)
#define F_INDIRECT  (1ull << 28)
#define F_VERSION_1 (1ull << 32)
#define F_PACKED    (1ull << 34)

#define FIRST_IRQ   0x50

struct header {
    uint32_t type, reserved;
    uint64_t sector;
};

static uint8_t ring[4096] __attribute__((aligned(4096)));
static uint8_t data[4096], back[4096];
static struct header header;
static uint8_t status;

/* Reads or writes len bytes; the device's answer, or -1. */
static int transfer(struct virtio_queue *queue, bool is_write, uint64_t sector, void *buf,
                    uint32_t len)
{
    struct virtio_part parts[] = {
        {&header, sizeof(header), false},
        {buf, len, !is_write},
        {&status, 1, true},
    };
    int64_t used;

    header = (struct header){.type = is_write, .sector = sector};
    status = 0xff;
    used = virtio_request(queue, parts, 3);
    if (used != (is_write ? 1 : (int64_t)len + 1))
        return -1;
    return status;
}

static void fill(uint8_t *buf, unsigned seed)
{
    for (unsigned i = 0; i < sizeof(data); i++)
        buf[i] = (uint8_t)(seed + i * 7 + i / 256);
}

static bool same(const uint8_t *a, const uint8_t *b)
{
    for (unsigned i = 0; i < sizeof(data); i++)
        if (a[i] != b[i])
            return false;
    return true;
}

static void check_rings(struct virtio *virtio, uint64_t features, unsigned n_rounds,
                        const char *name)
{
    struct virtio_queue queue;
    bool good = true;

    payload_print("# %s rings\n", name);
    payload_check(virtio_negotiate(virtio, F_VERSION_1 | features), "features");
    payload_check(virtio_queue_init(&queue, virtio, 0, 16, ring), "queue");
    virtio_set_ok(virtio);
    payload_check(virtio_status(virtio) == 15, "started");
    for (unsigned round = 0; round < n_rounds && good; round++) {
        fill(data, round);
        good = transfer(&queue, true, 64 + 8 * (round % 256), data, sizeof(data)) == 0 &&
               transfer(&queue, false, 64 + 8 * (round % 256), back, sizeof(back)) == 0 &&
               same(data, back);
    }
    payload_check(good, "what was written is read");
    payload_check(transfer(&queue, false, 1ull << 40, back, 512) == 1, "behind the end: an error");
}

static void check_interrupts(struct virtio *virtio)
{
    struct virtio_queue queue;

    virtio_enable_msix(virtio);
    virtio_route(virtio, 1, FIRST_IRQ, false);
    virtio_negotiate(virtio, F_VERSION_1);
    virtio_queue_init(&queue, virtio, 0, 16, ring);
    virtio_set_ok(virtio);
    transfer(&queue, false, 0, back, 512);
    payload_check(virtio_irq_waits(FIRST_IRQ), "an interrupt");
    virtio_route(virtio, 1, FIRST_IRQ + 1, true);
    transfer(&queue, false, 0, back, 512);
    payload_check(!virtio_irq_waits(FIRST_IRQ + 1), "none while the vector is masked");
    payload_check(virtio_is_pending(virtio, 1), "but a pending bit");
    virtio_route(virtio, 1, FIRST_IRQ + 1, false);
    payload_check(virtio_irq_waits(FIRST_IRQ + 1), "and then the interrupt");
    payload_check(!virtio_is_pending(virtio, 1), "no pending bit any more");
}

static void check_frozen(struct virtio *virtio)
{
    struct virtio_queue queue;

    virtio_negotiate(virtio, F_VERSION_1);
    virtio_queue_init(&queue, virtio, 0, 16, ring);
    virtio_set_ok(virtio);
    virtio_write16(virtio->common + 24, 8);
    virtio_write32(virtio->common + 32, 0x1000);
    payload_check(virtio_read16(virtio->common + 24) == 16 &&
                      virtio_read32(virtio->common + 32) == (uint32_t)(uintptr_t)ring,
                  "a live queue's registers are frozen");
    payload_check(transfer(&queue, false, 0, back, 512) == 0, "and it works");
    virtio_reset(virtio);
    payload_check(virtio_read16(virtio->common + 28) == 0, "a reset ends that");
}

/* The first time it counts, and reboots; the second time it counts, and stays. */
static bool check_reboot(struct virtio *virtio)
{
    struct virtio_queue queue;

    virtio_negotiate(virtio, F_VERSION_1);
    virtio_queue_init(&queue, virtio, 0, 16, ring);
    virtio_set_ok(virtio);
    payload_check(transfer(&queue, false, 0, data, 512) == 0 && data[0] == 'd' && data[7] == 'd',
                  "the disk is the one");
    data[8]++;
    payload_check(transfer(&queue, true, 0, data, 512) == 0, "counted");
    return data[8] == 1;
}

void payload_ap_main(unsigned index)
{
}

void payload_main(const struct payload_info *info)
{
    bool has_packed = !payload_has_word(info, "split");
    struct virtio virtio;

    if (!payload_check(virtio_find(&virtio, 2), "a disk in the bus"))
        payload_power_off();
    payload_check(virtio_read32(virtio.device) > 0, "it has a capacity");
    if (check_reboot(&virtio)) {
        payload_print("# reboot\n");
        payload_reset();
    }
    check_rings(&virtio, 0, 20, "split");
    if (has_packed)
        check_rings(&virtio, F_PACKED, 20, "packed");
    check_interrupts(&virtio);
    check_frozen(&virtio);
    if (payload_has_word(info, "long")) {
        check_rings(&virtio, 0, 150, "long split");
        check_rings(&virtio, has_packed ? F_PACKED : 0, 150, "long packed");
    }
    payload_finish();
}
