/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DSDT: the devices that a guest cannot find by itself, and what to do when one of them has an
 * event.
 *
 *   \_SB_.COM1, RTC_, MBRD, PWRB
 *   \_SB_.GED_   its interrupt calls _EVT, which looks at the registers of acpi-device.h
 *   \_SB_.PC00   the first host bridge, PC01 the next: near which node its devices are (_PXM);
 *                with a device S00_ to S1F_ for each slot: how what is in it is let go (_EJ0)
 */
#include "vmm/acpi-device.h"
#include "vmm/machine.h"
#include "vmm/x86/acpi-tables.h"
#include "vmm/x86/aml.h"

#define DSDT_COM1_LEN      8
#define DSDT_CONFIG_PORT   0xcf8 /* of PCI's configuration space */
#define DSDT_CONFIG_LEN    8
#define DSDT_CMOS_LEN      2
#define DSDT_N_SLOTS       VMM_ACPI_N_SLOTS
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

/* Names of what there is one of for each bridge: "UP" and a number; for each slot. */
static void dsdt_print_name(char name[5], const char *begin, unsigned number)
{
    g_snprintf(name, 5, "%s%02X%s", begin, number, strlen(begin) == 1 ? "_" : "");
}

/* A register of a bridge, from within it. */
static void dsdt_print_register(char path[16], const char *begin, unsigned bridge)
{
    char name[5];

    dsdt_print_name(name, begin, bridge);
    g_snprintf(path, 16, "\\_SB_.GED_.%s", name);
}

static void dsdt_put_registers(struct vmm_aml *aml, unsigned n_bridges)
{
    static const char *const of_bridge[] = {"UP", "DN", "EJ"};
    char name[5];

    vmm_aml_port_region(
        aml, "REGS", VMM_PORT_ACPI + VMM_ACPI_EVENTS,
        (uint8_t)(VMM_ACPI_BRIDGES - VMM_ACPI_EVENTS + n_bridges * VMM_ACPI_BRIDGE_LEN));
    vmm_aml_begin_fields(aml, "REGS");
    vmm_aml_field(aml, "EVTS");
    for (unsigned i = 0; i < n_bridges * G_N_ELEMENTS(of_bridge); i++) {
        dsdt_print_name(name, of_bridge[i % G_N_ELEMENTS(of_bridge)],
                        i / (unsigned)G_N_ELEMENTS(of_bridge));
        vmm_aml_field(aml, name);
    }
    vmm_aml_end(aml);
}

/* An event is ended before it is looked at, so that none is missed. */
static void dsdt_put_events(struct vmm_aml *aml, unsigned n_bridges)
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
    dsdt_put_registers(aml, n_bridges);
    vmm_aml_begin_method(aml, "_EVT", 1);
    vmm_aml_load(aml, 0, "EVTS");
    vmm_aml_store(aml, "EVTS", 0);
    vmm_aml_begin_if_bit(aml, 0, VMM_ACPI_POWER_BUTTON);
    vmm_aml_notify(aml, "\\_SB_.PWRB", DSDT_NOTIFY_BUTTON);
    vmm_aml_end(aml);
    vmm_aml_begin_if_bit(aml, 0, VMM_ACPI_SLOTS);
    for (unsigned i = 0; i < n_bridges; i++) {
        g_autofree char *scan = g_strdup_printf("\\_SB_.PC%02X.SCAN", i);

        vmm_aml_call(aml, scan);
    }
    vmm_aml_end(aml);
    vmm_aml_end(aml);
    vmm_aml_end(aml);
}

/* Each has a part of the windows, and one bus: nothing behind it has buses of its own. */
static void dsdt_put_bridge_resources(struct vmm_aml *aml, unsigned index, unsigned bus_nr,
                                      uint64_t bar64)
{
    const uint64_t len32 = VMM_BAR32_LEN / VMM_MAX_BRIDGES, len64 = VMM_BAR64_LEN / VMM_MAX_BRIDGES;

    vmm_aml_name(aml, "_CRS");
    vmm_aml_begin_resources(aml);
    vmm_aml_resource_buses(aml, (uint16_t)bus_nr, 1);
    if (index == 0)
        vmm_aml_resource_ports(aml, DSDT_CONFIG_PORT, DSDT_CONFIG_LEN);
    vmm_aml_resource_window(aml, VMM_BAR32 + index * len32, len32, false);
    vmm_aml_resource_window(aml, bar64 + index * len64, len64, true);
    vmm_aml_end(aml);
}

/* INTA of a slot, which has no other: see VMM_GSI_PCI. */
static void dsdt_put_pins(struct vmm_aml *aml, unsigned n_slots)
{
    vmm_aml_name(aml, "_PRT");
    vmm_aml_begin_package(aml, n_slots);
    for (unsigned slot = 0; slot < n_slots; slot++) {
        vmm_aml_begin_package(aml, 4);
        vmm_aml_integer(aml, slot << 16 | DSDT_ALL_FUNCS);
        vmm_aml_integer(aml, 0);
        vmm_aml_integer(aml, 0);
        vmm_aml_integer(aml, VMM_GSI_PCI + slot % VMM_N_PCI_LINES);
        vmm_aml_end(aml);
    }
    vmm_aml_end(aml);
}

/* What is plugged there may change. */
static void dsdt_put_slot(struct vmm_aml *aml, unsigned bridge, unsigned slot)
{
    char name[5], eject[16];

    dsdt_print_name(name, "S", slot);
    dsdt_print_register(eject, "EJ", bridge);
    vmm_aml_begin_device(aml, name);
    dsdt_put_number(aml, "_ADR", slot << 16);
    dsdt_put_number(aml, "_SUN", bridge * DSDT_N_SLOTS + slot);
    vmm_aml_begin_method(aml, "_EJ0", 1);
    vmm_aml_store_integer(aml, eject, 1ull << slot);
    vmm_aml_end(aml);
    vmm_aml_end(aml);
}

static void dsdt_put_scan(struct vmm_aml *aml, unsigned bridge, unsigned n_slots)
{
    static const struct {
        const char *reg;
        uint8_t notify;
    } kinds[] = {
        {"UP", DSDT_NOTIFY_CHECK},
        {"DN", DSDT_NOTIFY_EJECT},
    };
    char name[5], reg[16];

    vmm_aml_begin_method(aml, "SCAN", 0);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        dsdt_print_register(reg, kinds[i].reg, bridge);
        vmm_aml_load(aml, 0, reg);
        vmm_aml_store(aml, reg, 0);
        for (unsigned slot = bridge == 0; slot < n_slots; slot++) {
            dsdt_print_name(name, "S", slot);
            vmm_aml_begin_if_bit(aml, 0, 1ull << slot);
            vmm_aml_notify(aml, name, kinds[i].notify);
            vmm_aml_end(aml);
        }
    }
    vmm_aml_end(aml);
}

/* Slot 0 of the first is the bridge itself. */
static void dsdt_put_bridge(struct vmm_aml *aml, const struct vmm_machine *machine, unsigned index)
{
    const struct vmm_bridge_config *config = vmm_config_bridge(&machine->config, index);
    uint64_t bar64 = (machine->ram.high_end + VMM_BAR64_LEN - 1) & ~(VMM_BAR64_LEN - 1);
    char name[5];

    dsdt_print_name(name, "PC", index);
    vmm_aml_begin_device(aml, name);
    dsdt_put_id(aml, "PNP0A08");
    vmm_aml_name(aml, "_CID");
    vmm_aml_eisa_id(aml, "PNP0A03");
    dsdt_put_number(aml, "_UID", index);
    dsdt_put_number(aml, "_SEG", 0);
    dsdt_put_number(aml, "_BBN", config->bus_nr);
    if (config->numa_node != VMM_NO_NODE)
        dsdt_put_number(aml, "_PXM", (uint64_t)config->numa_node);
    dsdt_put_bridge_resources(aml, index, config->bus_nr, bar64);
    dsdt_put_pins(aml, config->n_slots);
    for (unsigned slot = index == 0; slot < config->n_slots; slot++)
        dsdt_put_slot(aml, index, slot);
    dsdt_put_scan(aml, index, config->n_slots);
    vmm_aml_end(aml);
}

void vmm_acpi_put_dsdt(const struct vmm_machine *machine, GByteArray *bytes)
{
    unsigned at = vmm_acpi_begin(bytes, "DSDT", 2);
    unsigned n_bridges = machine->config.bridges->len;
    struct vmm_aml aml;

    vmm_aml_init(&aml, bytes);
    vmm_aml_begin_scope(&aml, "\\_SB_");
    if (machine->config.serial.kind != VMM_SERIAL_NONE)
        dsdt_put_com1(&aml);
    dsdt_put_clock(&aml);
    dsdt_put_board(&aml);
    dsdt_put_events(&aml, n_bridges);
    for (unsigned i = 0; i < n_bridges; i++)
        dsdt_put_bridge(&aml, machine, i);
    vmm_aml_end(&aml);

    vmm_aml_name(&aml, "\\_S5_");
    vmm_aml_begin_package(&aml, 4);
    vmm_aml_integer(&aml, VMM_ACPI_SLEEP_OFF);
    for (unsigned i = 0; i < 3; i++)
        vmm_aml_integer(&aml, 0);
    vmm_aml_end(&aml);
    vmm_acpi_end(bytes, at);
}
