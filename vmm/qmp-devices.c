/* SPDX-License-Identifier: Apache-2.0 */
/* QMP's commands about devices and their back-ends. Main thread. */
#include <linux/pci_regs.h>
#include <string.h>

#include "vhost-user/daemon/json-build.h"
#include "vmm/cmdline.h"
#include "vmm/devices.h"
#include "vmm/pci/pci-host.h"
#include "vmm/qmp.h"
#include "vmm/vhost/vhost-device.h"

static JsonNode *devices_finish_array(JsonBuilder *json)
{
    JsonNode *node;

    json_builder_end_array(json);
    node = json_builder_get_root(json);
    g_object_unref(json);
    return node;
}

/* --- query-pci --- */

static void pci_add_regions(JsonBuilder *json, const struct pci_device *device)
{
    vu_json_begin_array(json, "regions");
    for (unsigned i = 0; i < PCI_N_BARS; i++) {
        const struct pci_bar *bar = &device->bars[i];

        if (!bar->len)
            continue;
        json_builder_begin_object(json);
        vu_json_add_number(json, "bar", i);
        vu_json_add_text(json, "type", "memory");
        vu_json_add_number(json, "address", __atomic_load_n(&bar->mapped, __ATOMIC_RELAXED));
        vu_json_add_number(json, "size", bar->len);
        vu_json_add_bool(json, "prefetch", bar->is_64);
        vu_json_add_bool(json, "mem_type_64", bar->is_64);
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
}

static void pci_add_device(JsonBuilder *json, const struct pci_device *device, const char *id)
{
    const uint8_t *config = device->config;

    json_builder_begin_object(json);
    vu_json_add_number(json, "bus", device->bus->number);
    vu_json_add_number(json, "slot", device->slot);
    vu_json_add_number(json, "function", 0);
    vu_json_add_text(json, "qdev_id", id ? id : "");
    vu_json_begin_object(json, "class_info");
    vu_json_add_number(json, "class", pci_get(config + PCI_CLASS_DEVICE, 2));
    json_builder_end_object(json);
    vu_json_begin_object(json, "id");
    vu_json_add_number(json, "vendor", pci_get(config + PCI_VENDOR_ID, 2));
    vu_json_add_number(json, "device", pci_get(config + PCI_DEVICE_ID, 2));
    vu_json_add_number(json, "subsystem-vendor", pci_get(config + PCI_SUBSYSTEM_VENDOR_ID, 2));
    vu_json_add_number(json, "subsystem", pci_get(config + PCI_SUBSYSTEM_ID, 2));
    json_builder_end_object(json);
    vu_json_add_number(json, "irq_pin", config[PCI_INTERRUPT_PIN]);
    pci_add_regions(json, device);
    json_builder_end_object(json);
}

/* NULL: it is none of ours, or nobody has named it. */
static const char *pci_device_id(const struct vmm_machine *machine, const struct pci_device *device)
{
    for (unsigned i = 0; i < machine->devices->len; i++) {
        const struct vmm_device *ours = g_ptr_array_index(machine->devices, i);

        if (ours->pci == device)
            return ours->config->id;
    }
    return NULL;
}

JsonNode *vmm_qmp_query_pci(struct vmm_machine *machine, JsonObject *arguments, GError **error)
{
    JsonBuilder *json = json_builder_new();

    json_builder_begin_array(json);
    for (unsigned bus = 0; bus < machine->config.bridges->len; bus++) {
        json_builder_begin_object(json);
        vu_json_add_number(json, "bus", vmm_config_bridge(&machine->config, bus)->bus_nr);
        vu_json_begin_array(json, "devices");
        for (unsigned slot = 0; slot < PCI_N_SLOTS; slot++) {
            const struct pci_device *device = pci_host_at(machine->pci, bus, slot);

            if (device)
                pci_add_device(json, device, pci_device_id(machine, device));
        }
        json_builder_end_array(json);
        json_builder_end_object(json);
    }
    return devices_finish_array(json);
}

/* --- back-ends --- */

JsonNode *vmm_qmp_query_chardev(struct vmm_machine *machine, JsonObject *arguments, GError **error)
{
    JsonBuilder *json = json_builder_new();

    json_builder_begin_array(json);
    for (unsigned i = 0; i < machine->config.chardevs->len; i++) {
        const struct vmm_chardev *chardev = g_ptr_array_index(machine->config.chardevs, i);
        g_autofree char *filename = g_strdup_printf("unix:%s", chardev->path);

        json_builder_begin_object(json);
        vu_json_add_text(json, "label", chardev->id);
        vu_json_add_text(json, "filename", filename);
        vu_json_add_bool(json, "frontend-open", chardev->is_used);
        json_builder_end_object(json);
    }
    return devices_finish_array(json);
}

JsonNode *vmm_qmp_query_vhost(struct vmm_machine *machine, JsonObject *arguments, GError **error)
{
    JsonBuilder *json = json_builder_new();

    json_builder_begin_array(json);
    for (unsigned i = 0; i < machine->devices->len; i++) {
        const struct vmm_device *device = g_ptr_array_index(machine->devices, i);
        const struct vmm_chardev *chardev =
            vmm_config_find_chardev(&machine->config, device->config->chardev);

        json_builder_begin_object(json);
        vu_json_add_text(json, "id", device->config->id);
        vu_json_add_number(json, "bus", device->pci->bus->number);
        vu_json_add_number(json, "slot", device->pci->slot);
        vu_json_add_text(json, "path", chardev->path);
        vu_json_add_bool(json, "connected", vhost_device_is_connected(device->virtio));
        vu_json_add_number(json, "reconnects", vhost_device_n_reconnects(device->virtio));
        vu_json_add_number(json, "queues", device->virtio->n_queues);
        vu_json_add_bool(json, "leaving", device->is_leaving);
        json_builder_end_object(json);
    }
    return devices_finish_array(json);
}

/* --- device_add, device_del --- */

/* A value as -device has it, commas doubled; false: it is no simple value. */
static bool devices_append_value(GString *text, JsonNode *value)
{
    GType type = JSON_NODE_HOLDS_VALUE(value) ? json_node_get_value_type(value) : G_TYPE_INVALID;

    if (type == G_TYPE_INT64) {
        g_string_append_printf(text, "%" G_GINT64_FORMAT, json_node_get_int(value));
    } else if (type == G_TYPE_BOOLEAN) {
        g_string_append(text, json_node_get_boolean(value) ? "on" : "off");
    } else if (type == G_TYPE_STRING) {
        for (const char *at = json_node_get_string(value); *at; at++)
            g_string_append_len(text, *at == ',' ? ",," : at, *at == ',' ? 2 : 1);
    } else {
        return false;
    }
    return true;
}

/* {"driver": D, KEY: VALUE...} as "D,KEY=VALUE,...". NULL with *error. */
static char *devices_as_option(JsonObject *arguments, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;

    value = json_object_get_member(arguments, "driver");
    if (!value || !devices_append_value(text, value)) {
        vmm_config_fail(error, "driver: must be given");
        return NULL;
    }
    json_object_iter_init(&iter, arguments);
    while (json_object_iter_next(&iter, &name, &value)) {
        if (strcmp(name, "driver") == 0)
            continue;
        g_string_append_printf(text, ",%s=", name);
        if (strpbrk(name, ",=") || !devices_append_value(text, value)) {
            vmm_config_fail(error, "%s: expected a string, a number, true or false", name);
            return NULL;
        }
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static void devices_on_plugged(void *opaque, GError *error)
{
    vmm_qmp_end(opaque, error ? NULL : vu_control_nothing(), error);
}

bool vmm_qmp_device_add(struct vmm_machine *machine, JsonObject *arguments, struct vmm_qmp_job *job,
                        GError **error)
{
    g_autofree char *option = devices_as_option(arguments, error);
    GPtrArray *configs = machine->config.devices;

    if (!option || !vmm_cmdline_parse_device(&machine->config, option, error))
        return false;
    if (!vmm_config_check_device(&machine->config, configs->len - 1, error)) {
        g_ptr_array_remove_index(configs, configs->len - 1); /* it has taken nothing */
        return false;
    }
    return vmm_devices_plug(machine, devices_on_plugged, job, error);
}

JsonNode *vmm_qmp_device_del(struct vmm_machine *machine, JsonObject *arguments, GError **error)
{
    const char *id = json_object_get_string_member(arguments, "id");

    return vmm_devices_ask_to_leave(machine, id, error) ? vu_control_nothing() : NULL;
}

/* --- chardev-add, chardev-remove --- */

#define CHARDEV_MAX_S 3600 /* between attempts to connect */

/* The member of that name that is an object; NULL where there is none. */
static JsonObject *chardev_member(JsonObject *object, const char *name)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

static const char *chardev_text(JsonObject *object, const char *name)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    return node && json_node_get_value_type(node) == G_TYPE_STRING ? json_node_get_string(node)
                                                                   : NULL;
}

/* {"id": ID, "backend": {"type": "socket", "data": {"addr": {"type": "unix",
 * "data": {"path": PATH}}, "server": false, "reconnect-ms": N}}} */
JsonNode *vmm_qmp_chardev_add(struct vmm_machine *machine, JsonObject *arguments, GError **error)
{
    JsonObject *backend = chardev_member(arguments, "backend");
    JsonObject *data = chardev_member(backend, "data"), *addr = chardev_member(data, "addr");
    const char *id = chardev_text(arguments, "id");
    const char *path = chardev_text(chardev_member(addr, "data"), "path");
    gint64 reconnect_ms, reconnect_s;
    struct vmm_chardev *chardev;

    if (!id || !*id || !path || !*path || g_strcmp0(chardev_text(backend, "type"), "socket") != 0)
        return vu_control_fail(error, "expected an id and a backend that is a unix socket");
    if (json_object_get_boolean_member_with_default(data, "server", TRUE))
        return vu_control_fail(error, "server: expected false: back-ends listen, and we connect");
    reconnect_ms = json_object_get_int_member_with_default(data, "reconnect-ms", 0);
    reconnect_s = json_object_get_int_member_with_default(data, "reconnect", 0);
    if (reconnect_ms < 0 || reconnect_ms > CHARDEV_MAX_S * 1000 || reconnect_s < 0 ||
        reconnect_s > CHARDEV_MAX_S)
        return vu_control_fail(error, "reconnect: expected 0 to %d seconds", CHARDEV_MAX_S);
    if (vmm_config_find_chardev(&machine->config, id))
        return vu_control_fail(error, "id: %s is another's", id);
    chardev = g_new0(struct vmm_chardev, 1);
    chardev->id = g_strdup(id);
    chardev->path = g_strdup(path);
    chardev->reconnect_ms = (unsigned)(reconnect_ms ? reconnect_ms : reconnect_s * 1000);
    g_ptr_array_add(machine->config.chardevs, chardev);
    return vu_control_nothing();
}

JsonNode *vmm_qmp_chardev_remove(struct vmm_machine *machine, JsonObject *arguments, GError **error)
{
    const char *id = json_object_get_string_member(arguments, "id");
    struct vmm_chardev *chardev = vmm_config_find_chardev(&machine->config, id);

    if (!chardev)
        return vu_control_fail(error, "there is no chardev %s", id);
    if (chardev->is_used)
        return vu_control_fail(error, "chardev %s is a device's", id);
    g_ptr_array_remove(machine->config.chardevs, chardev);
    return vu_control_nothing();
}
