/* SPDX-License-Identifier: Apache-2.0 */
/* MSI-X: the table, the pending bits, and what KVM waits on; see msix.h. */
#include "vmm/pci/msix.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

#define ENTRY_LEN PCI_MSIX_ENTRY_SIZE

/* Has KVM deliver the vector's message whenever its eventfd is written, or not. Locked. */
static void msix_settle(struct msix *msix, struct msix_vector *vector)
{
    bool wanted = msix->is_enabled && !msix->is_masked && !vector->is_masked;
    int rc = 0;

    if (wanted && !vector->has_gsi) {
        rc = vmm_vm_take_gsi(msix->vm, &vector->gsi);
        vector->has_gsi = rc == 0;
    }
    if (rc == 0 && wanted)
        rc = vmm_vm_route_msi(msix->vm, vector->gsi, vector->address, vector->data);
    if (rc == 0 && wanted && !vector->is_attached) {
        rc = vmm_vm_add_irqfd(msix->vm, vector->gsi, vector->eventfd);
        vector->is_attached = rc == 0;
    }
    if (!wanted && vector->is_attached) {
        vmm_vm_remove_irqfd(msix->vm, vector->gsi, vector->eventfd);
        vector->is_attached = false;
    }
    if (rc < 0 && vu_log_is_due(&msix->next_log_ns))
        vu_error("msix: a vector cannot be routed: %s", g_strerror(-rc));
}

static void msix_settle_all(struct msix *msix)
{
    for (unsigned i = 0; i < msix->n_vectors; i++)
        msix_settle(msix, &msix->vectors[i]);
}

/* --- the table --- */

static uint32_t table_read(const struct msix_vector *vector, unsigned offset)
{
    switch (offset & ~3u) {
    case PCI_MSIX_ENTRY_LOWER_ADDR:
        return (uint32_t)vector->address;
    case PCI_MSIX_ENTRY_UPPER_ADDR:
        return (uint32_t)(vector->address >> 32);
    case PCI_MSIX_ENTRY_DATA:
        return vector->data;
    default:
        return vector->is_masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0;
    }
}

static void table_write(struct msix_vector *vector, unsigned offset, uint32_t value)
{
    switch (offset & ~3u) {
    case PCI_MSIX_ENTRY_LOWER_ADDR:
        vector->address = (vector->address & ~UINT64_C(0xffffffff)) | (value & ~3u);
        break;
    case PCI_MSIX_ENTRY_UPPER_ADDR:
        vector->address = (vector->address & 0xffffffff) | (uint64_t)value << 32;
        break;
    case PCI_MSIX_ENTRY_DATA:
        vector->data = value;
        break;
    default:
        vector->is_masked = value & PCI_MSIX_ENTRY_CTRL_MASKBIT;
        break;
    }
}

static bool msix_is_pending(const struct msix_vector *vector)
{
    struct pollfd poll_fd = {.fd = vector->eventfd, .events = POLLIN};

    return !vector->is_attached && poll(&poll_fd, 1, 0) == 1;
}

static uint64_t pending_read(const struct msix *msix, uint64_t offset, unsigned len)
{
    uint64_t bits = 0;

    for (unsigned i = 0; i < 8 * len; i++) {
        uint64_t vector = 8 * offset + i;

        if (vector < msix->n_vectors && msix_is_pending(&msix->vectors[vector]))
            bits |= UINT64_C(1) << i;
    }
    return bits;
}

/* Whole dwords, one or two of them: what the specification allows. */
static uint64_t msix_read(void *opaque, uint64_t offset, unsigned len)
{
    struct msix *msix = opaque;
    uint64_t value = 0;

    VU_LOCK_SCOPE(&msix->lock);

    if (len < 4 || offset % len != 0)
        return 0;
    if (offset >= MSIX_PBA_OFFSET)
        return pending_read(msix, offset - MSIX_PBA_OFFSET, len);
    for (unsigned at = 0; at < len; at += 4) {
        uint64_t entry = (offset + at) / ENTRY_LEN;

        if (entry < msix->n_vectors)
            value |= (uint64_t)table_read(&msix->vectors[entry], (offset + at) % ENTRY_LEN)
                     << (8 * at);
    }
    return value;
}

static void msix_write(void *opaque, uint64_t offset, unsigned len, uint64_t value)
{
    struct msix *msix = opaque;
    uint64_t entry = offset / ENTRY_LEN;

    VU_LOCK_SCOPE(&msix->lock);

    if (len < 4 || offset % len != 0 || entry >= msix->n_vectors)
        return;
    for (unsigned at = 0; at < len; at += 4)
        table_write(&msix->vectors[entry], (unsigned)(offset + at) % ENTRY_LEN,
                    (uint32_t)(value >> (8 * at)));
    msix_settle(msix, &msix->vectors[entry]);
}

static const struct vmm_bus_ops msix_ops = {msix_read, msix_write};

/* --- life --- */

int msix_init(struct msix *msix, struct pci_device *device, struct vmm_vm *vm, unsigned n_vectors,
              uint8_t capability)
{
    uint8_t *at = device->config + capability;

    memset(msix, 0, sizeof(*msix));
    pthread_mutex_init(&msix->lock, NULL);
    msix->vm = vm;
    msix->capability = capability;
    for (; msix->n_vectors < n_vectors; msix->n_vectors++) {
        struct msix_vector *vector = &msix->vectors[msix->n_vectors];

        vector->is_masked = true;
        vector->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (vector->eventfd < 0)
            return -errno;
    }
    pci_device_add_capability(device, PCI_CAP_ID_MSIX, capability, PCI_CAP_MSIX_SIZEOF);
    pci_put16(at + PCI_MSIX_FLAGS, (uint16_t)(n_vectors - 1));
    pci_put32(at + PCI_MSIX_TABLE, 1);
    pci_put32(at + PCI_MSIX_PBA, 1 | MSIX_PBA_OFFSET);
    pci_put16(device->writable + capability + PCI_MSIX_FLAGS,
              PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    device->bars[1] = (struct pci_bar){.len = MSIX_BAR_LEN, .ops = &msix_ops, .opaque = msix};
    pci_device_add_bar(device, 1);
    return 0;
}

void msix_finish(struct msix *msix)
{
    msix->is_enabled = false;
    msix_settle_all(msix);
    for (unsigned i = 0; i < msix->n_vectors; i++) {
        if (msix->vectors[i].has_gsi)
            vmm_vm_give_gsi(msix->vm, msix->vectors[i].gsi);
        vu_clear_fd(&msix->vectors[i].eventfd);
    }
    pthread_mutex_destroy(&msix->lock);
}

void msix_config_written(struct msix *msix, const struct pci_device *device)
{
    uint32_t flags = pci_get(device->config + msix->capability + PCI_MSIX_FLAGS, 2);
    bool is_enabled = flags & PCI_MSIX_FLAGS_ENABLE, is_masked = flags & PCI_MSIX_FLAGS_MASKALL;

    VU_LOCK_SCOPE(&msix->lock);

    if (is_enabled == msix->is_enabled && is_masked == msix->is_masked)
        return;
    msix->is_enabled = is_enabled;
    msix->is_masked = is_masked;
    msix_settle_all(msix);
}

void msix_reset(struct msix *msix)
{
    VU_LOCK_SCOPE(&msix->lock);

    msix->is_enabled = msix->is_masked = false;
    for (unsigned i = 0; i < msix->n_vectors; i++) {
        struct msix_vector *vector = &msix->vectors[i];
        eventfd_t count;

        msix_settle(msix, vector);
        eventfd_read(vector->eventfd, &count);
        vector->address = 0;
        vector->data = 0;
        vector->is_masked = true;
    }
}

int msix_eventfd(const struct msix *msix, unsigned vector)
{
    return vector < msix->n_vectors ? msix->vectors[vector].eventfd : -1;
}

void msix_signal(struct msix *msix, unsigned vector)
{
    if (vector < msix->n_vectors)
        eventfd_write(msix->vectors[vector].eventfd, 1);
}

bool msix_enabled(struct msix *msix)
{
    VU_LOCK_SCOPE(&msix->lock);

    return msix->is_enabled;
}
