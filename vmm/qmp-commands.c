/* SPDX-License-Identifier: Apache-2.0 */
/* The table of QMP commands, and those that only ask the machine for something. Main thread. */
#include "vmm/qmp.h"

/* It is done when the client has its answer: who stops the guest relies on it. But a reset may have
 * to wait for back-ends; an event tells of it. */
static JsonNode *ask(struct vmm_machine *machine, enum vmm_request request)
{
    vmm_machine_ask(machine, request);
    vmm_machine_carry_out(machine);
    return vu_control_nothing();
}

static JsonNode *qmp_stop(struct vmm_machine *machine, JsonObject *arguments, GError **error)
{
    return ask(machine, VMM_REQUEST_STOP);
}

static JsonNode *qmp_cont(struct vmm_machine *machine, JsonObject *arguments, GError **error)
{
    enum vmm_run_state state = vmm_machine_state(machine);

    if (state == VMM_STATE_SHUTDOWN || state == VMM_STATE_INTERNAL_ERROR)
        return vu_control_fail(error, "the guest has ended: system_reset must come first");
    return ask(machine, VMM_REQUEST_CONT);
}

static JsonNode *qmp_reset(struct vmm_machine *machine, JsonObject *arguments, GError **error)
{
    return ask(machine, VMM_REQUEST_RESET_BY_HOST);
}

static JsonNode *qmp_powerdown(struct vmm_machine *machine, JsonObject *arguments, GError **error)
{
    return ask(machine, VMM_REQUEST_POWERDOWN);
}

static const struct vu_control_argument id_rows[] = {
    {.name = "id", .type = VU_CONTROL_STRING, .is_required = true, .help = "Its id."},
};

const struct vmm_qmp_command vmm_qmp_commands[] = {
    {"query-status", "Whether the guest runs.", vmm_qmp_query_status},
    {"query-name", "The name of -name.", vmm_qmp_query_name},
    {"query-kvm", "That KVM is used.", vmm_qmp_query_kvm},
    {"query-cpus-fast", "The vCPUs, their threads and their places.", vmm_qmp_query_cpus},
    {"query-memdev", "The memory backends.", vmm_qmp_query_memdev},
    {"query-pci", "The PCI bus.", vmm_qmp_query_pci},
    {"query-chardev", "The sockets of back-ends.", vmm_qmp_query_chardev},
    {"query-vhost-user", "The vhost-user devices: whether their back-ends are there.",
     vmm_qmp_query_vhost},
    {"stop", "Stops the guest.", qmp_stop},
    {"cont", "Lets it go on.", qmp_cont},
    {"system_reset", "Resets the machine.", qmp_reset},
    {"system_powerdown", "Presses the guest's power button.", qmp_powerdown},
    {"device_add", "Plugs in a vhost-user device: driver, and the keys of -device.",
     .begin = vmm_qmp_device_add, .is_open = true},
    {"device_del", "Asks the guest to let a device go; DEVICE_DELETED follows.", vmm_qmp_device_del,
     .rows = id_rows, .n_rows = G_N_ELEMENTS(id_rows)},
    {"chardev-add", "The socket of one more back-end, as QEMU describes it.", vmm_qmp_chardev_add,
     .is_open = true},
    {"chardev-remove", "Forgets a socket that no device has.", vmm_qmp_chardev_remove,
     .rows = id_rows, .n_rows = G_N_ELEMENTS(id_rows)},
};

const size_t vmm_qmp_n_commands = G_N_ELEMENTS(vmm_qmp_commands);
