/* SPDX-License-Identifier: Apache-2.0 */
/*
 * -qmp: the commands and events of QEMU's Machine Protocol that scripts use, over the control
 * socket of vhost-user/daemon/control.h. Commands come in on its threads and are carried out by the
 * main one, between two things that it does.
 */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>

#include "vhost-user/daemon/control.h"
#include "vmm/machine.h"

struct vmm_qmp;

/* Listens at path; the machine outlives it. NULL with *error. */
struct vmm_qmp *vmm_qmp_create(struct vmm_machine *machine, const char *path, GError **error);
/* Begins to answer. 0 or -errno. */
int vmm_qmp_start(struct vmm_qmp *qmp);
/* Tells what is to be told and hangs up. NULL is allowed. Main thread. */
void vmm_qmp_destroy(struct vmm_qmp *qmp);

/* --- the commands; on the main thread --- */

typedef JsonNode *(*vmm_qmp_fn)(struct vmm_machine *machine, JsonObject *arguments, GError **error);
struct vmm_qmp_job; /* a command on its way */

struct vmm_qmp_command {
    const char *name, *help;
    vmm_qmp_fn run;
    /* Instead of run, where it takes a while: vmm_qmp_end follows, unless this is false, with
     * *error. */
    bool (*begin)(struct vmm_machine *machine, JsonObject *arguments, struct vmm_qmp_job *job,
                  GError **error);
    bool is_open; /* arguments that no row describes */
    const struct vu_control_argument *rows;
    size_t n_rows;
};

extern const struct vmm_qmp_command vmm_qmp_commands[];
extern const size_t vmm_qmp_n_commands;

/* Takes over both; result is NULL where there is an error. */
void vmm_qmp_end(struct vmm_qmp_job *job, JsonNode *result, GError *error);

/* qmp-query.c */
JsonNode *vmm_qmp_query_status(struct vmm_machine *machine, JsonObject *arguments, GError **error);
JsonNode *vmm_qmp_query_name(struct vmm_machine *machine, JsonObject *arguments, GError **error);
JsonNode *vmm_qmp_query_kvm(struct vmm_machine *machine, JsonObject *arguments, GError **error);
JsonNode *vmm_qmp_query_cpus(struct vmm_machine *machine, JsonObject *arguments, GError **error);
JsonNode *vmm_qmp_query_memdev(struct vmm_machine *machine, JsonObject *arguments, GError **error);

/* qmp-devices.c */
JsonNode *vmm_qmp_query_pci(struct vmm_machine *machine, JsonObject *arguments, GError **error);
JsonNode *vmm_qmp_query_chardev(struct vmm_machine *machine, JsonObject *arguments, GError **error);
JsonNode *vmm_qmp_query_vhost(struct vmm_machine *machine, JsonObject *arguments, GError **error);
bool vmm_qmp_device_add(struct vmm_machine *machine, JsonObject *arguments, struct vmm_qmp_job *job,
                        GError **error);
JsonNode *vmm_qmp_device_del(struct vmm_machine *machine, JsonObject *arguments, GError **error);
JsonNode *vmm_qmp_chardev_add(struct vmm_machine *machine, JsonObject *arguments, GError **error);
JsonNode *vmm_qmp_chardev_remove(struct vmm_machine *machine, JsonObject *arguments,
                                 GError **error);
