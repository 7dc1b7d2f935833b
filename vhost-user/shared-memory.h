/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that a front-end shares with its back-end: files mapped here and placed at guest-physical
 * addresses. A VMM puts its guest's RAM there; the host mount, the benchmark and the tests make
 * memfds of their own and carve rings and buffers out of them.
 *
 * Filled before it is shared, by one thread; afterwards any thread may translate. Two regions may
 * be neighbours in guest addresses (NUMA nodes side by side) without being neighbours here.
 */
#pragma once

#include <stdint.h>

#include "vhost-user/proto.h"

#define VU_SHMEM_MAX_REGIONS 64

struct vu_shmem_region {
    uint64_t gpa; /* guest address of the first byte */
    uint64_t len; /* bytes */
    uint8_t *hva; /* where it is mapped here, which is also the user address told to the back-end */
    int fd;       /* owned */
    uint64_t fd_offset; /* of the first byte */
    uint64_t n_taken;   /* bytes handed out by vu_shmem_alloc, from the beginning */
};

struct vu_shmem {
    unsigned n_regions;
    struct vu_shmem_region regions[VU_SHMEM_MAX_REGIONS];
};

/* No region yet. */
void vu_shmem_init(struct vu_shmem *shmem);
/* Unmaps and closes everything. Idempotent. */
void vu_shmem_clear(struct vu_shmem *shmem);

/*
 * Adds a new zeroed memfd of len bytes at gpa, sealed against shrinking. Both are multiples of the
 * page size. -EINVAL: they are not, or the range is empty, wraps or overlaps another region;
 * -ENOSPC: all regions are taken; -errno of memfd_create, ftruncate or mmap.
 */
int vu_shmem_add(struct vu_shmem *shmem, uint64_t gpa, uint64_t len);

/* The same with a part of a file of the caller's; takes over fd on success only. */
int vu_shmem_add_fd(struct vu_shmem *shmem, uint64_t gpa, uint64_t len, int fd, uint64_t fd_offset);

/* Removes the region that begins at gpa; nothing may use it any more. -ENOENT. */
int vu_shmem_remove(struct vu_shmem *shmem, uint64_t gpa);

/*
 * Takes len bytes, aligned to align (a power of two, at most the page size), out of the first
 * region that has room. The memory is zero and stays taken. Returns the host address, NULL when no
 * region has room; *ret_gpa is the guest address.
 */
void *vu_shmem_alloc(struct vu_shmem *shmem, uint64_t len, uint64_t align, uint64_t *ret_gpa);

/* Host address of [gpa, gpa + len), NULL unless it lies in one region. */
void *vu_shmem_at(const struct vu_shmem *shmem, uint64_t gpa, uint64_t len);

/* Guest address of a host pointer into a region, UINT64_MAX where it points into none. */
uint64_t vu_shmem_gpa(const struct vu_shmem *shmem, const void *hva);

/* The region as a message describes it. */
struct vu_region_desc vu_shmem_describe(const struct vu_shmem_region *region);
