/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio transport as a guest's driver reaches it: negotiation, registers that freeze, MSI-X,
 * INTA, kicks.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "pci-rig.h"

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
    g_assert_cmphex(vmm_bus_read(&rig.memory, rig.bar4 + VIRTIO_PCI_COMMON_Q_DESCLO, 8), ==,
                    UINT64_C(0x100001000));
    rig_clear(&rig);
}

/* A queue of packed rings, enabled by one who then wants split ones. */
static void test_queue_changes_kind(void)
{
    const uint64_t version_1 = UINT64_C(1) << VIRTIO_F_VERSION_1;
    struct rig rig;

    rig_init(&rig);
    common_write(&rig, VIRTIO_PCI_COMMON_STATUS, 1, 3);
    common_write(&rig, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
    common_write(&rig, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(FEATURES >> 32));
    enable_queue(&rig, 0, 63, 1);
    g_assert_cmpuint(common_read(&rig, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 1);
    common_write(&rig, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(version_1 >> 32));
    common_write(&rig, VIRTIO_PCI_COMMON_STATUS, 1, 11);
    common_write(&rig, VIRTIO_PCI_COMMON_STATUS, 1, 15);
    g_assert_cmpuint(rig.device.n_starts, ==, 0);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_STATUS, 1), ==, 0x4f);
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

/* A device that takes long to let go of its queues: that is what the driver sees, and it can do
 * nothing meanwhile; nor can what the device says of itself last beyond the reset. */
static void test_slow_stop(void)
{
    struct rig rig;

    rig_init(&rig);
    go_live(&rig);
    rig.device.is_stuck = true;
    common_write(&rig, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    g_assert_cmpuint(rig.device.n_stops, ==, 1);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_STATUS, 1), ==, 15);
    common_write(&rig, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    common_write(&rig, VIRTIO_PCI_COMMON_STATUS, 1, 3);
    common_write(&rig, VIRTIO_PCI_COMMON_Q_SELECT, 2, 2);
    enable_queue(&rig, 0, 16, 1);
    g_assert_cmpuint(rig.device.n_stops, ==, 1);
    g_assert_cmpuint(common_read(&rig, VIRTIO_PCI_COMMON_Q_SIZE, 2), ==, 64);
    rig.device.virtio.changed(rig.device.virtio.transport, true);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_STATUS, 1), ==, 0x4f);
    g_assert_false(virtio_pci_is_stopped(rig.device.virtio.transport));
    rig.device.is_stuck = false;
    g_assert_true(virtio_pci_is_stopped(rig.device.virtio.transport));
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_STATUS, 1), ==, 0);
    g_assert_cmpuint(common_read(&rig, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 0);
    rig.device.virtio.changed(rig.device.virtio.transport, true);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_STATUS, 1), ==, 0);
    go_live(&rig);
    g_assert_cmpuint(rig.device.n_starts, ==, 2);
    rig_clear(&rig);
}

struct complaints {
    struct rig *rig;
    bool is_over; /* atomic */
};

static gpointer complain(gpointer opaque)
{
    struct complaints *complaints = opaque;
    struct virtio_device *virtio = &complaints->rig->device.virtio;

    while (!__atomic_load_n(&complaints->is_over, __ATOMIC_ACQUIRE))
        virtio->changed(virtio->transport, true);
    return NULL;
}

/* A driver waits for the 0; what a device says of itself meanwhile does not get in between. */
static void test_broken_while_reset(void)
{
    struct complaints complaints = {0};
    struct rig rig;
    GThread *thread;

    rig_init(&rig);
    complaints.rig = &rig;
    thread = g_thread_new("complain", complain, &complaints);
    for (unsigned round = 0; round < 500000; round++) {
        common_write(&rig, VIRTIO_PCI_COMMON_STATUS, 1, 3);
        common_write(&rig, VIRTIO_PCI_COMMON_STATUS, 1, 0);
        g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_STATUS, 1), ==, 0);
    }
    __atomic_store_n(&complaints.is_over, true, __ATOMIC_RELEASE);
    g_thread_join(thread);
    rig_clear(&rig);
}

/* One that leaves while it is still stopping: the guest does not find it, its slot stays taken. */
static void test_hidden(void)
{
    struct pci_device other = {0};
    struct rig rig;

    rig_init(&rig);
    go_live(&rig);
    rig.device.is_stuck = true;
    pci_host_hide(rig.host, pci_host_at(rig.host, 0, SLOT));
    virtio_pci_stop(rig.device.virtio.transport);
    g_assert_cmphex(config_read(&rig, 0, 4), ==, 0xffffffff);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_STATUS, 1), ==, 0xff);
    g_assert_cmpuint(rig.fake.n_kicks, ==, 0);
    g_assert_cmpint(pci_host_plug(rig.host, 0, &other, SLOT), ==, -EBUSY);
    rig.device.virtio.changed(rig.device.virtio.transport, false);
    g_assert_false(rig.fake.pins[VMM_GSI_PCI + SLOT % 4]);
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
    /* Kept off the line, the device says in its status register that it wants it. */
    config_write(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
    rig.device.virtio.changed(rig.device.virtio.transport, false);
    g_assert_false(*pin);
    g_assert_true(config_read(&rig, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    config_write(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    g_assert_true(*pin);
    config_write(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
    g_assert_false(*pin);
    g_assert_cmphex(vmm_bus_read(&rig.memory, rig.bar4 + 0x1000, 1), ==, 2);
    g_assert_false(config_read(&rig, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    config_write(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    /* A call that was on its way when the driver left. */
    common_write(&rig, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    virtio_pci_raise(rig.device.virtio.transport, VIRTIO_ISR_QUEUE);
    g_assert_false(*pin);
    rig_clear(&rig);
    g_assert_false(*pin);
}

/* A device that leaves while it wants the line. */
static void test_pin_unplugged(void)
{
    struct rig rig;
    const bool *pin = &rig.fake.pins[VMM_GSI_PCI + SLOT % 4];

    rig_init(&rig);
    go_live(&rig);
    rig.device.virtio.changed(rig.device.virtio.transport, false);
    g_assert_true(*pin);
    rig.device.tells_last = true;
    rig_clear(&rig);
    g_assert_false(*pin);
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmm/virtio-pci/negotiation", test_negotiation);
    g_test_add_func("/vmm/virtio-pci/queues", test_queues);
    g_test_add_func("/vmm/virtio-pci/queue-changes-kind", test_queue_changes_kind);
    g_test_add_func("/vmm/virtio-pci/start-fails", test_start_fails);
    g_test_add_func("/vmm/virtio-pci/slow-stop", test_slow_stop);
    g_test_add_func("/vmm/virtio-pci/broken-while-reset", test_broken_while_reset);
    g_test_add_func("/vmm/virtio-pci/hidden", test_hidden);
    g_test_add_func("/vmm/virtio-pci/device-config", test_device_config);
    g_test_add_func("/vmm/virtio-pci/msix", test_msix);
    g_test_add_func("/vmm/virtio-pci/pin", test_pin);
    g_test_add_func("/vmm/virtio-pci/pin-unplugged", test_pin_unplugged);
    g_test_add_func("/vmm/virtio-pci/kick-the-long-way", test_kick_the_long_way);
    return g_test_run();
}
