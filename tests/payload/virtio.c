/* SPDX-License-Identifier: Apache-2.0 */
/* PCI and virtio registers as a driver uses them; see virtio.h. virtio 1.3 section 4.1.
 */
#include "virtio.h"

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

static uint64_t virtio_ecam = 0xe0000000u;
static uint32_t virtio_free_gpa = 0xc0000000u; /* for BARs that nobody has placed */

void virtio_set_ecam(uint64_t gpa)
{
    virtio_ecam = gpa;
}

static uint64_t bar_address(const struct virtio *virtio, unsigned index)
{
    uint32_t low = virtio_read32(virtio->config + 0x10 + 4 * index);
    uint64_t address = low & ~0xfu;

    if ((low & 6) == 4)
        address |= (uint64_t)virtio_read32(virtio->config + 0x14 + 4 * index) << 32;
    return address;
}

/* Firmware has not always done that. Nobody decodes the BARs yet. */
static void place_bars(struct virtio *virtio)
{
    for (unsigned i = 0; i < 6; i++) {
        volatile uint8_t *bar = virtio->config + 0x10 + 4 * i;
        bool is_wide = (virtio_read32(bar) & 6) == 4;
        uint32_t len;

        if (!(virtio_read32(bar) & 1) && bar_address(virtio, i) == 0) {
            virtio_write32(bar, UINT32_MAX);
            len = -(virtio_read32(bar) & ~0xfu);
            if (len)
                virtio_free_gpa = (virtio_free_gpa + len - 1) & -len;
            virtio_write32(bar, len ? virtio_free_gpa : 0);
            virtio_free_gpa += len;
        }
        i += is_wide;
    }
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
        volatile uint8_t *config = payload_at(virtio_ecam + (slot << 15));

        if (virtio_read32(config) != (0x1af4u | (0x1040u + virtio_id) << 16))
            continue;
        *virtio = (struct virtio){.slot = slot, .config = config};
        place_bars(virtio);
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
