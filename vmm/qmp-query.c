/* SPDX-License-Identifier: Apache-2.0 */
/* QMP's questions about the machine: its state, vCPUs and memory. Main thread. */
#include "vhost-user/daemon/json-build.h"
#include "vmm/qmp.h"
#include "vmm/x86/vcpu.h"

JsonNode *vmm_qmp_query_status(struct vmm_machine *machine, JsonObject *arguments, GError **error)
{
    static const char *const states[] = {
        [VMM_STATE_CREATED] = "prelaunch",
        [VMM_STATE_RUNNING] = "running",
        [VMM_STATE_PAUSED] = "paused",
        [VMM_STATE_SHUTDOWN] = "shutdown",
        [VMM_STATE_INTERNAL_ERROR] = "internal-error",
        [VMM_STATE_ENDED] = "shutdown",
    };
    enum vmm_run_state state = vmm_machine_state(machine);
    JsonBuilder *json = vu_json_begin();

    vu_json_add_text(json, "status", states[state]);
    vu_json_add_bool(json, "running", state == VMM_STATE_RUNNING);
    vu_json_add_bool(json, "singlestep", false);
    return vu_json_finish(json);
}

JsonNode *vmm_qmp_query_name(struct vmm_machine *machine, JsonObject *arguments, GError **error)
{
    JsonBuilder *json = vu_json_begin();

    vu_json_add_text(json, "name", machine->config.name);
    return vu_json_finish(json);
}

JsonNode *vmm_qmp_query_kvm(struct vmm_machine *machine, JsonObject *arguments, GError **error)
{
    JsonBuilder *json = vu_json_begin();

    vu_json_add_bool(json, "enabled", true);
    vu_json_add_bool(json, "present", true);
    return vu_json_finish(json);
}

/* Ends an array that json_builder_begin_array began at the top. */
static JsonNode *query_finish_array(JsonBuilder *json)
{
    JsonNode *node;

    json_builder_end_array(json);
    node = json_builder_get_root(json);
    g_object_unref(json);
    return node;
}

static void query_add_cpu(JsonBuilder *json, const struct vmm_machine *machine, unsigned cpu)
{
    const struct vmm_topology *smp = &machine->config.smp;
    g_autofree char *path = g_strdup_printf("/machine/cpu[%u]", cpu);

    json_builder_begin_object(json);
    vu_json_add_number(json, "cpu-index", cpu);
    vu_json_add_text(json, "qom-path", path);
    vu_json_add_number(json, "thread-id", (uint64_t)vmm_vcpus_thread_id(machine->vcpus, cpu));
    vu_json_add_text(json, "target", "x86_64");
    vu_json_begin_object(json, "props");
    vu_json_add_number(json, "node-id", vmm_config_cpu_node(&machine->config, cpu));
    vu_json_add_number(json, "socket-id", cpu / smp->threads / smp->cores);
    vu_json_add_number(json, "core-id", cpu / smp->threads % smp->cores);
    vu_json_add_number(json, "thread-id", cpu % smp->threads);
    json_builder_end_object(json);
    json_builder_end_object(json);
}

JsonNode *vmm_qmp_query_cpus(struct vmm_machine *machine, JsonObject *arguments, GError **error)
{
    JsonBuilder *json = json_builder_new();

    json_builder_begin_array(json);
    for (unsigned cpu = 0; cpu < machine->config.smp.n_cpus; cpu++)
        query_add_cpu(json, machine, cpu);
    return query_finish_array(json);
}

static void query_add_memdev(JsonBuilder *json, const struct vmm_memdev *memdev)
{
    static const char *const policies[] = {
        [VMM_POLICY_DEFAULT] = "default",
        [VMM_POLICY_PREFERRED] = "preferred",
        [VMM_POLICY_BIND] = "bind",
        [VMM_POLICY_INTERLEAVE] = "interleave",
    };

    json_builder_begin_object(json);
    vu_json_add_text(json, "id", memdev->id);
    vu_json_add_number(json, "size", memdev->size);
    vu_json_add_bool(json, "merge", false);
    vu_json_add_bool(json, "dump", true);
    vu_json_add_bool(json, "prealloc", memdev->prealloc);
    vu_json_add_bool(json, "share", memdev->share);
    vu_json_begin_array(json, "host-nodes");
    for (unsigned node = 0; node < 64; node++)
        if (memdev->host_nodes >> node & 1)
            json_builder_add_int_value(json, node);
    json_builder_end_array(json);
    vu_json_add_text(json, "policy", policies[memdev->policy]);
    json_builder_end_object(json);
}

JsonNode *vmm_qmp_query_memdev(struct vmm_machine *machine, JsonObject *arguments, GError **error)
{
    JsonBuilder *json = json_builder_new();

    json_builder_begin_array(json);
    for (unsigned i = 0; i < machine->config.memdevs->len; i++)
        query_add_memdev(json, g_ptr_array_index(machine->config.memdevs, i));
    return query_finish_array(json);
}
