/* SPDX-License-Identifier: Apache-2.0 */
/* See pci-rig.h. */
#include "pci-rig.h"

#include <string.h>

#include "vmm/config.h"

static uint64_t device_features(struct virtio_device *virtio)
{
    return FEATURES;
}

static void device_read(struct virtio_device *virtio, uint32_t offset, void *buf, uint32_t len)
{
    g_assert_cmpuint(offset + len, <=, CONFIG_LEN);
    memcpy(buf, ((struct device *)virtio)->space + offset, len);
}

static void device_write(struct virtio_device *virtio, uint32_t offset, const void *buf,
                         uint32_t len)
{
    g_assert_cmpuint(offset + len, <=, CONFIG_LEN);
    memcpy(((struct device *)virtio)->space + offset, buf, len);
}

static int device_start(struct virtio_device *virtio, uint64_t features,
                        const struct virtio_queue *queues, unsigned n_queues)
{
    struct device *device = (struct device *)virtio;

    g_assert_false(device->is_live || device->is_stuck);
    g_assert_cmpuint(n_queues, ==, N_QUEUES);
    g_assert_cmpuint(features & ~FEATURES, ==, 0);
    for (unsigned i = 0; i < n_queues; i++) {
        g_assert_cmpint(queues[i].kick_fd, >=, 0);
        g_assert_cmpint(queues[i].call_fd, >=, 0);
        g_assert_true(!queues[i].enabled || (queues[i].size > 0 && queues[i].size <= QUEUE_SIZE));
    }
    device->n_starts++;
    device->is_live = device->start_error == 0;
    device->features = features;
    memcpy(device->queues, queues, sizeof(device->queues));
    return device->start_error;
}

static void device_stop(struct virtio_device *virtio)
{
    g_assert_true(((struct device *)virtio)->is_live);
    ((struct device *)virtio)->is_live = false;
    ((struct device *)virtio)->n_stops++;
}

static bool device_is_stopped(struct virtio_device *virtio)
{
    return !((struct device *)virtio)->is_live && !((struct device *)virtio)->is_stuck;
}

static void device_destroy(struct virtio_device *virtio)
{
    struct device *device = (struct device *)virtio;

    g_assert_false(device->is_live);
    if (device->tells_last)
        virtio->changed(virtio->transport, false);
    device->n_destroyed++;
}

static const struct virtio_device_ops device_ops = {
    .features = device_features,
    .read_config = device_read,
    .write_config = device_write,
    .start = device_start,
    .stop = device_stop,
    .is_stopped = device_is_stopped,
    .destroy = device_destroy,
};

uint64_t ecam(unsigned offset)
{
    return VMM_ECAM + (SLOT << 15) + offset;
}

uint32_t config_read(struct rig *rig, unsigned offset, unsigned len)
{
    return (uint32_t)vmm_bus_read(&rig->memory, ecam(offset), len);
}

void config_write(struct rig *rig, unsigned offset, unsigned len, uint32_t value)
{
    vmm_bus_write(&rig->memory, ecam(offset), len, value);
}

void rig_init(struct rig *rig)
{
    struct virtio_pci *pci;
    int error;

    memset(rig, 0, sizeof(*rig));
    fake_vm_init(&rig->fake);
    vmm_bus_init(&rig->memory);
    vmm_bus_init(&rig->ports);
    rig->host = pci_host_create(&rig->memory, &rig->ports, &rig->fake.vm);
    g_assert_nonnull(rig->host);
    rig->device.virtio = (struct virtio_device){
        .ops = &device_ops,
        .virtio_id = 2,
        .class_code = 0x010000,
        .config_len = CONFIG_LEN,
        .n_queues = N_QUEUES,
        .queue_size = QUEUE_SIZE,
    };
    pci = virtio_pci_create(&rig->fake.vm, g_main_context_default(), &rig->device.virtio, &error);
    g_assert_nonnull(pci);
    g_assert_cmpint(pci_host_plug(rig->host, 0, virtio_pci_device(pci), SLOT), ==, SLOT);
    config_write(rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    rig->bar1 = config_read(rig, PCI_BASE_ADDRESS_1, 4) & ~0xfu;
    rig->bar4 = config_read(rig, PCI_BASE_ADDRESS_4, 4) & ~0xfu;
}

void rig_clear(struct rig *rig)
{
    pci_host_destroy(rig->host);
    g_assert_cmpuint(rig->device.n_destroyed, ==, 1);
    g_assert_cmpuint(rig->fake.n_kicks, ==, 0);
    g_assert_cmpuint(fake_vm_n_irqfds(&rig->fake), ==, 0);
    vmm_bus_finish(&rig->memory);
    vmm_bus_finish(&rig->ports);
}

uint32_t common_read(struct rig *rig, unsigned offset, unsigned len)
{
    return (uint32_t)vmm_bus_read(&rig->memory, rig->bar4 + offset, len);
}

void common_write(struct rig *rig, unsigned offset, unsigned len, uint32_t value)
{
    vmm_bus_write(&rig->memory, rig->bar4 + offset, len, value);
}

void negotiate(struct rig *rig, uint64_t features)
{
    common_write(rig, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    common_write(rig, VIRTIO_PCI_COMMON_STATUS, 1, 3);
    for (unsigned half = 0; half < 2; half++) {
        common_write(rig, VIRTIO_PCI_COMMON_GFSELECT, 4, half);
        common_write(rig, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> (32 * half)));
    }
    common_write(rig, VIRTIO_PCI_COMMON_STATUS, 1, 11);
}

void enable_queue(struct rig *rig, unsigned index, unsigned size, unsigned vector)
{
    common_write(rig, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
    common_write(rig, VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
    common_write(rig, VIRTIO_PCI_COMMON_Q_MSIX, 2, vector);
    common_write(rig, VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x1000 * (index + 1));
    common_write(rig, VIRTIO_PCI_COMMON_Q_DESCHI, 4, 1);
    vmm_bus_write(&rig->memory, rig->bar4 + VIRTIO_PCI_COMMON_Q_AVAILLO, 8,
                  UINT64_C(0x200002000) + index);
    common_write(rig, VIRTIO_PCI_COMMON_Q_USEDLO, 4, 0x3000);
    common_write(rig, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

void go_live(struct rig *rig)
{
    negotiate(rig, UINT64_C(1) << VIRTIO_F_VERSION_1);
    for (unsigned i = 0; i < N_QUEUES; i++)
        enable_queue(rig, i, 64, i + 1);
    common_write(rig, VIRTIO_PCI_COMMON_STATUS, 1, 15);
}
