/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps of guest memory: made, changed by making another, and released. Every number of a region is
 * the peer's and is checked here, once, before anything is mapped. Session thread, except ref and
 * unref. Looking addresses up in a map is memory-translate.c.
 */
#include "vhost-user/memory.h"

#include <errno.h>
#include <glib.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vhost-user/memory-fault.h"

static bool memory_ranges_overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b + b_size && b < a + a_size;
}

/* The unit in which a file can be mapped: a huge page on hugetlbfs, else a page. */
static int memory_file_page_size(int fd, uint64_t *ret_page_size)
{
    struct statfs fs;

    *ret_page_size = (uint64_t)sysconf(_SC_PAGESIZE);
    if (fstatfs(fd, &fs) < 0)
        return -errno;
    if (fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize > (long)*ret_page_size)
        *ret_page_size = (uint64_t)fs.f_bsize;
    return 0;
}

/* Checks of one description alone. Afterwards no sum of its fields overflows. */
static int memory_check_desc(const struct vu_region_desc *desc, int fd)
{
    uint64_t page_mask = (uint64_t)sysconf(_SC_PAGESIZE) - 1;
    struct stat st;
    uint64_t end;

    if (desc->size == 0 || desc->size > INT64_MAX)
        return -EINVAL;
    if (__builtin_add_overflow(desc->gpa, desc->size, &end) ||
        __builtin_add_overflow(desc->uva, desc->size, &end) ||
        __builtin_add_overflow(desc->mmap_offset, desc->size, &end))
        return -EINVAL;
    /* One and the same offset into a page, or rings would lie misaligned in our mapping. */
    if (((desc->gpa ^ desc->uva) | (desc->gpa ^ desc->mmap_offset)) & page_mask)
        return -EINVAL;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || end > (uint64_t)st.st_size)
        return -EINVAL;
    return 0;
}

static void memory_region_unref(struct vu_region *region)
{
    if (__atomic_sub_fetch(&region->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    vu_memory_fault_unwatch(region->map_addr);
    munmap(region->map_addr, region->map_len);
    g_free(region);
}

static int memory_region_create(const struct vu_region_desc *desc, int fd,
                                struct vu_region **ret_region)
{
    g_autofree struct vu_region *region = NULL;
    uint64_t page_size = 0, map_offset, skipped;
    void *addr;
    int r;

    r = memory_check_desc(desc, fd);
    if (r == 0)
        r = memory_file_page_size(fd, &page_size);
    if (r < 0)
        return r;
    map_offset = desc->mmap_offset & ~(page_size - 1);
    skipped = desc->mmap_offset - map_offset;
    if (desc->size > INT64_MAX - 2 * page_size)
        return -EINVAL;

    region = g_new0(struct vu_region, 1);
    region->gpa = desc->gpa;
    region->size = desc->size;
    region->uva = desc->uva;
    region->fd_offset = desc->mmap_offset;
    region->refs = 1;
    region->map_len = (skipped + desc->size + page_size - 1) & ~(page_size - 1);
    addr = mmap(NULL, region->map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
                (off_t)map_offset);
    if (addr == MAP_FAILED)
        return -errno;
    madvise(addr, region->map_len, MADV_DONTDUMP); /* a guest's secrets do not belong into a core */
    region->map_addr = addr;
    region->hva = region->map_addr + skipped;
    r = vu_memory_fault_watch(addr, region->map_len, &region->faulted);
    if (r < 0) {
        munmap(addr, region->map_len);
        return r;
    }
    *ret_region = g_steal_pointer(&region);
    return 0;
}

static struct vu_memory *memory_alloc(unsigned max_regions)
{
    struct vu_memory *memory =
        g_malloc0(sizeof(*memory) + max_regions * sizeof(memory->regions[0]));

    memory->refs = 1;
    return memory;
}

/* Puts region, whose reference the map takes over, where it belongs in the order of gpa. -EINVAL
 * where it overlaps another; the reference is then still the caller's. */
static int memory_insert(struct vu_memory *memory, struct vu_region *region)
{
    unsigned at = 0;

    for (unsigned i = 0; i < memory->n_regions; i++) {
        const struct vu_region *other = memory->regions[i];

        if (memory_ranges_overlap(other->gpa, other->size, region->gpa, region->size) ||
            memory_ranges_overlap(other->uva, other->size, region->uva, region->size))
            return -EINVAL;
        if (other->gpa < region->gpa)
            at = i + 1;
    }
    memmove(&memory->regions[at + 1], &memory->regions[at],
            (memory->n_regions - at) * sizeof(memory->regions[0]));
    memory->regions[at] = region;
    memory->n_regions++;
    return 0;
}

static int memory_map_into(struct vu_memory *memory, const struct vu_region_desc *desc, int fd)
{
    struct vu_region *region = NULL;
    int r = memory_region_create(desc, fd, &region);

    if (r < 0)
        return r;
    r = memory_insert(memory, region);
    if (r < 0)
        memory_region_unref(region);
    return r;
}

int vu_memory_create(const struct vu_region_desc *descs, const int *fds, unsigned n_regions,
                     struct vu_memory **ret_memory)
{
    struct vu_memory *memory;
    int r = vu_memory_fault_install();

    if (r < 0)
        return r;
    if (n_regions > VU_MEMORY_MAX_REGIONS)
        return -E2BIG;
    memory = memory_alloc(n_regions);
    for (unsigned i = 0; i < n_regions; i++) {
        r = memory_map_into(memory, &descs[i], fds[i]);
        if (r < 0) {
            vu_memory_unref(memory);
            return r;
        }
    }
    *ret_memory = memory;
    return 0;
}

/* A map of the same regions, with room for n_extra more, without region `left_out` (NULL: none). */
static struct vu_memory *memory_copy(const struct vu_memory *memory, unsigned n_extra,
                                     const struct vu_region *left_out)
{
    unsigned n = memory ? memory->n_regions : 0;
    struct vu_memory *copy = memory_alloc(n + n_extra);

    for (unsigned i = 0; i < n; i++) {
        struct vu_region *region = memory->regions[i];

        if (region == left_out)
            continue;
        __atomic_add_fetch(&region->refs, 1, __ATOMIC_RELAXED);
        copy->regions[copy->n_regions++] = region;
    }
    return copy;
}

int vu_memory_create_added(const struct vu_memory *memory, const struct vu_region_desc *desc,
                           int fd, struct vu_memory **ret_memory)
{
    struct vu_memory *added;
    int r = vu_memory_fault_install();

    if (r < 0)
        return r;
    if (memory && memory->n_regions >= VU_MEMORY_MAX_REGIONS)
        return -ENOSPC;
    added = memory_copy(memory, 1, NULL);
    r = memory_map_into(added, desc, fd);
    if (r < 0) {
        vu_memory_unref(added);
        return r;
    }
    *ret_memory = added;
    return 0;
}

int vu_memory_create_removed(const struct vu_memory *memory, const struct vu_region_desc *desc,
                             struct vu_memory **ret_memory)
{
    for (unsigned i = 0; memory && i < memory->n_regions; i++) {
        const struct vu_region *region = memory->regions[i];

        if (region->gpa == desc->gpa && region->uva == desc->uva && region->size == desc->size) {
            *ret_memory = memory_copy(memory, 0, region);
            return 0;
        }
    }
    return -ENOENT;
}

struct vu_memory *vu_memory_ref(struct vu_memory *memory)
{
    __atomic_add_fetch(&memory->refs, 1, __ATOMIC_RELAXED);
    return memory;
}

void vu_memory_unref(struct vu_memory *memory)
{
    if (!memory || __atomic_sub_fetch(&memory->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (unsigned i = 0; i < memory->n_regions; i++)
        memory_region_unref(memory->regions[i]);
    g_free(memory);
}
