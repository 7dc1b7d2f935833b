/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of fixed layout: FADT (ACPI 6.4 section 5.2.9), in the hardware-reduced form, which has
 * none of a PC's power management but registers to reset and to sleep; MADT (5.2.12), the interrupt
 * controllers; MCFG (PCI Firmware 3.3 section 4.1.2), the configuration space of PCI.
 */
#include "vmm/acpi-device.h"
#include "vmm/layout.h"
#include "vmm/machine.h"
#include "vmm/x86/acpi-bytes.h"
#include "vmm/x86/acpi-tables.h"
#include "vmm/x86/topology.h"

#define FADT_REVISION 6
#define FADT_MINOR    4
#define FADT_LEN      276

/* Offsets; all between them stays 0. */
#define FADT_BOOT_ARCH     109
#define FADT_FLAGS         112
#define FADT_RESET_REG     116
#define FADT_RESET_VALUE   128
#define FADT_MINOR_AT      131
#define FADT_X_DSDT        140
#define FADT_SLEEP_CONTROL 244
#define FADT_SLEEP_STATUS  256
#define FADT_HYPERVISOR    268

#define FADT_CENTURY       108
#define FADT_CENTURY_AT    0x32 /* in the CMOS */

#define FADT_NO_VGA        (1u << 2) /* of the boot architecture */
#define FADT_WBINVD        (1u << 0)
#define FADT_NO_SLEEP      (1u << 5)
#define FADT_POWER_BUTTON  (1u << 4) /* is a device */
#define FADT_RESET_HERE    (1u << 10)
#define FADT_HARDWARE_LESS (1u << 20)

#define MADT_LOCAL_APIC    0
#define MADT_IO_APIC       1
#define MADT_ENABLED       1

/* Section 5.2.3.2, generic address. */
#define ADDRESS_PORTS 1
#define ADDRESS_BYTE  1

static void fixed_set_port(GByteArray *bytes, unsigned at, uint16_t port)
{
    bytes->data[at] = ADDRESS_PORTS;
    bytes->data[at + 1] = 8; /* bits */
    bytes->data[at + 2] = 0;
    bytes->data[at + 3] = ADDRESS_BYTE;
    acpi_set(bytes, at + 4, port, 8);
}

void vmm_acpi_put_fadt(GByteArray *bytes, uint64_t dsdt_gpa)
{
    unsigned at = vmm_acpi_begin(bytes, "FACP", FADT_REVISION);

    acpi_put_zeros(bytes, FADT_LEN - VMM_ACPI_HEADER_LEN);
    bytes->data[at + FADT_CENTURY] = FADT_CENTURY_AT;
    acpi_set(bytes, at + FADT_BOOT_ARCH, FADT_NO_VGA, 2);
    acpi_set(bytes, at + FADT_FLAGS,
             FADT_WBINVD | FADT_NO_SLEEP | FADT_POWER_BUTTON | FADT_RESET_HERE | FADT_HARDWARE_LESS,
             4);
    fixed_set_port(bytes, at + FADT_RESET_REG, VMM_PORT_ACPI + VMM_ACPI_RESET);
    bytes->data[at + FADT_RESET_VALUE] = VMM_ACPI_RESET_VALUE;
    bytes->data[at + FADT_MINOR_AT] = FADT_MINOR;
    acpi_set(bytes, at + FADT_X_DSDT, dsdt_gpa, 8);
    fixed_set_port(bytes, at + FADT_SLEEP_CONTROL, VMM_PORT_ACPI + VMM_ACPI_SLEEP);
    fixed_set_port(bytes, at + FADT_SLEEP_STATUS, VMM_PORT_ACPI + VMM_ACPI_STATUS);
    memcpy(bytes->data + at + FADT_HYPERVISOR, "OUTBOARD", 8);
    vmm_acpi_end(bytes, at);
}

void vmm_acpi_put_madt(const struct vmm_machine *machine, GByteArray *bytes)
{
    const struct vmm_topology *smp = &machine->config.smp;
    unsigned at = vmm_acpi_begin(bytes, "APIC", 5);

    acpi_put_u32(bytes, (uint32_t)VMM_LOCAL_APIC);
    acpi_put_u32(bytes, 0); /* no 8259s beside it */
    for (unsigned i = 0; i < smp->n_cpus; i++) {
        acpi_put_u8(bytes, MADT_LOCAL_APIC);
        acpi_put_u8(bytes, 8);
        acpi_put_u8(bytes, (uint8_t)i);
        acpi_put_u8(bytes, (uint8_t)vmm_topology_apic_id(smp, i));
        acpi_put_u32(bytes, MADT_ENABLED);
    }
    acpi_put_u8(bytes, MADT_IO_APIC);
    acpi_put_u8(bytes, 12);
    acpi_put_u16(bytes, 0); /* its number */
    acpi_put_u32(bytes, (uint32_t)VMM_IOAPIC);
    acpi_put_u32(bytes, 0); /* its first GSI */
    vmm_acpi_end(bytes, at);
}

/* Up to the last bus that there is. */
void vmm_acpi_put_mcfg(const struct vmm_machine *machine, GByteArray *bytes)
{
    unsigned at = vmm_acpi_begin(bytes, "MCFG", 1), last = 0;

    for (unsigned i = 0; i < machine->config.bridges->len; i++)
        last = MAX(last, vmm_config_bridge(&machine->config, i)->bus_nr);
    acpi_put_zeros(bytes, 8);
    acpi_put_u64(bytes, VMM_ECAM);
    acpi_put_u16(bytes, 0); /* segment */
    acpi_put_u8(bytes, 0);  /* first bus, and last */
    acpi_put_u8(bytes, (uint8_t)last);
    acpi_put_u32(bytes, 0);
    vmm_acpi_end(bytes, at);
}
