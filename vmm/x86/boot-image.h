/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that is loaded into the guest, or a part of one that was unpacked here; read piece by
 * piece straight into the guest's RAM, which may lie in several regions.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/ram.h"

struct vmm_image {
    const char *option; /* for messages: "-kernel", "-initrd" */
    const char *path;   /* not owned */
    int fd;             /* -1: bytes are here */
    uint8_t *bytes;     /* mapped; NULL: they are in fd */
    uint64_t len;
};

/* False with *error: it cannot be opened, or is no ordinary file. */
bool vmm_image_open(struct vmm_image *image, const char *option, const char *path, GError **error);
/* Looks how long the file is now. False with *error. */
bool vmm_image_measure(struct vmm_image *image, GError **error);
/* Holds len bytes of memory, to be filled. -ENOMEM. */
int vmm_image_alloc(struct vmm_image *image, uint64_t len);
/* Once is enough; more often does no harm. */
void vmm_image_close(struct vmm_image *image);

/* All of [offset, offset + len), or -EINVAL where the image ends before, or -errno. */
int vmm_image_read(const struct vmm_image *image, uint64_t offset, void *buf, uint64_t len);
/* The same into guest RAM, then zeros up to mem_len. -EFAULT: not all of that is RAM. */
int vmm_image_load(const struct vmm_image *image, uint64_t offset, uint64_t len,
                   const struct vmm_ram *ram, uint64_t gpa, uint64_t mem_len);

/* Whether all of [gpa, gpa + len) is RAM, of whichever regions. */
bool vmm_image_fits(const struct vmm_ram *ram, uint64_t gpa, uint64_t len);

/* Always false; *error is "OPTION PATH: MESSAGE". */
bool vmm_image_fail(const struct vmm_image *image, GError **error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
