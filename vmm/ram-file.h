/* SPDX-License-Identifier: Apache-2.0 */
/* The file behind one memory backend: made, sized, sealed; placed on host nodes; filled. */
#pragma once

#include <glib.h>
#include <stdint.h>

#include "vmm/config.h"

/* A descriptor of memdev->size bytes, nothing of it touched yet. -1 with *error. */
int vmm_ram_file_create(const struct vmm_memdev *memdev, GError **error);

/* Says where the pages of a mapping come from, before any is touched. False with *error. */
bool vmm_ram_file_bind(const struct vmm_memdev *memdev, void *address, uint64_t len,
                       GError **error);

/* Brings all pages of a mapping in, with several threads. False with *error. */
bool vmm_ram_file_populate(const struct vmm_memdev *memdev, void *address, uint64_t len,
                           GError **error);
