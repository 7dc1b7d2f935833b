/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the disk that it finds, if there is one. Waits for what ACPI tells: PCI devices that come
 * (a disk is read) and are to leave (it is let go, the second time without having been reset), and
 * the power button, which ends it.
 */
#include "virtio.h"

#define ACPI_PORT         0x600
#define ACPI_EVENTS       (ACPI_PORT + 0x04)
#define ACPI_SLOTS_UP     (ACPI_PORT + 0x08)
#define ACPI_SLOTS_DOWN   (ACPI_PORT + 0x0c)
#define ACPI_EJECT        (ACPI_PORT + 0x10)
#define EVENT_POWER       1u
#define EVENT_SLOTS       2u
#define VIRTIO_F_VERSION1 (1ull << 32)

static uint8_t ring[4096] __attribute__((aligned(4096)));
static uint8_t sector[512];
static struct {
    uint32_t type, reserved;
    uint64_t sector;
} header;
static uint8_t status;
static struct virtio disk;
static unsigned n_gone; /* disks */

void payload_ap_main(unsigned index)
{
}

/* The first byte of the disk that has come. */
static void read_disk(void)
{
    struct virtio_part parts[] = {
        {&header, sizeof(header), false},
        {sector, sizeof(sector), true},
        {&status, 1, true},
    };
    struct virtio_queue queue;

    if (!payload_check(virtio_find(&disk, 2), "a disk is there"))
        return;
    virtio_negotiate(&disk, VIRTIO_F_VERSION1);
    virtio_queue_init(&queue, &disk, 0, 16, ring);
    virtio_set_ok(&disk);
    header.type = 0;
    header.sector = 0;
    status = 0xff;
    payload_check(virtio_request(&queue, parts, 3) == 513 && status == 0, "it is read");
    payload_print("# it begins with %c\n", (int)sector[0]);
}

static void handle_slots(void)
{
    uint32_t up = payload_in32(ACPI_SLOTS_UP), down = payload_in32(ACPI_SLOTS_DOWN);

    payload_out32(ACPI_SLOTS_UP, up);
    payload_out32(ACPI_SLOTS_DOWN, down);
    if (up) {
        payload_print("# slots up %x\n", (uint64_t)up);
        read_disk();
    }
    if (down) {
        payload_print("# slots down %x\n", (uint64_t)down);
        if (n_gone++ != 1)
            virtio_reset(&disk);
        payload_out32(ACPI_EJECT, down);
    }
}

void payload_main(const struct payload_info *info)
{
    payload_print("# waiting\n");
    if (virtio_find(&disk, 2))
        read_disk();
    for (;;) {
        uint32_t events = payload_in32(ACPI_EVENTS);

        payload_out32(ACPI_EVENTS, events);
        if (events & EVENT_SLOTS)
            handle_slots();
        if (events & EVENT_POWER) {
            payload_check(true, "the power button");
            payload_finish();
            payload_power_off();
        }
    }
}
