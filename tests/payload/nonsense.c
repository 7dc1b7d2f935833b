/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest whose CPUs write nonsense, all at once, to every register of its disk's transport:
 * configuration space, BARs in wrong places, queues, vectors, notifications, and to the ports
 * beside. Then one puts the BARs back, and the disk works. The command line is "cpus=N".
 */
#include "acpi.h"
#include "irq.h"
#include "virtio.h"

#define ECAM       0xe0000000u
#define BAR1       0xc8000000u
#define BAR4       0xc8010000u
#define N_ROUNDS   16u
#define N_WRITES   400u
#define F_VERSION1 (1ull << 32)

static uint8_t ring[4096] __attribute__((aligned(4096)));
static uint8_t scratch[65536]
    __attribute__((aligned(4096))); /* where queues that make no sense lie */
static uint8_t sector[512];
static struct {
    uint32_t type, reserved;
    uint64_t sector;
} header;
static uint8_t status;
static uint64_t seed = 88172645463325252ull;
static struct virtio disk;
static bool is_free;             /* atomic: the others may write */
static unsigned n_up, n_writing; /* atomic: of the others */

/* xorshift64; of all CPUs, which makes it no worse */
static uint64_t any(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static uint64_t below(uint64_t limit)
{
    return any() % limit;
}

static void access(uint64_t gpa, bool is_write)
{
    volatile uint8_t *at = payload_at(gpa);
    uint64_t value = below(2) ? any() : below(16);

    switch (below(3)) {
    case 0:
        if (is_write)
            *at = (uint8_t)value;
        else
            (void)*at;
        break;
    case 1:
        if (is_write)
            virtio_write16(at, (uint16_t)value);
        else
            (void)virtio_read16(at);
        break;
    default:
        if (is_write)
            virtio_write32(at, (uint32_t)value);
        else
            (void)virtio_read32(at);
        break;
    }
}

static void place_bars(volatile uint8_t *config)
{
    virtio_write16(config + 4, 0);
    virtio_write32(config + 0x14, BAR1);
    virtio_write32(config + 0x20, BAR4);
    virtio_write32(config + 0x24, 0);
    virtio_write16(config + 4, 6);
}

/* A device that is live, so that nonsense meets something. */
static void go_live(struct virtio *virtio)
{
    struct virtio_queue queue;

    place_bars(virtio->config);
    virtio_find(virtio, 2);
    virtio_negotiate(virtio, F_VERSION1);
    virtio_queue_init(&queue, virtio, 0, 16, ring);
    virtio_set_ok(virtio);
}

/* Rings anywhere in memory that is nobody's, of contents that are nobody's. */
static void write_nonsense_queue(void)
{
    volatile uint8_t *common = payload_at(BAR4);

    for (unsigned i = 0; i < 64; i++)
        scratch[below(sizeof(scratch))] = (uint8_t)any();
    virtio_write16(common + 22, (uint16_t)below(3));
    for (unsigned offset = 32; offset < 56; offset += 8) {
        uint64_t at = below(2) ? (uintptr_t)scratch + below(sizeof(scratch)) : any();

        virtio_write32(common + offset, (uint32_t)at);
        virtio_write32(common + offset + 4, (uint32_t)(at >> 32));
    }
    virtio_write16(common + 24, (uint16_t)(1u << below(9)));
    virtio_write16(common + 28, 1);
}

static void write_nonsense(void)
{
    bool is_write = below(4) != 0;

    switch (below(7)) {
    case 0:
        access(ECAM + (disk.slot << 15) + below(4092), is_write);
        break;
    case 1:
        access(BAR1 + below(4092), is_write);
        break;
    case 2:
        access(BAR4 + below(0x4000 - 4), is_write);
        break;
    case 3:
        access(BAR4 + 0x3000 + below(64), true);
        break;
    case 4:
        write_nonsense_queue();
        break;
    case 5:
        payload_out32((uint16_t)(0xcf8 + below(5)), (uint32_t)any());
        break;
    default:
        access(BAR4 + below(60), is_write);
        break;
    }
}

static bool read_disk(struct virtio *virtio)
{
    struct virtio_part parts[] = {
        {&header, sizeof(header), false},
        {sector, sizeof(sector), true},
        {&status, 1, true},
    };
    struct virtio_queue queue;

    place_bars(virtio->config);
    if (!virtio_find(virtio, 2) || !virtio_negotiate(virtio, F_VERSION1) ||
        !virtio_queue_init(&queue, virtio, 0, 16, ring))
        return false;
    virtio_set_ok(virtio);
    header.type = 0;
    header.sector = 0;
    status = 0xff;
    return virtio_request(&queue, parts, 3) == 513 && status == 0 && sector[0] == 'd';
}

/* While the first CPU lets them. */
void payload_ap_main(unsigned index)
{
    __atomic_fetch_add(&n_up, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        __atomic_fetch_add(&n_writing, 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&is_free, __ATOMIC_SEQ_CST))
            write_nonsense();
        __atomic_fetch_sub(&n_writing, 1, __ATOMIC_SEQ_CST);
        while (!__atomic_load_n(&is_free, __ATOMIC_SEQ_CST))
            __asm__ volatile("pause");
    }
}

/* All write at once; the first comes back when the others have stopped. */
static void write_together(void)
{
    __atomic_store_n(&is_free, true, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < N_WRITES; i++)
        write_nonsense();
    __atomic_store_n(&is_free, false, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&n_writing, __ATOMIC_SEQ_CST) != 0)
        __asm__ volatile("pause");
}

static void start_others(const struct payload_info *info)
{
    unsigned wanted = payload_argument(info, "cpus=");
    struct payload_cpus cpus;

    payload_irq_init();
    payload_irq_init_cpu();
    payload_acpi_cpus(info, &cpus);
    payload_start_cpus(&cpus);
    while (__atomic_load_n(&n_up, __ATOMIC_SEQ_CST) + 1 < wanted)
        __asm__ volatile("pause");
    payload_check(cpus.n == wanted, "the CPUs are up");
}

void payload_main(const struct payload_info *info)
{
    bool good = payload_check(virtio_find(&disk, 2), "a disk in the bus");

    start_others(info);
    for (unsigned round = 0; round < N_ROUNDS && good; round++) {
        go_live(&disk);
        if (round % 2)
            virtio_reset(&disk);
        write_together();
        good = read_disk(&disk);
    }
    payload_check(good, "after all of it the disk works");
    payload_finish();
}
