/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of -device that are no devices of a back-end but their places: pxb-pcie, pcie-root-port. */
#include <string.h>

#include "vmm/cmdline.h"

#define MAX_SLOT 31

bool vmm_cmdline_parse_slot(const char *value, int *ret_slot, GError **error)
{
    char *end;
    guint64 slot = g_ascii_strtoull(value, &end, 16);

    if (!g_ascii_isxdigit(value[0]) ||
        (*end && strcmp(end, ".0") != 0 && strcmp(end, ".0x0") != 0) || slot > MAX_SLOT)
        return vmm_config_fail(error, "expected a slot, at most 1f, got \"%s\"", value);
    *ret_slot = (int)slot;
    return true;
}

/* --- pxb-pcie --- */

struct bridge_words {
    struct vmm_bridge_config bridge;
    char *bus;
};

static bool parse_bridge_address(void *target, const char *value, GError **error)
{
    struct bridge_words *words = target;

    return vmm_cmdline_parse_slot(value, &words->bridge.slot, error) &&
           (words->bridge.slot > 0 || vmm_config_fail(error, "slot 0 is the first bridge's"));
}

static const struct vmm_key bridge_keys[] = {
    {"id", VMM_KEY_STRING, offsetof(struct bridge_words, bridge.id), .metavar = "ID",
     .help = "its name, for bus= of devices"},
    {"bus_nr", VMM_KEY_UINT, offsetof(struct bridge_words, bridge.bus_nr), 1, 255, .metavar = "N",
     .help = "the number of its bus (one that is free)"},
    {"numa_node", VMM_KEY_INT, offsetof(struct bridge_words, bridge.numa_node), 0,
     VMM_MAX_NODES - 1, .metavar = "N", .help = "the node that its devices are near to"},
    {"addr", VMM_KEY_CALL, .parse = parse_bridge_address, .metavar = "SLOT",
     .help = "its slot on bus 0, in hexadecimal"},
    {"bus", VMM_KEY_STRING, offsetof(struct bridge_words, bus)},
};

static bool check_id(const struct vmm_config *config, const char *id, GError **error)
{
    if (!id || !*id)
        return vmm_config_fail(error, "id: must be given");
    if (strcmp(id, "pci.0") == 0)
        return vmm_config_fail(error, "id: %s is another's", id);
    for (unsigned i = 0; i < config->bridges->len; i++)
        if (g_strcmp0(vmm_config_bridge(config, i)->id, id) == 0)
            return vmm_config_fail(error, "id: %s is another's", id);
    for (unsigned i = 0; i < config->ports->len; i++)
        if (strcmp(((const struct vmm_port_config *)g_ptr_array_index(config->ports, i))->id, id) ==
            0)
            return vmm_config_fail(error, "id: %s is another's", id);
    return true;
}

static bool check_bridge(const struct vmm_config *config, const struct bridge_words *words,
                         GError **error)
{
    if (words->bus && strcmp(words->bus, "pcie.0") != 0)
        return vmm_config_fail(error, "bus: expected pcie.0");
    return check_id(config, words->bridge.id, error);
}

static bool parse_bridge(struct vmm_config *config, const char *text, GError **error)
{
    struct bridge_words words = {.bridge = {.numa_node = VMM_NO_NODE, .slot = -1}};
    bool is_good =
        vmm_keys_parse(bridge_keys, G_N_ELEMENTS(bridge_keys), NULL, text, &words, error) &&
        check_bridge(config, &words, error);
    struct vmm_bridge_config *bridge = g_new(struct vmm_bridge_config, 1);

    *bridge = words.bridge;
    g_free(words.bus);
    if (is_good)
        g_ptr_array_add(config->bridges, bridge);
    else
        vmm_bridge_config_free(bridge);
    return is_good;
}

/* --- pcie-root-port --- */

static const struct vmm_key port_keys[] = {
    {"id", VMM_KEY_STRING, offsetof(struct vmm_port_config, id), .metavar = "ID",
     .help = "its name, for bus= of a device"},
    {"bus", VMM_KEY_STRING, offsetof(struct vmm_port_config, bus), .metavar = "ID",
     .help = "the bridge that it is behind (pcie.0)"},
    {"addr", VMM_KEY_IGNORED},
    {"bus-reserve", VMM_KEY_IGNORED},
    {"chassis", VMM_KEY_IGNORED},
    {"hotplug", VMM_KEY_IGNORED},
    {"io-reserve", VMM_KEY_IGNORED},
    {"mem-reserve", VMM_KEY_IGNORED},
    {"multifunction", VMM_KEY_IGNORED},
    {"port", VMM_KEY_IGNORED},
    {"pref32-reserve", VMM_KEY_IGNORED},
    {"pref64-reserve", VMM_KEY_IGNORED},
    {"slot", VMM_KEY_IGNORED},
};

static bool parse_port(struct vmm_config *config, const char *text, GError **error)
{
    struct vmm_port_config *port = g_new0(struct vmm_port_config, 1);

    if (vmm_keys_parse(port_keys, G_N_ELEMENTS(port_keys), NULL, text, port, error) &&
        check_id(config, port->id, error)) {
        g_ptr_array_add(config->ports, port);
        return true;
    }
    vmm_port_config_free(port);
    return false;
}

static const struct {
    const char *name;
    bool (*parse)(struct vmm_config *config, const char *text, GError **error);
} place_kinds[] = {
    {"pxb-pcie", parse_bridge},
    {"pcie-root-port", parse_port},
    {"ioh3420", parse_port},
};

bool vmm_cmdline_parse_device_or_place(struct vmm_config *config, const char *value, GError **error)
{
    const char *rest;
    g_autofree char *name = vmm_keys_kind(value, &rest);

    for (size_t i = 0; i < G_N_ELEMENTS(place_kinds); i++)
        if (strcmp(place_kinds[i].name, name) == 0)
            return place_kinds[i].parse(config, rest, error);
    return vmm_cmdline_parse_device(config, value, error);
}

static const struct vmm_cmdline_option place_options[] = {
    {"device", "pxb-pcie,id=ID[,KEY=VALUE]...", bridge_keys, G_N_ELEMENTS(bridge_keys),
     vmm_cmdline_parse_device_or_place, "PCI",
     "One more PCI host bridge. A device with numa_node= and without bus= gets one by itself."},
    {"device", "pcie-root-port,id=ID[,bus=ID]", port_keys, G_N_ELEMENTS(port_keys),
     vmm_cmdline_parse_device_or_place, "PCI",
     "A name for a place on the bus of a bridge: the device behind it is on that bus itself."},
};

const struct vmm_cmdline_group vmm_cmdline_bridges = {
    place_options,
    G_N_ELEMENTS(place_options),
};
