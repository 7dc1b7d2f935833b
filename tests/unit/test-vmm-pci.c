/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI bus and the virtio transport as a guest's driver reaches them: configuration space, BARs
 * that move, MSI-X, negotiation, registers that freeze, INTA; and a guest that writes nonsense.
 */
#include <glib.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "fake-vm.h"
#include "vmm/config.h"
#include "vmm/layout.h"
#include "vmm/pci/pci-host.h"
#include "vmm/pci/virtio-pci.h"

#define N_QUEUES   3
#define QUEUE_SIZE 256
#define CONFIG_LEN 24
#define FEATURES   (UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_F_RING_PACKED | 1 << 5)

/* A device that writes down what the transport asks of it. */
struct device {
    struct virtio_device virtio; /* first */
    uint8_t space[CONFIG_LEN];
    unsigned n_starts, n_stops, n_destroyed;
    bool is_live;
    int start_error;
    uint64_t features;
    struct virtio_queue queues[N_QUEUES];
};

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

    g_assert_false(device->is_live);
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

static void device_destroy(struct virtio_device *virtio)
{
    g_assert_false(((struct device *)virtio)->is_live);
    ((struct device *)virtio)->n_destroyed++;
}

static const struct virtio_device_ops device_ops = {
    .features = device_features,
    .read_config = device_read,
    .write_config = device_write,
    .start = device_start,
    .stop = device_stop,
    .destroy = device_destroy,
};

struct rig {
    struct fake_vm fake;
    struct vmm_bus memory, ports;
    struct pci_host *host;
    struct device device;
    uint64_t bar1, bar4;
};

#define SLOT 5

static uint64_t ecam(unsigned offset)
{
    return VMM_ECAM + (SLOT << 15) + offset;
}

static uint32_t config_read(struct rig *rig, unsigned offset, unsigned len)
{
    return (uint32_t)vmm_bus_read(&rig->memory, ecam(offset), len);
}

static void config_write(struct rig *rig, unsigned offset, unsigned len, uint32_t value)
{
    vmm_bus_write(&rig->memory, ecam(offset), len, value);
}

static void rig_init(struct rig *rig)
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
    pci = virtio_pci_create(&rig->fake.vm, g_main_context_default(), &rig->device.virtio,
                            VMM_NO_NODE, &error);
    g_assert_nonnull(pci);
    g_assert_cmpint(pci_host_plug(rig->host, virtio_pci_device(pci), SLOT), ==, SLOT);
    config_write(rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    rig->bar1 = config_read(rig, PCI_BASE_ADDRESS_1, 4) & ~0xfu;
    rig->bar4 = config_read(rig, PCI_BASE_ADDRESS_4, 4) & ~0xfu;
}

static void rig_clear(struct rig *rig)
{
    pci_host_destroy(rig->host);
    g_assert_cmpuint(rig->device.n_destroyed, ==, 1);
    g_assert_cmpuint(rig->fake.n_kicks, ==, 0);
    g_assert_cmpuint(fake_vm_n_irqfds(&rig->fake), ==, 0);
    vmm_bus_finish(&rig->memory);
    vmm_bus_finish(&rig->ports);
}

static uint32_t common_read(struct rig *rig, unsigned offset, unsigned len)
{
    return (uint32_t)vmm_bus_read(&rig->memory, rig->bar4 + offset, len);
}

static void common_write(struct rig *rig, unsigned offset, unsigned len, uint32_t value)
{
    vmm_bus_write(&rig->memory, rig->bar4 + offset, len, value);
}

/* Up to FEATURES_OK, as far as the device lets us. */
static void negotiate(struct rig *rig, uint64_t features)
{
    common_write(rig, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    common_write(rig, VIRTIO_PCI_COMMON_STATUS, 1, 3);
    for (unsigned half = 0; half < 2; half++) {
        common_write(rig, VIRTIO_PCI_COMMON_GFSELECT, 4, half);
        common_write(rig, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> (32 * half)));
    }
    common_write(rig, VIRTIO_PCI_COMMON_STATUS, 1, 11);
}

static void enable_queue(struct rig *rig, unsigned index, unsigned size, unsigned vector)
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

static void go_live(struct rig *rig)
{
    negotiate(rig, UINT64_C(1) << VIRTIO_F_VERSION_1);
    for (unsigned i = 0; i < N_QUEUES; i++)
        enable_queue(rig, i, 64, i + 1);
    common_write(rig, VIRTIO_PCI_COMMON_STATUS, 1, 15);
}

/* --- configuration space --- */

static void test_config(void)
{
    struct rig rig;
    unsigned n_capabilities = 0;

    rig_init(&rig);
    g_assert_cmphex(config_read(&rig, PCI_VENDOR_ID, 4), ==, 0x10421af4);
    g_assert_cmphex(config_read(&rig, PCI_CLASS_REVISION, 4), ==, 0x01000001);
    config_write(&rig, PCI_VENDOR_ID, 4, 0xffffffff);
    g_assert_cmphex(config_read(&rig, PCI_VENDOR_ID, 2), ==, 0x1af4);
    g_assert_cmphex(config_read(&rig, PCI_SUBSYSTEM_VENDOR_ID, 4), ==, 0x11001af4);
    for (unsigned at = config_read(&rig, PCI_CAPABILITY_LIST, 1); at;
         at = config_read(&rig, at + 1, 1))
        n_capabilities++;
    g_assert_cmpuint(n_capabilities, ==, 6);
    /* Other slots, other functions, another bus: nobody. Behind 256 bytes: nothing. */
    g_assert_cmphex(vmm_bus_read(&rig.memory, VMM_ECAM + (6 << 15), 4), ==, 0xffffffff);
    g_assert_cmphex(vmm_bus_read(&rig.memory, ecam(1 << 12), 4), ==, 0xffffffff);
    g_assert_cmphex(vmm_bus_read(&rig.memory, ecam(1 << 20), 4), ==, 0xffffffff);
    g_assert_cmphex(config_read(&rig, 0x100, 4), ==, 0);
    g_assert_cmphex(vmm_bus_read(&rig.memory, VMM_ECAM, 4), ==, 0x00081b36);
    /* The same by ports. */
    vmm_bus_write(&rig.ports, 0xcf8, 4, 0x80000000u | SLOT << 11 | PCI_SUBSYSTEM_VENDOR_ID);
    g_assert_cmphex(vmm_bus_read(&rig.ports, 0xcfe, 2), ==, 0x1100);
    vmm_bus_write(&rig.ports, 0xcf8, 4, SLOT << 11);
    g_assert_cmphex(vmm_bus_read(&rig.ports, 0xcfc, 4), ==, 0xffffffff);
    rig_clear(&rig);
}

static void test_bars(void)
{
    struct rig rig;
    int kick_fd;

    rig_init(&rig);
    kick_fd = rig.fake.kicks[0].eventfd;
    g_assert_cmpuint(rig.fake.n_kicks, ==, N_QUEUES);
    g_assert_cmphex(rig.fake.kicks[0].gpa, ==, rig.bar4 + 0x3000);
    /* Sizes, as they are asked for. */
    config_write(&rig, PCI_COMMAND, 2, 0);
    g_assert_cmpuint(rig.fake.n_kicks, ==, 0);
    config_write(&rig, PCI_BASE_ADDRESS_1, 4, 0xffffffff);
    g_assert_cmphex(config_read(&rig, PCI_BASE_ADDRESS_1, 4), ==, 0xfffff000);
    config_write(&rig, PCI_BASE_ADDRESS_4, 4, 0xffffffff);
    config_write(&rig, PCI_BASE_ADDRESS_5, 4, 0xffffffff);
    g_assert_cmphex(config_read(&rig, PCI_BASE_ADDRESS_4, 4), ==, 0xffffc00c);
    g_assert_cmphex(config_read(&rig, PCI_BASE_ADDRESS_5, 4), ==, 0xffffffff);
    config_write(&rig, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
    g_assert_cmphex(config_read(&rig, PCI_BASE_ADDRESS_0, 4), ==, 0);
    /* Somewhere else. */
    config_write(&rig, PCI_BASE_ADDRESS_1, 4, 0xc1000000);
    config_write(&rig, PCI_BASE_ADDRESS_4, 4, 0);
    config_write(&rig, PCI_BASE_ADDRESS_5, 4, 0x10);
    config_write(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    rig.bar1 = 0xc1000000;
    rig.bar4 = UINT64_C(0x1000000000);
    g_assert_cmphex(rig.fake.kicks[0].gpa, ==, rig.bar4 + 0x3000);
    g_assert_cmpint(rig.fake.kicks[0].eventfd, ==, kick_fd);
    g_assert_cmpuint(common_read(&rig, VIRTIO_PCI_COMMON_NUMQ, 2), ==, N_QUEUES);
    /* In the place of another: it stays away, and comes when it may. */
    config_write(&rig, PCI_BASE_ADDRESS_1, 4, VMM_ECAM);
    g_assert_cmphex(vmm_bus_read(&rig.memory, VMM_ECAM, 4), ==, 0x00081b36);
    config_write(&rig, PCI_BASE_ADDRESS_1, 4, 0xc1000000);
    g_assert_cmphex(vmm_bus_read(&rig.memory, 0xc100000c, 4), ==, 1);
    rig_clear(&rig);
}

/* BARs through the configuration space. */
static void test_window(void)
{
    struct rig rig;

    rig_init(&rig);
    config_write(&rig, 0x84 + VIRTIO_PCI_CAP_BAR, 1, 4);
    config_write(&rig, 0x84 + VIRTIO_PCI_CAP_OFFSET, 4, VIRTIO_PCI_COMMON_NUMQ);
    config_write(&rig, 0x84 + VIRTIO_PCI_CAP_LENGTH, 4, 2);
    g_assert_cmpuint(config_read(&rig, 0x84 + 16, 2), ==, N_QUEUES);
    config_write(&rig, 0x84 + VIRTIO_PCI_CAP_OFFSET, 4, VIRTIO_PCI_COMMON_Q_SELECT);
    config_write(&rig, 0x84 + 16, 2, 2);
    g_assert_cmpuint(common_read(&rig, VIRTIO_PCI_COMMON_Q_SELECT, 2), ==, 2);
    /* What is not there. */
    config_write(&rig, 0x84 + VIRTIO_PCI_CAP_OFFSET, 4, 0xfffffffe);
    config_read(&rig, 0x84 + 16, 2);
    config_write(&rig, 0x84 + VIRTIO_PCI_CAP_BAR, 1, 7);
    config_write(&rig, 0x84 + 16, 4, 1);
    rig_clear(&rig);
}

/* --- the transport --- */

static void test_negotiation(void)
{
    const uint64_t version_1 = UINT64_C(1) << VIRTIO_F_VERSION_1;
    struct rig rig;

    rig_init(&rig);
    common_write(&rig, VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_DF, 4), ==, 1 << 5);
    common_write(&rig, VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_DF, 4), ==, FEATURES >> 32);
    common_write(&rig, VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_DF, 4), ==, 0);
    negotiate(&rig, 1 << 5);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_STATUS, 1), ==, 3);
    negotiate(&rig, version_1 | 1 << 6);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_STATUS, 1), ==, 3);
    /* DRIVER_OK without FEATURES_OK. */
    common_write(&rig, VIRTIO_PCI_COMMON_STATUS, 1, 7);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_STATUS, 1), ==, 3);
    negotiate(&rig, version_1 | 1 << 5);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_STATUS, 1), ==, 11);
    /* Too late to change one's mind. */
    common_write(&rig, VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
    common_write(&rig, VIRTIO_PCI_COMMON_GF, 4, 0);
    common_write(&rig, VIRTIO_PCI_COMMON_STATUS, 1, 15);
    g_assert_cmpuint(rig.device.n_starts, ==, 1);
    g_assert_cmphex(rig.device.features, ==, version_1 | 1 << 5);
    common_write(&rig, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    g_assert_cmpuint(rig.device.n_stops, ==, 1);
    rig_clear(&rig);
}

static void test_queues(void)
{
    struct rig rig;

    rig_init(&rig);
    go_live(&rig);
    g_assert_true(rig.device.is_live);
    g_assert_cmphex(rig.device.queues[1].desc, ==, UINT64_C(0x100002000));
    g_assert_cmphex(rig.device.queues[1].driver, ==, UINT64_C(0x200002001));
    g_assert_cmpuint(rig.device.queues[1].size, ==, 64);
    /* Frozen. */
    common_write(&rig, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
    common_write(&rig, VIRTIO_PCI_COMMON_Q_SIZE, 2, 8);
    common_write(&rig, VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0);
    common_write(&rig, VIRTIO_PCI_COMMON_Q_MSIX, 2, 0);
    common_write(&rig, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
    g_assert_cmpuint(common_read(&rig, VIRTIO_PCI_COMMON_Q_SIZE, 2), ==, 64);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_Q_DESCLO, 4), ==, 0x2000);
    g_assert_cmpuint(common_read(&rig, VIRTIO_PCI_COMMON_Q_MSIX, 2), ==, 2);
    g_assert_cmpuint(common_read(&rig, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 1);
    /* Queues that cannot be. */
    common_write(&rig, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    negotiate(&rig, UINT64_C(1) << VIRTIO_F_VERSION_1);
    enable_queue(&rig, 0, 63, 1);
    g_assert_cmpuint(common_read(&rig, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 0);
    enable_queue(&rig, 0, 0, 1);
    g_assert_cmpuint(common_read(&rig, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 0);
    enable_queue(&rig, 0, 512, 1);
    g_assert_cmpuint(common_read(&rig, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 0);
    enable_queue(&rig, 7, 64, 1);
    g_assert_cmpuint(common_read(&rig, VIRTIO_PCI_COMMON_Q_SIZE, 2), ==, 0);
    enable_queue(&rig, 1, 64, 99);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_Q_MSIX, 2), ==, 0xffff);
    negotiate(&rig, UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_F_RING_PACKED);
    enable_queue(&rig, 0, 63, 1);
    g_assert_cmpuint(common_read(&rig, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 1);
    rig_clear(&rig);
}

static void test_start_fails(void)
{
    struct rig rig;

    rig_init(&rig);
    rig.device.start_error = -5;
    go_live(&rig);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_STATUS, 1), ==, 0x4f);
    rig.device.start_error = 0;
    go_live(&rig);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_STATUS, 1), ==, 15);
    rig_clear(&rig);
}

static void test_device_config(void)
{
    struct rig rig;

    rig_init(&rig);
    strcpy((char *)rig.device.space, "configuration");
    g_assert_cmphex(vmm_bus_read(&rig.memory, rig.bar4 + 0x2000, 4), ==, 0x666e6f63);
    vmm_bus_write(&rig.memory, rig.bar4 + 0x2000, 1, 'C');
    g_assert_cmpint(rig.device.space[0], ==, 'C');
    g_assert_cmphex(vmm_bus_read(&rig.memory, rig.bar4 + 0x2000 + CONFIG_LEN - 2, 4), ==, 0);
    vmm_bus_write(&rig.memory, rig.bar4 + 0x2ffc, 4, 1);
    rig_clear(&rig);
}

/* --- interrupts --- */

static void route(struct rig *rig, unsigned vector, uint32_t data, bool is_masked)
{
    vmm_bus_write(&rig->memory, rig->bar1 + 16 * vector, 8, 0xfee00000);
    vmm_bus_write(&rig->memory, rig->bar1 + 16 * vector + 8, 4, data);
    vmm_bus_write(&rig->memory, rig->bar1 + 16 * vector + 12, 4, is_masked);
}

static void test_msix(void)
{
    struct rig rig;
    const struct fake_route *found;
    eventfd_t count;

    rig_init(&rig);
    config_write(&rig, 0x98 + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
    for (unsigned i = 0; i <= N_QUEUES; i++)
        route(&rig, i, 0x40 + i, false);
    go_live(&rig);
    found = fake_vm_find_route(&rig.fake, 0xfee00000, 0x42);
    g_assert_nonnull(found);
    g_assert_cmpint(found->irqfd, ==, rig.device.queues[1].call_fd);
    /* Masked: the count waits, and is told as pending. */
    route(&rig, 2, 0x42, true);
    g_assert_cmpint(found->irqfd, ==, -1);
    eventfd_write(rig.device.queues[1].call_fd, 1);
    g_assert_cmphex(vmm_bus_read(&rig.memory, rig.bar1 + 2048, 8), ==, 1 << 2);
    route(&rig, 2, 0x42, false);
    g_assert_cmpint(found->irqfd, ==, rig.device.queues[1].call_fd);
    eventfd_read(found->irqfd, &count);
    /* All of them. */
    config_write(&rig, 0x98 + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    g_assert_cmpuint(fake_vm_n_irqfds(&rig.fake), ==, 0);
    config_write(&rig, 0x98 + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
    g_assert_cmpuint(fake_vm_n_irqfds(&rig.fake), ==, N_QUEUES + 1);
    /* The configuration has changed. */
    common_write(&rig, VIRTIO_PCI_COMMON_MSIX, 2, 0);
    rig.device.virtio.changed(rig.device.virtio.transport, false);
    g_assert_cmpuint(common_read(&rig, VIRTIO_PCI_COMMON_CFGGENERATION, 1), ==, 1);
    found = fake_vm_find_route(&rig.fake, 0xfee00000, 0x40);
    g_assert_cmpint(eventfd_read(found->irqfd, &count), ==, 0);
    rig_clear(&rig);
}

static void test_pin(void)
{
    struct rig rig;
    const bool *pin = &rig.fake.pins[VMM_GSI_PCI + SLOT % 4];

    rig_init(&rig);
    go_live(&rig);
    /* Vectors without MSI-X are of no use; so there is one queue without. */
    common_write(&rig, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    negotiate(&rig, UINT64_C(1) << VIRTIO_F_VERSION_1);
    enable_queue(&rig, 0, 64, 0xffff);
    common_write(&rig, VIRTIO_PCI_COMMON_STATUS, 1, 15);
    g_assert_false(*pin);
    eventfd_write(rig.device.queues[0].call_fd, 1);
    while (!*pin)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmphex(vmm_bus_read(&rig.memory, rig.bar4 + 0x1000, 1), ==, 1);
    g_assert_false(*pin);
    rig.device.virtio.changed(rig.device.virtio.transport, false);
    g_assert_true(*pin);
    g_assert_cmphex(vmm_bus_read(&rig.memory, rig.bar4 + 0x1000, 1), ==, 2);
    rig_clear(&rig);
}

static void test_kick_the_long_way(void)
{
    struct rig rig;
    eventfd_t count;

    rig_init(&rig);
    go_live(&rig);
    vmm_bus_write(&rig.memory, rig.bar4 + 0x3004, 2, 1);
    g_assert_cmpint(eventfd_read(rig.device.queues[1].kick_fd, &count), ==, 0);
    vmm_bus_write(&rig.memory, rig.bar4 + 0x3ffc, 4, 1);
    rig_clear(&rig);
}

static void test_reset(void)
{
    struct rig rig;

    rig_init(&rig);
    config_write(&rig, 0x98 + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
    go_live(&rig);
    pci_host_reset(rig.host);
    g_assert_cmpuint(rig.device.n_stops, ==, 1);
    g_assert_cmphex(config_read(&rig, PCI_COMMAND, 2), ==, 0);
    g_assert_cmphex(config_read(&rig, PCI_BASE_ADDRESS_1, 4), ==, rig.bar1);
    g_assert_cmphex(config_read(&rig, 0x98 + PCI_MSIX_FLAGS, 2), ==, N_QUEUES);
    g_assert_cmpuint(rig.fake.n_kicks, ==, 0);
    rig_clear(&rig);
}

/* --- nonsense --- */

/* Registers that matter, a little beside, and anywhere. */
static void nonsense_once(struct rig *rig)
{
    static const unsigned lens[] = {1, 2, 4, 8};
    unsigned len = lens[g_test_rand_int_range(0, 4)];
    uint64_t value = (uint64_t)(uint32_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();
    uint64_t address;

    if (g_test_rand_int_range(0, 2))
        value &= 0xf;
    switch (g_test_rand_int_range(0, 6)) {
    case 0:
        address = ecam((unsigned)g_test_rand_int_range(0, 256));
        break;
    case 1:
        address = rig->bar1 + (unsigned)g_test_rand_int_range(0, 4096);
        break;
    case 2:
        address = rig->bar4 + (unsigned)g_test_rand_int_range(0, 0x4000);
        break;
    case 3:
        vmm_bus_write(&rig->ports, 0xcf8 + (unsigned)g_test_rand_int_range(0, 8), len, value);
        vmm_bus_read(&rig->ports, 0xcf8 + (unsigned)g_test_rand_int_range(0, 8), len);
        return;
    default:
        address = rig->bar4 + (unsigned)g_test_rand_int_range(0, 64);
        break;
    }
    if (g_test_rand_int_range(0, 3))
        vmm_bus_write(&rig->memory, address, len, value);
    else
        vmm_bus_read(&rig->memory, address, len);
}

static void test_nonsense(void)
{
    struct rig rig;

    rig_init(&rig);
    for (unsigned round = 0; round < 200; round++) {
        config_write(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
        config_write(&rig, PCI_BASE_ADDRESS_1, 4, (uint32_t)rig.bar1);
        config_write(&rig, PCI_BASE_ADDRESS_4, 4, (uint32_t)rig.bar4);
        config_write(&rig, PCI_BASE_ADDRESS_5, 4, 0);
        go_live(&rig);
        for (unsigned i = 0; i < 500; i++)
            nonsense_once(&rig);
        rig.device.virtio.changed(rig.device.virtio.transport, round & 1);
        while (g_main_context_iteration(NULL, FALSE))
            ;
    }
    /* And still a device. */
    pci_host_reset(rig.host);
    config_write(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    go_live(&rig);
    g_assert_true(rig.device.is_live);
    rig_clear(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmm/pci/config", test_config);
    g_test_add_func("/vmm/pci/bars", test_bars);
    g_test_add_func("/vmm/pci/window", test_window);
    g_test_add_func("/vmm/pci/negotiation", test_negotiation);
    g_test_add_func("/vmm/pci/queues", test_queues);
    g_test_add_func("/vmm/pci/start-fails", test_start_fails);
    g_test_add_func("/vmm/pci/device-config", test_device_config);
    g_test_add_func("/vmm/pci/msix", test_msix);
    g_test_add_func("/vmm/pci/pin", test_pin);
    g_test_add_func("/vmm/pci/kick-the-long-way", test_kick_the_long_way);
    g_test_add_func("/vmm/pci/reset", test_reset);
    g_test_add_func("/vmm/pci/nonsense", test_nonsense);
    return g_test_run();
}
