/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices of a machine: made from the command line or by device_add, in slots of the PCI bus,
 * each with its back-end. Main thread, which never waits for a back-end but at the start and, for
 * a moment, at the end.
 *
 *   plugged --asked to leave--> leaving --the guest lets go--> hidden --it has stopped--> gone
 *                               leaving --the guest resets, and it has stopped----------> gone
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "vmm/config.h"

struct vmm_machine;

struct vmm_device {
    const struct vmm_device_config *config; /* one of the machine's config */
    struct virtio_device *virtio;           /* a vhost-device.h; pci's own */
    struct virtio_pci *transport;
    struct pci_device *pci; /* the transport's; its slot is where the device is */
    bool is_leaving;
    bool is_hidden; /* the guest has let it go */
};

/* The PCI bus with everything that the config names. False with *error; what was made goes with
 * vmm_devices_destroy. */
bool vmm_devices_create(struct vmm_machine *machine, GError **error);
/* No vCPU runs. */
void vmm_devices_destroy(struct vmm_machine *machine);

/* Has all of them stop, for a reset; VMM_REQUEST_STOPPED comes when one has. No vCPU runs. */
void vmm_devices_stop(struct vmm_machine *machine);
bool vmm_devices_are_stopped(struct vmm_machine *machine);
/* Then: as after power-on; back-ends stay connected, and what was to leave has gone. */
void vmm_devices_reset(struct vmm_machine *machine);

/* error: NULL, or why the device is not there, and has left the config too; to be freed. */
typedef void (*vmm_devices_plugged_fn)(void *opaque, GError *error);
/* Begins to plug the device that is the last of the machine's config into the running guest: its
 * thread connects to the back-end, however long that takes, and then done is called. False with
 * *error, and without done. */
bool vmm_devices_plug(struct vmm_machine *machine, vmm_devices_plugged_fn done, void *opaque,
                      GError **error);
/* The machine has ended: those that are being plugged are given up, and done is called for each
 * soon.
 */
void vmm_devices_abandon(struct vmm_machine *machine);
/* Asks the guest to let a device go. False with *error: there is none of that id. */
bool vmm_devices_ask_to_leave(struct vmm_machine *machine, const char *id, GError **error);
/* Takes away what the guest has let go (machine->ejected), once it has stopped. */
void vmm_devices_eject(struct vmm_machine *machine);
/* A device has stopped: what was only waiting for that has gone. */
void vmm_devices_settle(struct vmm_machine *machine);
