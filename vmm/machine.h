/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running machine: what there is one of, and its life.
 *
 *   CREATED --start--> RUNNING --stop--> PAUSED --cont--> RUNNING
 *   RUNNING --reset, by the guest or QMP--> PAUSED --all devices have stopped--> RUNNING, with
 *                                           devices reset and the kernel loaded anew
 *   not running --reset--> CREATED
 *   any --shutdown, quit, internal error--> ENDED
 *
 * Changes of state are asked for by any thread and carried out by the main one, between
 * vmm_machine_run's waits; everything below is its own unless a comment says otherwise.
 */
#pragma once

#include <glib.h>
#include <pthread.h>

#include "vmm/bus.h"
#include "vmm/cmos.h"
#include "vmm/config.h"
#include "vmm/layout.h"
#include "vmm/ram.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/vm.h"

enum vmm_run_state {
    VMM_STATE_CREATED, /* "prelaunch" */
    VMM_STATE_RUNNING,
    VMM_STATE_PAUSED,
    VMM_STATE_SHUTDOWN, /* with -no-shutdown: ended, and waiting for quit */
    VMM_STATE_INTERNAL_ERROR,
    VMM_STATE_ENDED,
};

/* What can be asked for; several at a time are a set. */
enum vmm_request {
    VMM_REQUEST_STOP = 1 << 0,
    VMM_REQUEST_CONT = 1 << 1,
    VMM_REQUEST_RESET = 1 << 2,
    VMM_REQUEST_POWERDOWN = 1 << 3, /* the guest's power button is pressed */
    VMM_REQUEST_SHUTDOWN = 1 << 4,  /* the guest has switched itself off */
    VMM_REQUEST_QUIT = 1 << 5,
    VMM_REQUEST_ERROR = 1 << 6, /* a vCPU cannot go on; it has logged why */
    VMM_REQUEST_EJECT = 1 << 7, /* the guest has let devices go */
    VMM_REQUEST_RESET_BY_HOST = 1 << 8,
    VMM_REQUEST_QUIT_BY_SIGNAL = 1 << 9,
    VMM_REQUEST_STOPPED = 1 << 10, /* a device has stopped */
};

/* What others are told, in QMP's words. */
struct vmm_event {
    const char *name;
    bool has_cause, by_guest; /* SHUTDOWN, RESET: who wanted it */
    const char *reason;
    const char *device; /* DEVICE_DELETED: its id */
};

struct vmm_vcpus;       /* x86/vcpu.h */
struct vmm_serial;      /* serial.h */
struct vmm_acpi_device; /* acpi-device.h */
struct pci_host;        /* pci/pci-host.h */

struct vmm_machine {
    struct vmm_config config; /* constant, but for the devices and chardevs: the main thread's */
    struct vmm_ram ram;       /* constant */
    struct vmm_boot_files files;
    struct vmm_vm vm;
    struct vmm_bus ports, memory; /* any thread */
    struct vmm_vcpus *vcpus;
    struct vmm_serial *serial;
    struct vmm_acpi_device *acpi;
    struct vmm_cmos cmos;
    struct pci_host *pci;
    GPtrArray *devices;                /* of struct vmm_device; the main thread's */
    GPtrArray *newcomers;              /* that are being opened, likewise */
    uint32_t ejected[VMM_MAX_BRIDGES]; /* atomic; slots of each */
    GMainContext *context;             /* the main thread's */
    enum vmm_run_state state;          /* atomic; the main thread writes */
    bool has_failed;                   /* by an internal error */
    struct {
        bool is_pending; /* devices are stopping for it */
        bool by_guest;
        bool resumes; /* the vCPUs run afterwards */
    } reset;
    unsigned requests; /* atomic; of enum vmm_request */
    int request_fd;    /* eventfd: there are some */
    int signal_fd;     /* someone wants the program to end */
    /* Whoever tells others (QMP). NULL: nobody listens. Called by the main thread. */
    void (*on_event)(void *opaque, const struct vmm_event *event);
    void *event_opaque;
};

/* Takes over the checked config. False with *error; the machine is then finished already. */
bool vmm_machine_create(struct vmm_machine *machine, struct vmm_config *config, GError **error);
void vmm_machine_destroy(struct vmm_machine *machine);

/* Runs until the machine has ended; the program's exit status. Main thread. */
int vmm_machine_run(struct vmm_machine *machine);

/* Any thread, vCPUs too. Never blocks. */
void vmm_machine_ask(struct vmm_machine *machine, enum vmm_request request);
/* Main thread: does now what was asked for. */
void vmm_machine_carry_out(struct vmm_machine *machine);
/* Main thread. */
void vmm_machine_tell(const struct vmm_machine *machine, const struct vmm_event *event);
enum vmm_run_state vmm_machine_state(const struct vmm_machine *machine);
