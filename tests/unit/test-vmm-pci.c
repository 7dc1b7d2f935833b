/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI bus as a guest reaches it: configuration space, BARs that move, reset; and a guest that
 * writes nonsense.
 */
#include "pci-rig.h"

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

static uint64_t ecam_of(unsigned bus, unsigned slot)
{
    return VMM_ECAM + (bus << 20) + (slot << 15);
}

/* More host bridges: each bus has slots and places of its own, and shares the lines of INTA. */
static void test_buses(void)
{
    static const struct vmm_bus_ops nothing;
    struct pci_device *devices[2], *shown;
    struct rig rig;

    rig_init(&rig);
    pci_host_add_bus(rig.host, 64, 0);
    pci_host_add_bus(rig.host, 255, SLOT + 1);
    for (unsigned i = 0; i < 2; i++) {
        devices[i] = pci_host_create_expander();
        devices[i]->bars[0] = (struct pci_bar){.len = 4096, .ops = &nothing};
        pci_device_add_bar(devices[i], 0);
        g_assert_cmpint(pci_host_plug(rig.host, 2, devices[i], i ? SLOT : -1), ==, i ? SLOT : 0);
    }
    shown = pci_host_create_expander();
    g_assert_cmpint(pci_host_plug(rig.host, 1, shown, -1), ==, -ENOSPC);
    g_assert_cmpint(pci_host_plug(rig.host, 2, shown, SLOT + 1), ==, -ENOSPC);
    g_assert_cmpint(pci_host_plug(rig.host, 0, shown, SLOT), ==, -EBUSY);
    g_assert_cmpint(pci_host_plug(rig.host, 0, shown, -1), ==, 1);
    g_assert_cmphex(vmm_bus_read(&rig.memory, ecam_of(0, 1), 4), ==, 0x000b1b36);
    g_assert_cmphex(vmm_bus_read(&rig.memory, ecam_of(0, SLOT), 4), ==, 0x10421af4);
    g_assert_cmphex(vmm_bus_read(&rig.memory, ecam_of(64, SLOT), 4), ==, 0xffffffff);
    g_assert_cmphex(vmm_bus_read(&rig.memory, ecam_of(255, SLOT), 4), ==, 0x000b1b36);
    g_assert_cmphex(vmm_bus_read(&rig.memory, ecam_of(255, 0), 4), ==, 0x000b1b36);
    g_assert_cmphex(vmm_bus_read(&rig.memory, ecam_of(255, 0) + PCI_BASE_ADDRESS_0, 4), ==,
                    VMM_BAR32 + 2 * VMM_BAR32_LEN / VMM_MAX_BRIDGES);
    g_assert_true(pci_host_at(rig.host, 2, SLOT) == devices[1]);
    g_assert_null(pci_host_at(rig.host, 1, SLOT));
    g_assert_null(pci_host_at(rig.host, 3, 0));

    /* Two slots of one line. */
    devices[1]->set_pin(devices[1]->bus, SLOT, true);
    shown->set_pin(shown->bus, 1, true);
    g_assert_true(rig.fake.pins[VMM_GSI_PCI + 1]);
    g_assert_cmphex(vmm_bus_read(&rig.memory, ecam_of(255, SLOT) + PCI_STATUS, 2), ==,
                    PCI_STATUS_INTERRUPT);
    g_assert_cmphex(config_read(&rig, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, ==, 0);
    vmm_bus_write(&rig.memory, ecam_of(255, SLOT) + PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
    g_assert_true(rig.fake.pins[VMM_GSI_PCI + 1]);
    shown->set_pin(shown->bus, 1, false);
    g_assert_false(rig.fake.pins[VMM_GSI_PCI + 1]);
    vmm_bus_write(&rig.memory, ecam_of(255, SLOT) + PCI_COMMAND, 2, 0);
    g_assert_true(rig.fake.pins[VMM_GSI_PCI + 1]);

    pci_host_unplug(rig.host, devices[1]);
    devices[1]->ops->destroy(devices[1]);
    g_assert_false(rig.fake.pins[VMM_GSI_PCI + 1]);
    g_assert_cmphex(vmm_bus_read(&rig.memory, ecam_of(255, SLOT), 4), ==, 0xffffffff);
    g_assert_cmphex(vmm_bus_read(&rig.memory, ecam_of(0, SLOT), 4), ==, 0x10421af4);
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
    /* A part of what it shows, and more than that. */
    config_write(&rig, 0x84 + VIRTIO_PCI_CAP_OFFSET, 4, VIRTIO_PCI_COMMON_Q_SELECT & ~3u);
    config_write(&rig, 0x84 + VIRTIO_PCI_CAP_LENGTH, 4, 4);
    common_write(&rig, VIRTIO_PCI_COMMON_DFSELECT, 4, 0x12345678);
    config_write(&rig, 0x84 + VIRTIO_PCI_CAP_OFFSET, 4, VIRTIO_PCI_COMMON_DFSELECT);
    g_assert_cmphex(config_read(&rig, 0x84 + 16, 4), ==, 0x12345678);
    g_assert_cmphex(config_read(&rig, 0x84 + 18, 2), ==, 0x1234);
    g_assert_cmphex(config_read(&rig, 0x84 + 19, 1), ==, 0x12);
    common_write(&rig, VIRTIO_PCI_COMMON_DFSELECT, 4, 0x55667788);
    g_assert_cmphex(config_read(&rig, 0x84 + 14, 4), ==, 0x77880000);
    config_write(&rig, 0x84 + 18, 1, 0x99);
    g_assert_cmphex(common_read(&rig, VIRTIO_PCI_COMMON_DFSELECT, 4), ==, 0x55997788);
    /* What is not there. */
    config_write(&rig, 0x84 + VIRTIO_PCI_CAP_OFFSET, 4, 0xfffffffe);
    config_read(&rig, 0x84 + 16, 2);
    config_write(&rig, 0x84 + VIRTIO_PCI_CAP_BAR, 1, 7);
    config_write(&rig, 0x84 + 16, 4, 1);
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
    g_test_add_func("/vmm/pci/buses", test_buses);
    g_test_add_func("/vmm/pci/window", test_window);
    g_test_add_func("/vmm/pci/reset", test_reset);
    g_test_add_func("/vmm/pci/nonsense", test_nonsense);
    return g_test_run();
}
