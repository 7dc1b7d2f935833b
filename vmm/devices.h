/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices of a machine: made from the command line or by device_add, in slots of the PCI bus,
 * each with its back-end. Main thread.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "vmm/config.h"

struct vmm_machine;

/* The PCI bus with everything that the config names. False with *error; what was made goes with
 * vmm_devices_destroy. */
bool vmm_devices_create(struct vmm_machine *machine, GError **error);
/* No vCPU runs. */
void vmm_devices_destroy(struct vmm_machine *machine);
/* As after power-on; back-ends stay connected. No vCPU runs. */
void vmm_devices_reset(struct vmm_machine *machine);
