/* SPDX-License-Identifier: Apache-2.0 */
/* The described machine as plain data: its defaults, its end, and finding things in it. */
#include "vmm/config.h"

#include <string.h>

void vmm_memdev_free(struct vmm_memdev *memdev)
{
    g_free(memdev->id);
    g_free(memdev->mem_path);
    g_free(memdev);
}

void vmm_chardev_free(struct vmm_chardev *chardev)
{
    g_free(chardev->id);
    g_free(chardev->path);
    g_free(chardev);
}

void vmm_bridge_config_free(struct vmm_bridge_config *bridge)
{
    g_free(bridge->id);
    g_free(bridge);
}

void vmm_port_config_free(struct vmm_port_config *port)
{
    g_free(port->id);
    g_free(port->bus);
    g_free(port);
}

void vmm_device_config_free(struct vmm_device_config *device)
{
    g_free(device->id);
    g_free(device->bus);
    g_free(device->chardev);
    g_free(device->tag);
    g_free(device);
}

void vmm_config_init(struct vmm_config *config)
{
    struct vmm_bridge_config *first = g_new(struct vmm_bridge_config, 1);

    memset(config, 0, sizeof(*config));
    config->smp = (struct vmm_topology){1, 1, 1, 1, 1};
    config->cpu_features = g_ptr_array_new_with_free_func(g_free);
    config->memdevs = g_ptr_array_new_with_free_func((GDestroyNotify)vmm_memdev_free);
    config->cpu_places = g_array_new(FALSE, FALSE, sizeof(struct vmm_cpu_place));
    config->hmat_lb = g_array_new(FALSE, FALSE, sizeof(struct vmm_hmat_lb));
    config->hmat_caches = g_array_new(FALSE, FALSE, sizeof(struct vmm_hmat_cache));
    config->chardevs = g_ptr_array_new_with_free_func((GDestroyNotify)vmm_chardev_free);
    config->bridges = g_ptr_array_new_with_free_func((GDestroyNotify)vmm_bridge_config_free);
    *first = (struct vmm_bridge_config){g_strdup("pcie.0"), 0, VMM_NO_NODE, 0, VMM_MAX_SLOTS};
    g_ptr_array_add(config->bridges, first);
    config->ports = g_ptr_array_new_with_free_func((GDestroyNotify)vmm_port_config_free);
    config->devices = g_ptr_array_new_with_free_func((GDestroyNotify)vmm_device_config_free);
    config->serial.kind = VMM_SERIAL_STDIO;
    for (unsigned i = 0; i < VMM_MAX_CPUS; i++)
        config->affinity[i] = -1;
}

void vmm_config_clear(struct vmm_config *config)
{
    g_free(config->name);
    g_free(config->process_name);
    g_free(config->memory_backend);
    g_ptr_array_unref(config->cpu_features);
    g_free(config->kernel);
    g_free(config->initrd);
    g_free(config->append);
    g_ptr_array_unref(config->memdevs);
    for (unsigned i = 0; i < VMM_MAX_NODES; i++)
        g_free(config->nodes[i].memdev);
    g_array_unref(config->cpu_places);
    g_array_unref(config->hmat_lb);
    g_array_unref(config->hmat_caches);
    g_ptr_array_unref(config->chardevs);
    g_ptr_array_unref(config->bridges);
    g_ptr_array_unref(config->ports);
    g_ptr_array_unref(config->devices);
    g_free(config->serial.path);
    g_free(config->qmp_path);
    g_free(config->pidfile);
    memset(config, 0, sizeof(*config));
}

struct vmm_memdev *vmm_config_find_memdev(const struct vmm_config *config, const char *id)
{
    for (unsigned i = 0; i < config->memdevs->len; i++) {
        struct vmm_memdev *memdev = g_ptr_array_index(config->memdevs, i);

        if (strcmp(memdev->id, id) == 0)
            return memdev;
    }
    return NULL;
}

struct vmm_chardev *vmm_config_find_chardev(const struct vmm_config *config, const char *id)
{
    for (unsigned i = 0; i < config->chardevs->len; i++) {
        struct vmm_chardev *chardev = g_ptr_array_index(config->chardevs, i);

        if (strcmp(chardev->id, id) == 0)
            return chardev;
    }
    return NULL;
}

unsigned vmm_config_cpu_node(const struct vmm_config *config, unsigned cpu)
{
    for (unsigned node = 0; node < config->n_nodes; node++)
        if (config->nodes[node].cpus[cpu / 64] >> (cpu % 64) & 1)
            return node;
    return 0;
}
