/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses looked up in a map of guest memory. Any thread that holds a reference to the map; no
 * locks, no allocation: this is on the way of every descriptor.
 */
#include <errno.h>

#include "vhost-user/memory-fault.h"
#include "vhost-user/memory.h"

/* Index of the last region that begins at or below gpa, or -1. */
static int translate_find(const struct vu_memory *memory, uint64_t gpa)
{
    int low = 0, high = (int)memory->n_regions - 1;

    while (low <= high) {
        int middle = (low + high) / 2;

        if (memory->regions[middle]->gpa <= gpa)
            low = middle + 1;
        else
            high = middle - 1;
    }
    return high;
}

int vu_memory_translate(const struct vu_memory *memory, uint64_t gpa, uint64_t len,
                        struct iovec *iov, unsigned max)
{
    unsigned n = 0;
    unsigned i;
    int first;

    if (len == 0)
        return 0;
    first = translate_find(memory, gpa);
    if (first < 0)
        return -EFAULT;
    for (i = (unsigned)first; len > 0; i++, n++) {
        const struct vu_region *region;
        uint64_t offset, part;

        if (i >= memory->n_regions)
            return -EFAULT;
        region = memory->regions[i];
        if (gpa < region->gpa || gpa - region->gpa >= region->size)
            return -EFAULT;
        if (n >= max)
            return -E2BIG;
        offset = gpa - region->gpa;
        part = region->size - offset < len ? region->size - offset : len;
        iov[n] = (struct iovec){.iov_base = region->hva + offset, .iov_len = part};
        /* No overflow: gpa + part is at most the end of the region, which does not wrap. */
        gpa += part;
        len -= part;
    }
    return (int)n;
}

void *vu_memory_translate_user(const struct vu_memory *memory, uint64_t uva, uint64_t len,
                               uint64_t *ret_gpa)
{
    for (unsigned i = 0; i < memory->n_regions; i++) {
        const struct vu_region *region = memory->regions[i];
        uint64_t offset = uva - region->uva;

        if (uva < region->uva || offset >= region->size)
            continue;
        if (len > region->size - offset)
            return NULL;
        if (ret_gpa)
            *ret_gpa = region->gpa + offset;
        return region->hva + offset;
    }
    return NULL;
}

uint64_t vu_memory_host_to_gpa(const struct vu_memory *memory, const void *hva)
{
    for (unsigned i = 0; i < memory->n_regions; i++) {
        const struct vu_region *region = memory->regions[i];
        uintptr_t start = (uintptr_t)region->hva, at = (uintptr_t)hva;

        if (at >= start && at - start < region->size)
            return region->gpa + (at - start);
    }
    return UINT64_MAX;
}

bool vu_memory_faulted(const struct vu_memory *memory)
{
    if (!vu_memory_fault_happened())
        return false;
    for (unsigned i = 0; i < memory->n_regions; i++) {
        if (__atomic_load_n(&memory->regions[i]->faulted, __ATOMIC_ACQUIRE))
            return true;
    }
    return false;
}
