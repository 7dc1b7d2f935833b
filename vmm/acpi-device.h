/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers that the ACPI tables speak of: reset, sleep, and the events that a Generic Event Device
 * passes on (ACPI 6.4 sections 4.8.3.6, 4.8.3.7 and 5.6.9).
 *
 *   port of VMM_PORT_ACPI +
 *   0x00  1  w   reset: any value
 *   0x01  1  rw  sleep control: bits 2 to 4 type, bit 5 go
 *   0x02  1  rw  sleep status: bit 7 woken
 *   0x04  4  rw  events that are pending (enum vmm_acpi_event); a 1 that is written ends one
 *   0x08  4  rw  slots of the first PCI host bridge with a new device, a bit each; a 1 that is
 *                written ends it
 *   0x0C  4  rw  slots whose device is to leave; likewise
 *   0x10  4  w   slots whose device the guest has let go
 *   0x14  12     the same three of the next bridge, and so on
 *
 * As long as there are events the line VMM_GSI_GED is high.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/layout.h"

#define VMM_ACPI_RESET      0x00
#define VMM_ACPI_SLEEP      0x01
#define VMM_ACPI_STATUS     0x02
#define VMM_ACPI_EVENTS     0x04
#define VMM_ACPI_BRIDGES    0x08
#define VMM_ACPI_BRIDGE_LEN 0x0C
#define VMM_ACPI_N_PORTS    (VMM_ACPI_BRIDGES + VMM_MAX_BRIDGES * VMM_ACPI_BRIDGE_LEN)
#define VMM_ACPI_N_SLOTS    32

/* In the registers of a bridge. */
#define VMM_ACPI_SLOTS_UP    0x00
#define VMM_ACPI_SLOTS_DOWN  0x04
#define VMM_ACPI_EJECT       0x08

#define VMM_ACPI_RESET_VALUE 1
#define VMM_ACPI_SLEEP_OFF   5 /* type of _S5_ */

enum vmm_acpi_event {
    VMM_ACPI_POWER_BUTTON = 1 << 0,
    VMM_ACPI_SLOTS = 1 << 1,
};

struct vmm_machine;
struct vmm_acpi_device;

/* Makes it, on the machine's ports. False with *error. Main thread. */
bool vmm_acpi_device_create(struct vmm_machine *machine, GError **error);
/* NULL is allowed. */
void vmm_acpi_device_destroy(struct vmm_acpi_device *device);
/* No event is pending any more. While no vCPU runs. */
void vmm_acpi_device_reset(struct vmm_acpi_device *device);

/* Any thread. */
void vmm_acpi_press_power_button(struct vmm_acpi_device *device);
/* A device has come into a slot of a bridge (the index of its bus), or the one there is to leave:
 * then, or never, on_eject is called. */
void vmm_acpi_slot_up(struct vmm_acpi_device *device, unsigned bridge, unsigned slot);
void vmm_acpi_slot_down(struct vmm_acpi_device *device, unsigned bridge, unsigned slot);
/* Called with a bridge and a bit for each slot, on the vCPU that lets devices go. */
typedef void (*vmm_acpi_eject_fn)(void *opaque, unsigned bridge, uint32_t slots);
/* Before a vCPU runs. */
void vmm_acpi_set_eject(struct vmm_acpi_device *device, vmm_acpi_eject_fn on_eject, void *opaque);
