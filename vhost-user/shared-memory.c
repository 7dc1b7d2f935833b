/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared memory of a front-end: memfds, their mappings, a bump allocator and the translations.
 * Runs on whatever thread calls it; see shared-memory.h.
 */
#include "vhost-user/shared-memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"

void vu_shmem_init(struct vu_shmem *shmem)
{
    shmem->n_regions = 0;
}

static void shmem_region_clear(struct vu_shmem_region *region)
{
    munmap(region->hva, region->len);
    vu_clear_fd(&region->fd);
}

void vu_shmem_clear(struct vu_shmem *shmem)
{
    while (shmem->n_regions > 0)
        shmem_region_clear(&shmem->regions[--shmem->n_regions]);
}

static int shmem_check_range(const struct vu_shmem *shmem, uint64_t gpa, uint64_t len,
                             uint64_t fd_offset)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t end;

    if (len == 0 || (gpa | len | fd_offset) % page != 0 || __builtin_add_overflow(gpa, len, &end))
        return -EINVAL;
    for (unsigned i = 0; i < shmem->n_regions; i++) {
        const struct vu_shmem_region *other = &shmem->regions[i];

        if (gpa < other->gpa + other->len && other->gpa < end)
            return -EINVAL;
    }
    return shmem->n_regions < VU_SHMEM_MAX_REGIONS ? 0 : -ENOSPC;
}

int vu_shmem_add_fd(struct vu_shmem *shmem, uint64_t gpa, uint64_t len, int fd, uint64_t fd_offset)
{
    void *hva;
    int rc = shmem_check_range(shmem, gpa, len, fd_offset);

    if (rc < 0)
        return rc;
    hva = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)fd_offset);
    if (hva == MAP_FAILED)
        return -errno;
    shmem->regions[shmem->n_regions++] = (struct vu_shmem_region){
        .gpa = gpa,
        .len = len,
        .hva = hva,
        .fd = fd,
        .fd_offset = fd_offset,
    };
    return 0;
}

int vu_shmem_add(struct vu_shmem *shmem, uint64_t gpa, uint64_t len)
{
    vu_autofd int fd = -1;
    int rc = shmem_check_range(shmem, gpa, len, 0);

    if (rc < 0)
        return rc;
    fd = memfd_create("vhost-user-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)len) < 0)
        return -errno;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        return -errno;
    rc = vu_shmem_add_fd(shmem, gpa, len, fd, 0);
    if (rc == 0)
        vu_steal_fd(&fd);
    return rc;
}

int vu_shmem_remove(struct vu_shmem *shmem, uint64_t gpa)
{
    for (unsigned i = 0; i < shmem->n_regions; i++) {
        if (shmem->regions[i].gpa != gpa)
            continue;
        shmem_region_clear(&shmem->regions[i]);
        shmem->n_regions--;
        memmove(&shmem->regions[i], &shmem->regions[i + 1],
                (shmem->n_regions - i) * sizeof(shmem->regions[0]));
        return 0;
    }
    return -ENOENT;
}

void *vu_shmem_alloc(struct vu_shmem *shmem, uint64_t len, uint64_t align, uint64_t *ret_gpa)
{
    for (unsigned i = 0; i < shmem->n_regions; i++) {
        struct vu_shmem_region *region = &shmem->regions[i];
        uint64_t start = (region->n_taken + align - 1) & ~(align - 1);

        if (start > region->len || len > region->len - start)
            continue;
        region->n_taken = start + len;
        *ret_gpa = region->gpa + start;
        return region->hva + start;
    }
    return NULL;
}

void *vu_shmem_at(const struct vu_shmem *shmem, uint64_t gpa, uint64_t len)
{
    for (unsigned i = 0; i < shmem->n_regions; i++) {
        const struct vu_shmem_region *region = &shmem->regions[i];
        uint64_t offset = gpa - region->gpa;

        if (gpa >= region->gpa && offset < region->len && len <= region->len - offset)
            return region->hva + offset;
    }
    return NULL;
}

uint64_t vu_shmem_gpa(const struct vu_shmem *shmem, const void *hva)
{
    for (unsigned i = 0; i < shmem->n_regions; i++) {
        const struct vu_shmem_region *region = &shmem->regions[i];
        uintptr_t offset = (uintptr_t)hva - (uintptr_t)region->hva;

        if ((uintptr_t)hva >= (uintptr_t)region->hva && offset < region->len)
            return region->gpa + offset;
    }
    return UINT64_MAX;
}

struct vu_region_desc vu_shmem_describe(const struct vu_shmem_region *region)
{
    return (struct vu_region_desc){
        .gpa = region->gpa,
        .size = region->len,
        .uva = (uintptr_t)region->hva,
        .mmap_offset = region->fd_offset,
    };
}
