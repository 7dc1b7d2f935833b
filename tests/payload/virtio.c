/* SPDX-License-Identifier: Apache-2.0 */
/* PCI and virtio registers as a driver uses them; see virtio.h. virtio 1.3 sections 2.7, 2.8, 4.1.
 */
#include "virtio.h"

#define ECAM       0xe0000000u
#define LOCAL_APIC 0xfee00000u

#define CAP_VENDOR 9
#define CAP_MSIX   17

/* Offsets of the common configuration. */
#define COMMON_DEVICE_SELECT 0
#define COMMON_DEVICE        4
#define COMMON_DRIVER_SELECT 8
#define COMMON_DRIVER        12
#define COMMON_CONFIG_VECTOR 16
#define COMMON_STATUS        20
#define COMMON_SELECT        22
#define COMMON_SIZE          24
#define COMMON_VECTOR        26
#define COMMON_ENABLE        28
#define COMMON_NOTIFY_OFF    30
#define COMMON_DESC          32
#define COMMON_DRIVER_AREA   40
#define COMMON_DEVICE_AREA   48

#define F_PACKED             (1ull << 34)

#define TRIES                200000000u

static uint64_t bar_address(const struct virtio *virtio, unsigned index)
{
    uint32_t low = virtio_read32(virtio->config + 0x10 + 4 * index);
    uint64_t address = low & ~0xfu;

    if ((low & 6) == 4)
        address |= (uint64_t)virtio_read32(virtio->config + 0x14 + 4 * index) << 32;
    return address;
}

static void read_vendor_capability(struct virtio *virtio, uint8_t at)
{
    volatile uint8_t *cap = virtio->config + at;
    volatile uint8_t *place;

    if (cap[3] == 5)
        return;
    place = payload_at(bar_address(virtio, cap[4]) + virtio_read32(cap + 8));
    if (cap[3] == 1)
        virtio->common = place;
    if (cap[3] == 2) {
        virtio->notify = place;
        virtio->multiplier = virtio_read32(cap + 16);
    }
    if (cap[3] == 3)
        virtio->isr = place;
    if (cap[3] == 4)
        virtio->device = place;
}

static void read_capabilities(struct virtio *virtio)
{
    for (uint8_t at = virtio->config[0x34]; at; at = virtio->config[at + 1]) {
        if (virtio->config[at] == CAP_VENDOR)
            read_vendor_capability(virtio, at);
        if (virtio->config[at] != CAP_MSIX)
            continue;
        virtio->msix_at = at;
        virtio->msix = payload_at(bar_address(virtio, virtio_read32(virtio->config + at + 4) & 7) +
                                  (virtio_read32(virtio->config + at + 4) & ~7u));
    }
}

bool virtio_find(struct virtio *virtio, uint16_t virtio_id)
{
    for (unsigned slot = 1; slot < 32; slot++) {
        volatile uint8_t *config = payload_at(ECAM + (slot << 15));

        if (virtio_read32(config) != (0x1af4u | (0x1040u + virtio_id) << 16))
            continue;
        *virtio = (struct virtio){.slot = slot, .config = config};
        virtio_write16(config + 4, 0x6);
        read_capabilities(virtio);
        return virtio->common && virtio->isr && virtio->device && virtio->notify && virtio->msix;
    }
    return false;
}

uint8_t virtio_status(const struct virtio *virtio)
{
    return virtio->common[COMMON_STATUS];
}

void virtio_reset(struct virtio *virtio)
{
    virtio_write8(virtio->common + COMMON_STATUS, 0);
    while (virtio_status(virtio))
        ;
}

static uint64_t offered_features(struct virtio *virtio)
{
    uint64_t features = 0;

    for (uint32_t half = 0; half < 2; half++) {
        virtio_write32(virtio->common + COMMON_DEVICE_SELECT, half);
        features |= (uint64_t)virtio_read32(virtio->common + COMMON_DEVICE) << (32 * half);
    }
    return features;
}

bool virtio_negotiate(struct virtio *virtio, uint64_t wanted)
{
    virtio_reset(virtio);
    virtio_write8(virtio->common + COMMON_STATUS, 1);
    virtio_write8(virtio->common + COMMON_STATUS, 3);
    virtio->features = offered_features(virtio) & wanted;
    for (uint32_t half = 0; half < 2; half++) {
        virtio_write32(virtio->common + COMMON_DRIVER_SELECT, half);
        virtio_write32(virtio->common + COMMON_DRIVER, (uint32_t)(virtio->features >> (32 * half)));
    }
    virtio_write8(virtio->common + COMMON_STATUS, 11);
    return virtio_status(virtio) == 11 && virtio->features == wanted;
}

void virtio_set_ok(struct virtio *virtio)
{
    virtio_write8(virtio->common + COMMON_STATUS, 15);
}

/* --- MSI-X --- */

void virtio_enable_msix(struct virtio *virtio)
{
    volatile uint32_t *spurious = payload_at(LOCAL_APIC + 0xf0);

    *spurious = 0x1ff;
    virtio_write16(virtio->config + virtio->msix_at + 2, 0x8000);
}

void virtio_route(struct virtio *virtio, unsigned vector, unsigned interrupt, bool is_masked)
{
    volatile uint32_t *entry = virtio->msix + 4 * vector;

    entry[3] = 1;
    entry[0] = LOCAL_APIC;
    entry[1] = 0;
    entry[2] = interrupt;
    entry[3] = is_masked;
}

bool virtio_is_pending(const struct virtio *virtio, unsigned vector)
{
    return virtio->msix[512] >> vector & 1;
}

bool virtio_irq_waits(unsigned interrupt)
{
    const volatile uint32_t *irr = payload_at(LOCAL_APIC + 0x200 + interrupt / 32 * 16);

    for (unsigned i = 0; i < 100000; i++)
        if (*irr >> interrupt % 32 & 1)
            return true;
    return false;
}

/* --- queues --- */

/* desc at 0, the driver's part at 1024, the device's at 2048. */
#define DRIVER_AT 1024
#define DEVICE_AT 2048

static void write_address(volatile uint8_t *at, volatile void *memory)
{
    virtio_write32(at, (uint32_t)(uintptr_t)memory);
    virtio_write32(at + 4, 0);
}

bool virtio_queue_init(struct virtio_queue *queue, struct virtio *virtio, unsigned index,
                       unsigned size, void *memory)
{
    *queue = (struct virtio_queue){
        .virtio = virtio,
        .index = index,
        .size = size,
        .is_packed = virtio->features & F_PACKED,
        .wrap = true,
        .memory = memory,
    };
    for (unsigned i = 0; i < 4096; i++)
        queue->memory[i] = 0;
    virtio_write16(virtio->common + COMMON_SELECT, (uint16_t)index);
    virtio_write16(virtio->common + COMMON_SIZE, (uint16_t)size);
    virtio_write16(virtio->common + COMMON_VECTOR, 1);
    write_address(virtio->common + COMMON_DESC, queue->memory);
    write_address(virtio->common + COMMON_DRIVER_AREA, queue->memory + DRIVER_AT);
    write_address(virtio->common + COMMON_DEVICE_AREA, queue->memory + DEVICE_AT);
    virtio_write16(virtio->common + COMMON_ENABLE, 1);
    return virtio_read16(virtio->common + COMMON_ENABLE) == 1;
}

static void queue_kick(const struct virtio_queue *queue)
{
    struct virtio *virtio = queue->virtio;
    uint32_t offset;

    __sync_synchronize();
    virtio_write16(virtio->common + COMMON_SELECT, (uint16_t)queue->index);
    offset = virtio_read16(virtio->common + COMMON_NOTIFY_OFF) * virtio->multiplier;
    virtio_write16(virtio->notify + offset, (uint16_t)queue->index);
}

static void write_descriptor(volatile uint8_t *at, const struct virtio_part *part)
{
    *(volatile uint64_t *)at = (uintptr_t)part->at;
    virtio_write32(at + 8, part->len);
}

static int64_t request_split(struct virtio_queue *queue, const struct virtio_part *parts,
                             unsigned n)
{
    volatile uint8_t *avail = queue->memory + DRIVER_AT, *used = queue->memory + DEVICE_AT;
    unsigned at = queue->next % queue->size;

    for (unsigned i = 0; i < n; i++) {
        volatile uint8_t *descriptor = queue->memory + 16 * i;

        write_descriptor(descriptor, &parts[i]);
        virtio_write16(descriptor + 12, (uint16_t)((i + 1 < n ? 1 : 0) | (parts[i].is_in ? 2 : 0)));
        virtio_write16(descriptor + 14, (uint16_t)(i + 1));
    }
    virtio_write16(avail + 4 + 2 * at, 0);
    __sync_synchronize();
    virtio_write16(avail + 2, ++queue->next);
    queue_kick(queue);
    for (unsigned i = 0; i < TRIES; i++)
        if (virtio_read16(used + 2) == queue->next)
            return virtio_read32(used + 4 + 8 * at + 4);
    return -1;
}

/* Bits 7 and 15 of a packed descriptor's flags, for one made available now. */
static uint16_t packed_available(bool wrap)
{
    return wrap ? 1u << 7 : 1u << 15;
}

static int64_t request_packed(struct virtio_queue *queue, const struct virtio_part *parts,
                              unsigned n)
{
    volatile uint8_t *first = queue->memory + 16 * queue->next;
    uint16_t first_flags = 0;
    bool first_wrap = queue->wrap;

    for (unsigned i = 0; i < n; i++) {
        volatile uint8_t *descriptor = queue->memory + 16 * queue->next;
        uint16_t flags = (uint16_t)((i + 1 < n ? 1 : 0) | (parts[i].is_in ? 2 : 0) |
                                    packed_available(queue->wrap));

        write_descriptor(descriptor, &parts[i]);
        virtio_write16(descriptor + 12, 7); /* the buffer's id */
        if (i == 0)
            first_flags = flags;
        else
            virtio_write16(descriptor + 14, flags);
        if (++queue->next == queue->size) {
            queue->next = 0;
            queue->wrap = !queue->wrap;
        }
    }
    __sync_synchronize();
    virtio_write16(first + 14, first_flags);
    queue_kick(queue);
    for (unsigned i = 0; i < TRIES; i++) {
        uint16_t flags = virtio_read16(first + 14);
        bool is_avail = flags >> 7 & 1, is_used = flags >> 15 & 1;

        if (is_avail == first_wrap && is_used == first_wrap)
            return virtio_read16(first + 12) == 7 ? (int64_t)virtio_read32(first + 8) : -1;
    }
    return -1;
}

int64_t virtio_request(struct virtio_queue *queue, const struct virtio_part *parts, unsigned n)
{
    return queue->is_packed ? request_packed(queue, parts, n) : request_split(queue, parts, n);
}
