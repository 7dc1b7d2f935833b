/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's memory as one front-end shares it: an immutable, reference-counted map of regions.
 *
 * A change of memory makes a new map that shares the untouched regions with the old one. Rings hold
 * a reference to the map they run on, and every request in flight holds one of its own, so memory
 * that a front-end takes away stays mapped until the last request that points into it is done.
 *
 * Maps are made by the session thread and read by every thread; vu_memory_ref/unref may be called
 * anywhere. vhost-user: "Memory region description", "Multiple memory regions description".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vhost-user/proto.h"

/* CONFIGURE_MEM_SLOTS: as many as KVM gives a guest on x86. */
#define VU_MEMORY_MAX_REGIONS 509

struct vu_region {
    uint64_t gpa;       /* guest physical address of the first byte */
    uint64_t size;      /* bytes */
    uint64_t uva;       /* the front-end's user address of the first byte */
    uint64_t fd_offset; /* of the first byte in the file that was shared */
    uint8_t *hva;       /* where it is mapped here */
    uint8_t *map_addr;  /* the mapping, which may begin before hva to keep page alignment */
    size_t map_len;
    unsigned refs; /* atomic; maps that hold this region */
    bool faulted;  /* atomic; the file was truncated under us and SIGBUS was contained */
};

struct vu_memory {
    unsigned refs; /* atomic */
    unsigned n_regions;
    struct vu_region *regions[]; /* sorted by gpa, never overlapping */
};

/*
 * Makes a map from the regions of one SET_MEM_TABLE. Maps every file MAP_SHARED, read-write.
 *
 * descs: n_regions descriptions in host byte order; fds: as many descriptors, which stay the
 * caller's. Returns 0 and a map of one reference in *ret_memory, or -EINVAL  a region is empty,
 * wraps, overlaps another (guest or user addresses), exceeds its file, or its offset and addresses
 * are not aligned alike to the file's page size; -E2BIG   more than VU_MEMORY_MAX_REGIONS; -errno
 * of fstat or mmap. Nothing stays mapped on failure.
 */
int vu_memory_create(const struct vu_region_desc *descs, const int *fds, unsigned n_regions,
                     struct vu_memory **ret_memory);

/*
 * The map `memory` (NULL: none yet) with one region more (ADD_MEM_REG). `memory` itself is
 * unchanged. Errors as vu_memory_create; -ENOSPC when all slots are used.
 */
int vu_memory_create_added(const struct vu_memory *memory, const struct vu_region_desc *desc,
                           int fd, struct vu_memory **ret_memory);

/*
 * The map without the region whose guest address, user address and size equal those of desc
 * (REM_MEM_REG). -ENOENT where there is none.
 */
int vu_memory_create_removed(const struct vu_memory *memory, const struct vu_region_desc *desc,
                             struct vu_memory **ret_memory);

/* Another reference; returns memory. */
struct vu_memory *vu_memory_ref(struct vu_memory *memory);
/* NULL is allowed. The last reference unmaps the regions that no other map holds. */
void vu_memory_unref(struct vu_memory *memory);

/*
 * Translates the guest-physical range [gpa, gpa + len) into host ranges, one for each region it
 * touches.
 *
 * Appends at most max entries to iov. Returns how many (0 when len is 0), -EFAULT when a byte lies
 * in no region or the range wraps, -E2BIG when max is too small; iov is then undefined.
 */
int vu_memory_translate(const struct vu_memory *memory, uint64_t gpa, uint64_t len,
                        struct iovec *iov, unsigned max);

/*
 * Host address of the user-address range [uva, uva + len), which must lie in one region (rings are
 * given in the front-end's user addresses). NULL where it does not, or where it wraps.
 * *ret_gpa (optional) is the guest address of the first byte, for the dirty log.
 */
void *vu_memory_translate_user(const struct vu_memory *memory, uint64_t uva, uint64_t len,
                               uint64_t *ret_gpa);

/* Guest address of a host pointer into the map; UINT64_MAX where it points into no region. */
uint64_t vu_memory_host_to_gpa(const struct vu_memory *memory, const void *hva);

/* True once a fault was contained in any region of this map: the device it belongs to must stop. */
bool vu_memory_faulted(const struct vu_memory *memory);
