/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices and their places: the host bridge that each is behind, which says the node that it is
 * near to.
 *
 *   bus=      that bridge, or the one that the port is behind
 *   numa_node=  a bridge near that node; at the start one is made where there is none
 *   neither     the first
 */
#include <assert.h>
#include <string.h>

#include "vmm/config.h"
#include "vmm/keyval.h"
#include "vmm/layout.h"

#define MADE_BUS_STEP 8 /* numbers of the buses of bridges that nobody has numbered */
/* A bus has more slots only where that is asked for: a guest takes long for each where its kernel
 * is emulated. Some are for what comes later. */
#define FEW_SLOTS   8
#define FEW_DEVICES 4

static_assert(MADE_BUS_STEP * VMM_MAX_BRIDGES <= 255, "a number for each");

const struct vmm_bridge_config *vmm_config_bridge(const struct vmm_config *config, unsigned index)
{
    return g_ptr_array_index(config->bridges, index);
}

/* --- finding --- */

static bool bridge_has_id(const struct vmm_bridge_config *bridge, const char *id)
{
    return bridge->id && strcmp(bridge->id, id) == 0;
}

/* Index, or -1. The first has the name that it has on QEMU's older board, too. */
static int devices_find_bridge(const struct vmm_config *config, const char *id)
{
    for (unsigned i = 0; i < config->bridges->len; i++)
        if (bridge_has_id(vmm_config_bridge(config, i), id))
            return (int)i;
    return strcmp(id, "pci.0") == 0 ? 0 : -1;
}

static int devices_find_bridge_near(const struct vmm_config *config, int node)
{
    for (unsigned i = 0; i < config->bridges->len; i++)
        if (vmm_config_bridge(config, i)->numa_node == node)
            return (int)i;
    return -1;
}

/* NULL: there is none. */
static struct vmm_port_config *devices_find_port(const struct vmm_config *config, const char *id)
{
    for (unsigned i = 0; id && i < config->ports->len; i++) {
        struct vmm_port_config *port = g_ptr_array_index(config->ports, i);

        if (strcmp(port->id, id) == 0)
            return port;
    }
    return NULL;
}

/* --- bridges and ports --- */

static bool bridges_have_number(const struct vmm_config *config, unsigned bus_nr)
{
    for (unsigned i = 0; i < config->bridges->len; i++)
        if (vmm_config_bridge(config, i)->bus_nr == bus_nr)
            return true;
    return false;
}

/* There are more of these numbers than bridges. */
static unsigned bridges_free_number(const struct vmm_config *config)
{
    unsigned bus_nr = MADE_BUS_STEP;

    while (bridges_have_number(config, bus_nr))
        bus_nr += MADE_BUS_STEP;
    return bus_nr;
}

/* A bridge for each node that a device is to be near to and none is. */
static void bridges_make(struct vmm_config *config)
{
    for (unsigned i = 0; i < config->devices->len; i++) {
        const struct vmm_device_config *device = g_ptr_array_index(config->devices, i);
        struct vmm_bridge_config *bridge;

        if (device->bus || device->numa_node == VMM_NO_NODE ||
            !config->nodes[device->numa_node].exists ||
            devices_find_bridge_near(config, device->numa_node) >= 0)
            continue;
        bridge = g_new(struct vmm_bridge_config, 1);
        *bridge = (struct vmm_bridge_config){.numa_node = device->numa_node, .slot = -1};
        g_ptr_array_add(config->bridges, bridge);
    }
}

static bool check_bridges(struct vmm_config *config, GError **error)
{
    for (unsigned i = 1; i < config->bridges->len; i++) {
        const struct vmm_bridge_config *bridge = vmm_config_bridge(config, i);

        if (bridge->numa_node != VMM_NO_NODE && !config->nodes[bridge->numa_node].exists)
            return vmm_config_fail(error, "-device pxb-pcie: numa_node: there is no node %d",
                                   bridge->numa_node);
        for (unsigned j = 1; bridge->bus_nr && j < i; j++)
            if (vmm_config_bridge(config, j)->bus_nr == bridge->bus_nr)
                return vmm_config_fail(error, "-device pxb-pcie: bus_nr: %u is another's",
                                       bridge->bus_nr);
    }
    bridges_make(config);
    if (config->bridges->len > VMM_MAX_BRIDGES)
        return vmm_config_fail(error, "-device: pxb-pcie and numa_node: %d nodes are the most",
                               VMM_MAX_BRIDGES - 1);
    for (unsigned i = 1; i < config->bridges->len; i++) {
        struct vmm_bridge_config *bridge = g_ptr_array_index(config->bridges, i);

        if (!bridge->bus_nr)
            bridge->bus_nr = bridges_free_number(config);
    }
    return true;
}

static bool check_ports(struct vmm_config *config, GError **error)
{
    for (unsigned i = 0; i < config->ports->len; i++) {
        struct vmm_port_config *port = g_ptr_array_index(config->ports, i);
        int bridge = port->bus ? devices_find_bridge(config, port->bus) : 0;

        if (bridge < 0)
            return vmm_config_fail(error, "-device pcie-root-port: bus: %s is no host bridge's",
                                   port->bus);
        port->bridge = (unsigned)bridge;
    }
    return true;
}

/* --- devices --- */

/* Its bridge. */
static bool device_find_place(const struct vmm_config *config, struct vmm_device_config *device,
                              GError **error)
{
    const struct vmm_port_config *port = devices_find_port(config, device->bus);
    int node = device->numa_node, bridge = 0;

    if (port)
        bridge = (int)port->bridge;
    else if (device->bus)
        bridge = devices_find_bridge(config, device->bus);
    else if (node != VMM_NO_NODE)
        bridge = devices_find_bridge_near(config, node);
    if (bridge < 0 && device->bus)
        return vmm_config_fail(
            error, "-device: bus: there is no -device pxb-pcie or pcie-root-port %s", device->bus);
    if (bridge < 0)
        return vmm_config_fail(error,
                               "-device: numa_node: no host bridge is near node %d (-device "
                               "pxb-pcie,id=ID,numa_node=%d makes one at the start)",
                               node, node);
    if (node != VMM_NO_NODE && vmm_config_bridge(config, (unsigned)bridge)->numa_node != node)
        return vmm_config_fail(error, "-device: numa_node: bus %s is not near node %d", device->bus,
                               node);
    device->bridge = (unsigned)bridge;
    return true;
}

static bool check_place(struct vmm_device_config *device, const struct vmm_port_config *port,
                        GError **error)
{
    if (port && port->is_used)
        return vmm_config_fail(error, "-device: bus: port %s has a device already", port->id);
    if (port && device->slot > 0)
        return vmm_config_fail(error, "-device: addr: behind a port there is 0 alone");
    if (port)
        device->slot = -1;
    if (!port && device->bridge == 0 && device->slot == 0)
        return vmm_config_fail(error, "-device: addr: slot 0 is the host bridge's");
    return true;
}

/* Once the places of all are known. */
static void bridges_count_slots(struct vmm_config *config)
{
    for (unsigned i = 1; i < config->bridges->len; i++) {
        struct vmm_bridge_config *bridge = g_ptr_array_index(config->bridges, i);
        unsigned n_devices = 0;
        int last = -1;

        for (unsigned j = 0; j < config->devices->len; j++) {
            const struct vmm_device_config *device = g_ptr_array_index(config->devices, j);

            if (device->bridge != i)
                continue;
            n_devices++;
            last = MAX(last, device->slot);
        }
        bridge->n_slots = n_devices > FEW_DEVICES || last >= FEW_SLOTS ? VMM_MAX_SLOTS : FEW_SLOTS;
    }
}

/* Whether one that comes earlier has it. */
static bool check_unlike_others(const struct vmm_config *config, unsigned index, GError **error)
{
    const struct vmm_device_config *device = g_ptr_array_index(config->devices, index);

    for (unsigned i = 0; i < index; i++) {
        const struct vmm_device_config *other = g_ptr_array_index(config->devices, i);

        if (device->slot >= 0 && other->slot == device->slot && other->bridge == device->bridge)
            return vmm_config_fail(error, "-device: addr: slot %x is taken",
                                   (unsigned)device->slot);
        if (device->id && other->id && strcmp(other->id, device->id) == 0)
            return vmm_config_fail(error, "-device: id: %s is another device's", device->id);
    }
    return true;
}

bool vmm_config_check_device(struct vmm_config *config, unsigned index, GError **error)
{
    struct vmm_device_config *device = g_ptr_array_index(config->devices, index);
    struct vmm_chardev *chardev = vmm_config_find_chardev(config, device->chardev);
    struct vmm_port_config *port = devices_find_port(config, device->bus);

    if (!chardev)
        return vmm_config_fail(error, "-device: chardev: there is no -chardev %s", device->chardev);
    if (chardev->is_used)
        return vmm_config_fail(error, "-device: chardev: %s is another device's already",
                               device->chardev);
    if (device->numa_node != VMM_NO_NODE && !config->nodes[device->numa_node].exists)
        return vmm_config_fail(error, "-device: numa_node: there is no node %d", device->numa_node);
    if (!device_find_place(config, device, error) || !check_place(device, port, error) ||
        !check_unlike_others(config, index, error))
        return false;
    chardev->is_used = true;
    if (port)
        port->is_used = true;
    return true;
}

void vmm_config_remove_device(struct vmm_config *config, const struct vmm_device_config *device)
{
    struct vmm_port_config *port = devices_find_port(config, device->bus);

    vmm_config_find_chardev(config, device->chardev)->is_used = false;
    if (port)
        port->is_used = false;
    g_ptr_array_remove(config->devices, (gpointer)(uintptr_t)device);
}

bool vmm_config_check_devices(struct vmm_config *config, GError **error)
{
    struct vmm_bridge_config *first = g_ptr_array_index(config->bridges, 0);

    if (config->devices->len > VMM_MAX_DEVICES)
        return vmm_config_fail(error, "-device: %d are the most", VMM_MAX_DEVICES);
    if (config->n_nodes == 1)
        first->numa_node = 0;
    if (!check_bridges(config, error) || !check_ports(config, error))
        return false;
    for (unsigned i = 0; i < config->devices->len; i++)
        if (!vmm_config_check_device(config, i, error))
            return false;
    bridges_count_slots(config);
    return true;
}
