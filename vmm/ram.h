/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's RAM: a sealed memfd (or hugetlbfs file) for each NUMA node, bound to host nodes
 * before it is touched, mapped here, and laid out in guest addresses from 0 on, node by node, round
 * the PCI hole (layout.h). One who straddles the hole becomes two regions of one file.
 *
 * Made by the main thread before anything runs; constant afterwards, but for is_zero. The struct
 * vu_shmem is what back-ends are given.
 */
#pragma once

#include <glib.h>

#include "vhost-user/shared-memory.h"
#include "vmm/config.h"

struct vmm_ram_range {
    uint64_t gpa, len;
    unsigned node;
};

struct vmm_ram {
    struct vu_shmem shmem;
    unsigned n_ranges; /* as many as regions of shmem, and in the same order */
    struct vmm_ram_range ranges[VU_SHMEM_MAX_REGIONS];
    uint64_t high_end; /* first address above all RAM and above 4 GiB */
    bool is_zero;      /* main thread's: nothing but what is being loaded has been written yet */
};

/* False with *error, which names the memdev: no huge pages, a host node that does not exist, ... */
bool vmm_ram_create(struct vmm_ram *ram, const struct vmm_config *config, GError **error);
void vmm_ram_destroy(struct vmm_ram *ram);

/* Host address of [gpa, gpa + len), NULL unless all of it is RAM of one region. */
void *vmm_ram_at(const struct vmm_ram *ram, uint64_t gpa, uint64_t len);
/* Zeroes what lies at hva, without touching pages that are zero anyway. */
void vmm_ram_clear(const struct vmm_ram *ram, void *hva, uint64_t len);
