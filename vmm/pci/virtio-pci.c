/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device on PCI: its identity, its BAR of registers, its kicks; see virtio-pci.h. */
#include "vmm/pci/virtio-pci.h"

#include <errno.h>
#include <glib.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <string.h>
#include <sys/eventfd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"
#include "vmm/pci/virtio-pci-state.h"

#define REGISTERS_BAR 4
#define PCI_CFG_AT    0x84 /* the capability through which configuration space reaches a BAR */
#define PCI_CFG_DATA  (PCI_CFG_AT + 16u) /* what the BAR has there, 4 bytes */
#define MSIX_AT       0x98

/* Capabilities, where QEMU has them. virtio 1.3 section 4.1.4. */
static const struct {
    uint8_t at, len, type;
    uint32_t offset, length;
} pci_capabilities[] = {
    {0x40, 16, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_COMMON, VIRTIO_PCI_PAGE},
    {0x50, 16, VIRTIO_PCI_CAP_ISR_CFG, VIRTIO_PCI_ISR_AT, VIRTIO_PCI_PAGE},
    {0x60, 16, VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_PCI_CONFIG_AT, VIRTIO_PCI_PAGE},
    {0x70, 20, VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_PCI_NOTIFY, VIRTIO_PCI_PAGE},
    {PCI_CFG_AT, 20, VIRTIO_PCI_CAP_PCI_CFG, 0, 0},
};

static void pci_add_capabilities(struct pci_device *device)
{
    for (size_t i = 0; i < G_N_ELEMENTS(pci_capabilities); i++) {
        uint8_t *at = device->config + pci_capabilities[i].at;
        bool is_window = pci_capabilities[i].type == VIRTIO_PCI_CAP_PCI_CFG;

        pci_device_add_capability(device, PCI_CAP_ID_VNDR, pci_capabilities[i].at,
                                  pci_capabilities[i].len);
        at[VIRTIO_PCI_CAP_LEN] = pci_capabilities[i].len;
        at[VIRTIO_PCI_CAP_CFG_TYPE] = pci_capabilities[i].type;
        at[VIRTIO_PCI_CAP_BAR] = is_window ? 0 : REGISTERS_BAR;
        pci_put32(at + VIRTIO_PCI_CAP_OFFSET, pci_capabilities[i].offset);
        pci_put32(at + VIRTIO_PCI_CAP_LENGTH, pci_capabilities[i].length);
        if (pci_capabilities[i].type == VIRTIO_PCI_CAP_NOTIFY_CFG)
            pci_put32(at + VIRTIO_PCI_NOTIFY_CAP_MULT, VIRTIO_PCI_MULTIPLIER);
        if (is_window) {
            uint8_t *writable = device->writable + pci_capabilities[i].at;

            writable[VIRTIO_PCI_CAP_BAR] = 0xff;
            memset(writable + VIRTIO_PCI_CAP_OFFSET, 0xff, 12); /* offset, length and data */
        }
    }
}

/* --- BAR 4 --- */

static uint64_t config_read_bytes(struct virtio_pci *pci, uint64_t offset, unsigned len)
{
    uint64_t value = 0;

    if (offset + len <= pci->device->config_len)
        pci->device->ops->read_config(pci->device, (uint32_t)offset, &value, len);
    return value;
}

static uint64_t registers_read(void *opaque, uint64_t offset, unsigned len)
{
    struct virtio_pci *pci = opaque;
    uint64_t in_page = offset % VIRTIO_PCI_PAGE;

    if (offset - in_page == VIRTIO_PCI_ISR_AT)
        return in_page == 0 ? virtio_pci_take_isr(pci) : 0;
    VU_LOCK_SCOPE(&pci->lock);

    switch (offset - in_page) {
    case VIRTIO_PCI_COMMON:
        return virtio_pci_common_read(pci, in_page, len);
    case VIRTIO_PCI_CONFIG_AT:
        return config_read_bytes(pci, in_page, len);
    default:
        return 0;
    }
}

static void pci_kick(struct virtio_pci *pci, uint64_t queue)
{
    if (queue < pci->device->n_queues)
        eventfd_write(pci->queues[queue].kick_fd, 1);
}

static void registers_write(void *opaque, uint64_t offset, unsigned len, uint64_t value)
{
    struct virtio_pci *pci = opaque;
    uint64_t in_page = offset % VIRTIO_PCI_PAGE;

    if (offset - in_page == VIRTIO_PCI_NOTIFY) {
        pci_kick(pci, in_page / VIRTIO_PCI_MULTIPLIER);
        return;
    }
    VU_LOCK_SCOPE(&pci->lock);

    if (offset - in_page == VIRTIO_PCI_COMMON)
        virtio_pci_common_write(pci, in_page, len, value);
    else if (offset - in_page == VIRTIO_PCI_CONFIG_AT && in_page + len <= pci->device->config_len)
        pci->device->ops->write_config(pci->device, (uint32_t)in_page, &value, len);
}

static const struct vmm_bus_ops registers_ops = {registers_read, registers_write};

/* The kicks move with the BAR. */
static void registers_moved(void *opaque, uint64_t gpa)
{
    struct virtio_pci *pci = opaque;
    int rc = 0;

    for (unsigned i = 0; i < pci->device->n_queues; i++) {
        uint64_t at = VIRTIO_PCI_NOTIFY + (uint64_t)i * VIRTIO_PCI_MULTIPLIER;

        if (pci->notify_gpa)
            vmm_vm_remove_ioeventfd(pci->vm, pci->notify_gpa + at, pci->queues[i].kick_fd);
        if (gpa && rc == 0)
            rc = vmm_vm_add_ioeventfd(pci->vm, gpa + at, pci->queues[i].kick_fd);
    }
    pci->notify_gpa = gpa;
    if (rc < 0 && vu_log_is_due(&pci->next_log_ns))
        vu_warning("slot %x: kicks take the long way: %s", pci->pci.slot, g_strerror(-rc));
}

/* --- configuration space --- */

/* What the window (VIRTIO_PCI_CAP_PCI_CFG) shows; NULL where it is not set to anything. */
static struct pci_bar *window_target(struct virtio_pci *pci, uint32_t *ret_offset,
                                     unsigned *ret_len)
{
    const uint8_t *at = pci->pci.config + PCI_CFG_AT;
    uint8_t index = at[VIRTIO_PCI_CAP_BAR];
    uint32_t offset = pci_get(at + VIRTIO_PCI_CAP_OFFSET, 4);
    uint32_t len = pci_get(at + VIRTIO_PCI_CAP_LENGTH, 4);

    if (index >= PCI_N_BARS || (len != 1 && len != 2 && len != 4) || offset % len != 0 ||
        offset >= pci->pci.bars[index].len)
        return NULL;
    *ret_offset = offset;
    *ret_len = len;
    return &pci->pci.bars[index];
}

static bool window_is_at(unsigned offset, unsigned len)
{
    return offset < PCI_CFG_DATA + 4 && offset + len > PCI_CFG_DATA;
}

static void pci_config_reading(struct pci_device *device, unsigned offset, unsigned len)
{
    struct virtio_pci *pci = (struct virtio_pci *)device;
    const struct pci_bar *bar;
    unsigned width;
    uint64_t value;
    uint32_t at;

    if (!window_is_at(offset, len))
        return;
    bar = window_target(pci, &at, &width);
    if (!bar)
        return;
    value = bar->ops->read(bar->opaque, at, width);
    for (unsigned i = 0; i < width; i++)
        device->config[PCI_CFG_DATA + i] = (uint8_t)(value >> (8 * i));
}

static void pci_config_written(struct pci_device *device, unsigned offset, unsigned len)
{
    struct virtio_pci *pci = (struct virtio_pci *)device;
    const struct pci_bar *bar;
    unsigned width;
    uint32_t at;

    msix_config_written(&pci->msix, device);
    if (!window_is_at(offset, len))
        return;
    bar = window_target(pci, &at, &width);
    if (bar)
        bar->ops->write(bar->opaque, at, width, pci_get(device->config + PCI_CFG_DATA, width));
}

static void pci_reset(struct pci_device *device)
{
    struct virtio_pci *pci = (struct virtio_pci *)device;

    VU_LOCK_SCOPE(&pci->lock);

    virtio_pci_reset_locked(pci);
    msix_reset(&pci->msix);
}

/* --- life --- */

static void pci_destroy(struct pci_device *device)
{
    struct virtio_pci *pci = (struct virtio_pci *)device;

    if (pci->is_live)
        pci->device->ops->stop(pci->device);
    __atomic_store_n(&pci->status, 0, __ATOMIC_RELEASE); /* the device has no driver to tell */
    virtio_pci_take_isr(pci);
    pci->device->ops->destroy(pci->device);
    /* Nobody signals any more. */
    virtio_pci_disconnect_calls(pci);
    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
        vu_clear_fd(&pci->queues[i].kick_fd);
    msix_finish(&pci->msix);
    pthread_mutex_destroy(&pci->isr_lock);
    pthread_mutex_destroy(&pci->lock);
    g_main_context_unref(pci->context);
    g_free(pci);
}

static const struct pci_device_ops virtio_pci_ops = {
    .config_written = pci_config_written,
    .config_reading = pci_config_reading,
    .reset = pci_reset,
    .destroy = pci_destroy,
};

static int pci_make_kicks(struct virtio_pci *pci)
{
    for (unsigned i = 0; i < pci->device->n_queues; i++) {
        pci->queues[i].kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (pci->queues[i].kick_fd < 0)
            return -errno;
    }
    return 0;
}

struct virtio_pci *virtio_pci_create(struct vmm_vm *vm, GMainContext *context,
                                     struct virtio_device *device, int *ret_error)
{
    const struct pci_identity identity = {
        .vendor = 0x1af4,
        .device = (uint16_t)(0x1040 + device->virtio_id),
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
        .class_code = device->class_code,
        .revision = 1,
        .has_pin = true,
    };
    struct virtio_pci *pci = g_new0(struct virtio_pci, 1);
    /* One for each queue and one for the configuration, as far as they go. */
    unsigned n_vectors = MIN(device->n_queues + 1, MSIX_MAX_VECTORS);

    pci_device_init(&pci->pci, &virtio_pci_ops, &identity);
    pthread_mutex_init(&pci->lock, NULL);
    pthread_mutex_init(&pci->isr_lock, NULL);
    pci->vm = vm;
    pci->context = g_main_context_ref(context);
    pci->device = device;
    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
        pci->queues[i].kick_fd = pci->queues[i].call_fd = -1;
    pci_add_capabilities(&pci->pci);
    *ret_error = pci_make_kicks(pci);
    if (*ret_error == 0)
        *ret_error = msix_init(&pci->msix, &pci->pci, vm, n_vectors, MSIX_AT);
    if (*ret_error < 0) {
        pci_destroy(&pci->pci);
        return NULL;
    }
    pci->pci.bars[REGISTERS_BAR] = (struct pci_bar){
        .len = VIRTIO_PCI_BAR_LEN,
        .is_64 = true,
        .ops = &registers_ops,
        .opaque = pci,
        .moved = registers_moved,
    };
    pci_device_add_bar(&pci->pci, REGISTERS_BAR);
    virtio_pci_reset_locked(pci);
    device->transport = pci;
    __atomic_store_n(&device->changed, virtio_pci_changed, __ATOMIC_RELEASE);
    return pci;
}

struct pci_device *virtio_pci_device(struct virtio_pci *pci)
{
    return &pci->pci;
}

void virtio_pci_stop(struct virtio_pci *pci)
{
    VU_LOCK_SCOPE(&pci->lock);

    virtio_pci_reset_locked(pci);
}

bool virtio_pci_is_stopped(struct virtio_pci *pci)
{
    VU_LOCK_SCOPE(&pci->lock);

    return virtio_pci_settle_locked(pci);
}
