/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What leaving the guest costs, and a trip to a back-end and back, for tests/bench/compare-vmm.
 * Each measurement is a line with its name, "+" when it begins and "- COUNT" when it ends: who
 * reads COM1 has the clock. "end" is last.
 *
 * pio: writes to a port that nobody has, from ring 0. With a disk in the bus, from ring 3: mmio,
 * reads of its status register; kick, notifications with nothing in the queue; polled and irq,
 * flushes one at a time, waited for in the ring or by an interrupt.
 */
#include "acpi.h"
#include "irq.h"
#include "user.h"
#include "virtio.h"

#define F_VERSION_1 (1ull << 32)
#define F_PACKED    (1ull << 34)

#define NO_PORT     0x80 /* where a PC's firmware says how far it is */
#define TYPE_FLUSH  4
#define INTERRUPT   0x50

#define BATCH       32
#define LONG_ENOUGH (1ull << 30) /* of the time stamp counter: about 0.4 s */

static uint8_t ring[4096] __attribute__((aligned(4096)));
static struct virtio virtio;
static struct virtio_queue queue;
static volatile unsigned n_irqs;
static uint64_t features;
static struct {
    uint32_t type, reserved;
    uint64_t sector;
} header = {.type = TYPE_FLUSH};
static uint8_t status;

void payload_ap_main(unsigned index)
{
}

static void on_interrupt(void)
{
    n_irqs++;
    payload_irq_end();
}

/* step: once; false ends it all. */
static bool measure(const char *name, bool (*step)(void))
{
    uint64_t count = 0, begin;
    bool good = true;

    payload_print("%s\n+\n", name);
    begin = payload_tsc();
    do {
        for (unsigned i = 0; i < BATCH && good; i++)
            good = step();
        count += BATCH;
    } while (good && payload_tsc() - begin < LONG_ENOUGH);
    payload_print("- %u\n", good ? count : 0);
    return good;
}

static bool write_port(void)
{
    payload_out8(NO_PORT, 0);
    return true;
}

static bool read_status(void)
{
    return virtio_status(&virtio) != 0;
}

static bool kick(void)
{
    virtio_kick(&queue);
    return true;
}

static bool flush(const volatile unsigned *counter)
{
    struct virtio_part parts[] = {{&header, sizeof(header), false}, {&status, 1, true}};
    uint32_t len;
    void *tag;

    status = 0xff;
    if (!virtio_add(&queue, parts, 2, NULL))
        return false;
    virtio_kick(&queue);
    return virtio_wait(&queue, counter, &tag, &len) && status == 0;
}

static bool flush_polled(void)
{
    return flush(NULL);
}

static bool flush_with_irq(void)
{
    return flush(&n_irqs);
}

static bool start(bool has_irqs)
{
    if (!virtio_negotiate(&virtio, F_VERSION_1 | features))
        return false;
    virtio_enable_msix(&virtio);
    virtio_route(&virtio, 1, INTERRUPT, !has_irqs);
    if (!virtio_queue_init(&queue, &virtio, 0, 16, ring))
        return false;
    virtio_set_ok(&virtio);
    return true;
}

static void drive(void *argument)
{
    if (!start(false) || !measure("mmio", read_status) || !measure("kick", kick) ||
        !measure("polled", flush_polled) || !start(true) || !measure("irq", flush_with_irq))
        payload_print("failed\n");
    virtio_reset(&virtio);
}

/* Another VMM may have it somewhere else. */
static void find_ecam(const struct payload_info *info)
{
    const uint8_t *mcfg = payload_acpi_find(info, "MCFG");

    if (mcfg)
        virtio_set_ecam(payload_get(mcfg + 44, 8));
}

void payload_main(const struct payload_info *info)
{
    features = payload_has_word(info, "packed") ? F_PACKED : 0;
    payload_irq_init();
    payload_irq_init_cpu();
    payload_irq_set(INTERRUPT, on_interrupt);
    payload_user_init();
    find_ecam(info);
    measure("pio", write_port);
    if (virtio_find(&virtio, 2))
        payload_user_run(drive, NULL);
    payload_print("end\n");
}
