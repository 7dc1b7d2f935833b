/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DSDT: the devices that a guest cannot find by itself, and what to do when one of them has an
 * event.
 *
 *   \_SB_.COM1, RTC_, MBRD, PWRB
 *   \_SB_.GED_   its interrupt calls _EVT, which looks at the registers of acpi-device.h
 *   \_SB_.PCI0   the host bridge, with a device S01_ to S1F_ for each slot: near which node what is
 *                plugged there is (_PXM), and how it is let go (_EJ0)
 */
#include "vmm/acpi-device.h"
#include "vmm/layout.h"
#include "vmm/machine.h"
#include "vmm/x86/acpi-tables.h"
#include "vmm/x86/aml.h"

#define DSDT_COM1_LEN      8
#define DSDT_CONFIG_PORT   0xcf8 /* of PCI's configuration space */
#define DSDT_CONFIG_LEN    8
#define DSDT_CMOS_LEN      2
#define DSDT_N_SLOTS       VMM_ACPI_N_SLOTS /* slot 0 is the host bridge itself */
#define DSDT_N_PINS        4
#define DSDT_ALL_FUNCS     0xffffu

#define DSDT_NOTIFY_CHECK  1 /* of a device: something has come */
#define DSDT_NOTIFY_EJECT  3 /* it is to leave */
#define DSDT_NOTIFY_BUTTON 0x80

static void dsdt_put_id(struct vmm_aml *aml, const char *eisa_id)
{
    vmm_aml_name(aml, "_HID");
    vmm_aml_eisa_id(aml, eisa_id);
}

static void dsdt_put_number(struct vmm_aml *aml, const char *name, uint64_t value)
{
    vmm_aml_name(aml, name);
    vmm_aml_integer(aml, value);
}

static void dsdt_put_com1(struct vmm_aml *aml)
{
    vmm_aml_begin_device(aml, "COM1");
    dsdt_put_id(aml, "PNP0501");
    dsdt_put_number(aml, "_UID", 1);
    vmm_aml_name(aml, "_CRS");
    vmm_aml_begin_resources(aml);
    vmm_aml_resource_ports(aml, VMM_PORT_COM1, DSDT_COM1_LEN);
    vmm_aml_resource_interrupt(aml, VMM_GSI_COM1, true);
    vmm_aml_end(aml);
    vmm_aml_end(aml);
}

static void dsdt_put_clock(struct vmm_aml *aml)
{
    vmm_aml_begin_device(aml, "RTC_");
    dsdt_put_id(aml, "PNP0B00");
    vmm_aml_name(aml, "_CRS");
    vmm_aml_begin_resources(aml);
    vmm_aml_resource_ports(aml, VMM_PORT_CMOS, DSDT_CMOS_LEN);
    vmm_aml_end(aml);
    vmm_aml_end(aml);
}

/* What is taken and belongs to no device. The ECAM must be here for Linux to use it. */
static void dsdt_put_board(struct vmm_aml *aml)
{
    vmm_aml_begin_device(aml, "MBRD");
    dsdt_put_id(aml, "PNP0C02");
    vmm_aml_name(aml, "_CRS");
    vmm_aml_begin_resources(aml);
    vmm_aml_resource_memory_fixed(aml, VMM_ECAM, VMM_ECAM_LEN);
    vmm_aml_resource_ports(aml, VMM_PORT_ACPI, VMM_ACPI_N_PORTS);
    vmm_aml_end(aml);
    vmm_aml_end(aml);
}

/* Registers and events. An event is ended before it is looked at, so that none is missed. */
static void dsdt_put_events(struct vmm_aml *aml)
{
    vmm_aml_begin_device(aml, "PWRB");
    dsdt_put_id(aml, "PNP0C0C");
    vmm_aml_end(aml);

    vmm_aml_begin_device(aml, "GED_");
    vmm_aml_name(aml, "_HID");
    vmm_aml_string(aml, "ACPI0013");
    vmm_aml_name(aml, "_CRS");
    vmm_aml_begin_resources(aml);
    vmm_aml_resource_interrupt(aml, VMM_GSI_GED, false);
    vmm_aml_end(aml);
    vmm_aml_port_region(aml, "REGS", VMM_PORT_ACPI + VMM_ACPI_EVENTS,
                        VMM_ACPI_N_PORTS - VMM_ACPI_EVENTS);
    vmm_aml_begin_fields(aml, "REGS");
    vmm_aml_field(aml, "EVTS");
    vmm_aml_field(aml, "SLUP");
    vmm_aml_field(aml, "SLDN");
    vmm_aml_field(aml, "EJCT");
    vmm_aml_field(aml, "NODE");
    vmm_aml_end(aml);
    vmm_aml_begin_method(aml, "_EVT", 1);
    vmm_aml_load(aml, 0, "EVTS");
    vmm_aml_store(aml, "EVTS", 0);
    vmm_aml_begin_if_bit(aml, 0, VMM_ACPI_POWER_BUTTON);
    vmm_aml_notify(aml, "\\_SB_.PWRB", DSDT_NOTIFY_BUTTON);
    vmm_aml_end(aml);
    vmm_aml_begin_if_bit(aml, 0, VMM_ACPI_SLOTS);
    vmm_aml_call(aml, "\\_SB_.PCI0.SCAN");
    vmm_aml_end(aml);
    vmm_aml_end(aml);
    vmm_aml_end(aml);
}

static void dsdt_put_bridge_resources(struct vmm_aml *aml, uint64_t bar64)
{
    vmm_aml_name(aml, "_CRS");
    vmm_aml_begin_resources(aml);
    vmm_aml_resource_buses(aml, 0, 1);
    vmm_aml_resource_ports(aml, DSDT_CONFIG_PORT, DSDT_CONFIG_LEN);
    vmm_aml_resource_window(aml, VMM_BAR32, VMM_BAR32_LEN, false);
    vmm_aml_resource_window(aml, bar64, VMM_BAR64_LEN, true);
    vmm_aml_end(aml);
}

/* Pin n of slot m: see VMM_GSI_PCI. */
static void dsdt_put_pins(struct vmm_aml *aml)
{
    vmm_aml_name(aml, "_PRT");
    vmm_aml_begin_package(aml, (DSDT_N_SLOTS - 1) * DSDT_N_PINS);
    for (unsigned slot = 1; slot < DSDT_N_SLOTS; slot++)
        for (unsigned pin = 0; pin < DSDT_N_PINS; pin++) {
            vmm_aml_begin_package(aml, 4);
            vmm_aml_integer(aml, slot << 16 | DSDT_ALL_FUNCS);
            vmm_aml_integer(aml, pin);
            vmm_aml_integer(aml, 0);
            vmm_aml_integer(aml, VMM_GSI_PCI + (slot + pin) % VMM_N_PCI_LINES);
            vmm_aml_end(aml);
        }
    vmm_aml_end(aml);
}

static void dsdt_print_slot(char name[5], unsigned slot)
{
    g_snprintf(name, 5, "S%02X_", slot);
}

/* What is plugged there may change, and its node with it. */
static void dsdt_put_slot(struct vmm_aml *aml, unsigned slot)
{
    char name[5];

    dsdt_print_slot(name, slot);
    vmm_aml_begin_device(aml, name);
    dsdt_put_number(aml, "_ADR", slot << 16);
    dsdt_put_number(aml, "_SUN", slot);
    vmm_aml_begin_method(aml, "_PXM", 0);
    vmm_aml_store_integer(aml, "\\_SB_.GED_.NODE", slot);
    vmm_aml_return(aml, "\\_SB_.GED_.NODE");
    vmm_aml_end(aml);
    vmm_aml_begin_method(aml, "_EJ0", 1);
    vmm_aml_store_integer(aml, "\\_SB_.GED_.EJCT", 1ull << slot);
    vmm_aml_end(aml);
    vmm_aml_end(aml);
}

static void dsdt_put_scan(struct vmm_aml *aml)
{
    static const struct {
        const char *reg;
        uint8_t notify;
    } kinds[] = {
        {"\\_SB_.GED_.SLUP", DSDT_NOTIFY_CHECK},
        {"\\_SB_.GED_.SLDN", DSDT_NOTIFY_EJECT},
    };
    char name[5];

    vmm_aml_begin_method(aml, "SCAN", 0);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        vmm_aml_load(aml, 0, kinds[i].reg);
        vmm_aml_store(aml, kinds[i].reg, 0);
        for (unsigned slot = 1; slot < DSDT_N_SLOTS; slot++) {
            dsdt_print_slot(name, slot);
            vmm_aml_begin_if_bit(aml, 0, 1ull << slot);
            vmm_aml_notify(aml, name, kinds[i].notify);
            vmm_aml_end(aml);
        }
    }
    vmm_aml_end(aml);
}

/* The node that all devices are near which are near one; else VMM_NO_NODE. */
static int dsdt_common_node(const struct vmm_config *config)
{
    int common = VMM_NO_NODE;

    for (unsigned i = 0; i < config->devices->len; i++) {
        const struct vmm_device_config *device = g_ptr_array_index(config->devices, i);

        if (device->numa_node == VMM_NO_NODE)
            continue;
        if (common != VMM_NO_NODE && common != device->numa_node)
            return VMM_NO_NODE;
        common = device->numa_node;
    }
    return common;
}

/* Linux asks the bridge which node its devices are near, and not these. */
static void dsdt_put_bridge_node(struct vmm_aml *aml, const struct vmm_machine *machine)
{
    int node = dsdt_common_node(&machine->config);

    if (node != VMM_NO_NODE)
        dsdt_put_number(aml, "_PXM", (uint64_t)node);
}

static void dsdt_put_bridge(struct vmm_aml *aml, const struct vmm_machine *machine)
{
    uint64_t bar64 = (machine->ram.high_end + VMM_BAR64_LEN - 1) & ~(VMM_BAR64_LEN - 1);

    vmm_aml_begin_device(aml, "PCI0");
    dsdt_put_id(aml, "PNP0A08");
    vmm_aml_name(aml, "_CID");
    vmm_aml_eisa_id(aml, "PNP0A03");
    dsdt_put_number(aml, "_UID", 0);
    dsdt_put_number(aml, "_SEG", 0);
    dsdt_put_number(aml, "_BBN", 0);
    dsdt_put_bridge_node(aml, machine);
    dsdt_put_bridge_resources(aml, bar64);
    dsdt_put_pins(aml);
    for (unsigned slot = 1; slot < DSDT_N_SLOTS; slot++)
        dsdt_put_slot(aml, slot);
    dsdt_put_scan(aml);
    vmm_aml_end(aml);
}

void vmm_acpi_put_dsdt(const struct vmm_machine *machine, GByteArray *bytes)
{
    unsigned at = vmm_acpi_begin(bytes, "DSDT", 2);
    struct vmm_aml aml;

    vmm_aml_init(&aml, bytes);
    vmm_aml_begin_scope(&aml, "\\_SB_");
    if (machine->config.serial.kind != VMM_SERIAL_NONE)
        dsdt_put_com1(&aml);
    dsdt_put_clock(&aml);
    dsdt_put_board(&aml);
    dsdt_put_events(&aml);
    dsdt_put_bridge(&aml, machine);
    vmm_aml_end(&aml);

    vmm_aml_name(&aml, "\\_S5_");
    vmm_aml_begin_package(&aml, 4);
    vmm_aml_integer(&aml, VMM_ACPI_SLEEP_OFF);
    for (unsigned i = 0; i < 3; i++)
        vmm_aml_integer(&aml, 0);
    vmm_aml_end(&aml);
    vmm_acpi_end(bytes, at);
}
