/* SPDX-License-Identifier: Apache-2.0 */
/* The passes, split rings first; see passes.h. */
#include "passes.h"

#include "acpi.h"
#include "irq.h"
#include "user.h"

#define INTERRUPT 0x50

static const struct pass passes[] = {
    {'a', 0, false, "split rings, polled"},
    {'b', 0, true, "split rings, interrupts"},
    {'c', F_EVENT_IDX, true, "split rings, interrupts, event index"},
    {'d', F_PACKED, false, "packed rings, polled"},
    {'e', F_PACKED, true, "packed rings, interrupts"},
    {'f', F_PACKED | F_EVENT_IDX, true, "packed rings, interrupts, event index"},
};

volatile unsigned passes_n_irqs;

struct drive {
    uint16_t virtio_id;
    bool has_packed;
    void (*make_pass)(struct virtio *virtio, const struct pass *pass);
};

void payload_ap_main(unsigned index)
{
}

static void on_interrupt(void)
{
    passes_n_irqs++;
    payload_irq_end();
}

void passes_negotiate(struct virtio *virtio, const struct pass *pass)
{
    payload_print("# pass %c: %s\n", (int)pass->name, pass->what);
    payload_check(virtio_negotiate(virtio, F_VERSION_1 | pass->features), "features");
    virtio_enable_msix(virtio);
    virtio_route(virtio, 1, INTERRUPT, !pass->has_irqs);
    passes_n_irqs = 0;
}

/* In ring 3. */
static void drive(void *argument)
{
    const struct drive *driver = argument;
    struct virtio virtio;

    payload_check(payload_ring() == 3, "in ring 3");
    if (!payload_check(virtio_find(&virtio, driver->virtio_id), "a device in the bus"))
        return;
    for (unsigned i = 0; i < sizeof(passes) / sizeof(passes[0]); i++) {
        if (!driver->has_packed && (passes[i].features & F_PACKED))
            continue;
        driver->make_pass(&virtio, &passes[i]);
        payload_check((passes_n_irqs > 0) == passes[i].has_irqs, "interrupts, if they were wanted");
        virtio_reset(&virtio);
    }
}

void passes_run(const struct payload_info *info, uint16_t virtio_id,
                void (*make_pass)(struct virtio *virtio, const struct pass *pass))
{
    struct drive driver = {virtio_id, !payload_has_word(info, "split"), make_pass};

    payload_irq_init();
    payload_irq_init_cpu();
    payload_irq_set(INTERRUPT, on_interrupt);
    payload_user_init();
    payload_user_run(drive, &driver);
    payload_check(payload_ring() == 0, "back in ring 0");
    payload_finish();
}
