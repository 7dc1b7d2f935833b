/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's RAM, from the nodes' memory backends to ranges of guest addresses; see ram.h. */
#include "vmm/ram.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vmm/layout.h"
#include "vmm/ram-file.h"

/* Places one stretch of a node's file, and says where its pages come from. */
static bool ram_add_range(struct vmm_ram *ram, const struct vmm_memdev *memdev, int fd,
                          uint64_t fd_offset, const struct vmm_ram_range *range, GError **error)
{
    vu_autofd int own = dup(fd);
    const struct vu_shmem_region *region;
    int rc =
        own < 0 ? -errno : vu_shmem_add_fd(&ram->shmem, range->gpa, range->len, own, fd_offset);

    if (rc < 0) {
        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-rc),
                    "memory backend %s: cannot map it at guest address 0x%" G_GINT64_MODIFIER
                    "x: %s",
                    memdev->id, range->gpa, g_strerror(-rc));
        return false;
    }
    vu_steal_fd(&own);
    ram->ranges[ram->n_ranges++] = *range;
    region = &ram->shmem.regions[ram->shmem.n_regions - 1];
    return vmm_ram_file_bind(memdev, region->hva, region->len, error) &&
           (!memdev->prealloc || vmm_ram_file_populate(memdev, region->hva, region->len, error));
}

/* Gives a node its addresses from *gpa on, leaving out the hole. */
static bool ram_add_node(struct vmm_ram *ram, const struct vmm_memdev *memdev, unsigned node,
                         uint64_t *gpa, GError **error)
{
    vu_autofd int fd = vmm_ram_file_create(memdev, error);
    uint64_t placed = 0;

    if (fd < 0)
        return false;
    while (placed < memdev->size) {
        struct vmm_ram_range range = {.node = node};

        if (*gpa >= VMM_LOW_RAM_END && *gpa < VMM_HIGH_RAM)
            *gpa = VMM_HIGH_RAM;
        range.gpa = *gpa;
        range.len = memdev->size - placed;
        if (*gpa < VMM_LOW_RAM_END)
            range.len = MIN(range.len, VMM_LOW_RAM_END - *gpa);
        if (!ram_add_range(ram, memdev, fd, placed, &range, error))
            return false;
        placed += range.len;
        *gpa += range.len;
    }
    return true;
}

bool vmm_ram_create(struct vmm_ram *ram, const struct vmm_config *config, GError **error)
{
    uint64_t gpa = 0;

    *ram = (struct vmm_ram){.is_zero = true};
    vu_shmem_init(&ram->shmem);
    for (unsigned node = 0; node < config->n_nodes; node++) {
        const struct vmm_memdev *memdev;

        if (!config->nodes[node].exists || !config->nodes[node].memdev)
            continue;
        memdev = vmm_config_find_memdev(config, config->nodes[node].memdev);
        ram->is_zero = ram->is_zero && !memdev->mem_path; /* a file may be somebody's */
        if (!ram_add_node(ram, memdev, node, &gpa, error)) {
            vmm_ram_destroy(ram);
            return false;
        }
    }
    ram->high_end = MAX(gpa, VMM_HIGH_RAM);
    return true;
}

void vmm_ram_destroy(struct vmm_ram *ram)
{
    vu_shmem_clear(&ram->shmem);
    ram->n_ranges = 0;
}

void *vmm_ram_at(const struct vmm_ram *ram, uint64_t gpa, uint64_t len)
{
    return vu_shmem_at(&ram->shmem, gpa, len);
}

void vmm_ram_clear(const struct vmm_ram *ram, void *hva, uint64_t len)
{
    if (!ram->is_zero)
        memset(hva, 0, len);
}
