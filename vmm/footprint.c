/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Most of what a program of some libraries has resident are their pages: the dynamic linker reads
 * all tables once, each constructor runs once, and the kernel maps what lies around a page as well.
 */
#include "vmm/footprint.h"

#include <link.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Segments that nobody writes: their pages are the file's. */
static int footprint_forget(struct dl_phdr_info *info, size_t size, void *opaque)
{
    uintptr_t page_size = (uintptr_t)sysconf(_SC_PAGESIZE);

    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t begin = (info->dlpi_addr + segment->p_vaddr) & ~(page_size - 1);
        uintptr_t end = info->dlpi_addr + segment->p_vaddr + segment->p_memsz;

        if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W))
            (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
    return 0;
}

void vmm_footprint_trim(void)
{
    malloc_trim(0);
    dl_iterate_phdr(footprint_forget, NULL);
}
