/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dirty log: a bitmap of 4 KiB pages in the front-end's file. Created on the session thread;
 * marked by any.
 */
#include "vhost-user/dirty-log.h"

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhost-user/memory-fault.h"

struct vu_dirty_log {
    unsigned refs; /* atomic */
    uint8_t *bits; /* shared with the front-end, which clears what it has read */
    uint64_t size; /* bytes at bits */
    void *map_addr;
    size_t map_len;
    bool faulted; /* atomic; the file was truncated: marks go nowhere */
};

int vu_dirty_log_create(int fd, uint64_t size, uint64_t offset, struct vu_dirty_log **ret_log)
{
    uint64_t page_mask = (uint64_t)sysconf(_SC_PAGESIZE) - 1;
    g_autofree struct vu_dirty_log *log = g_new0(struct vu_dirty_log, 1);
    uint64_t end, skipped = offset & page_mask;
    struct stat st;
    int r;

    if (size == 0 || __builtin_add_overflow(size, offset, &end))
        return -EINVAL;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || end > (uint64_t)st.st_size)
        return -EINVAL;
    r = vu_memory_fault_install();
    if (r < 0)
        return r;

    log->refs = 1;
    log->size = size;
    log->map_len = skipped + size;
    log->map_addr =
        mmap(NULL, log->map_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(offset - skipped));
    if (log->map_addr == MAP_FAILED)
        return -errno;
    log->bits = (uint8_t *)log->map_addr + skipped;
    r = vu_memory_fault_watch(log->map_addr, (log->map_len + page_mask) & ~page_mask,
                              &log->faulted);
    if (r < 0) {
        munmap(log->map_addr, log->map_len);
        return r;
    }
    *ret_log = g_steal_pointer(&log);
    return 0;
}

struct vu_dirty_log *vu_dirty_log_ref(struct vu_dirty_log *log)
{
    __atomic_add_fetch(&log->refs, 1, __ATOMIC_RELAXED);
    return log;
}

void vu_dirty_log_unref(struct vu_dirty_log *log)
{
    if (!log || __atomic_sub_fetch(&log->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    vu_memory_fault_unwatch(log->map_addr);
    munmap(log->map_addr, log->map_len);
    g_free(log);
}

/* The bits of [first, last] that fall into the byte that holds page `first`. */
static uint8_t dirty_log_mask(uint64_t first, uint64_t last)
{
    unsigned from = (unsigned)(first % 8);
    unsigned to = last / 8 == first / 8 ? (unsigned)(last % 8) : 7;

    return (uint8_t)((0xffu << from) & (0xffu >> (7 - to)));
}

void vu_dirty_log_mark(struct vu_dirty_log *log, uint64_t gpa, uint64_t len)
{
    uint64_t last_byte, first, last;

    if (len == 0)
        return;
    if (__builtin_add_overflow(gpa, len - 1, &last_byte))
        last_byte = UINT64_MAX;
    first = gpa / VU_LOG_PAGE_SIZE;
    last = last_byte / VU_LOG_PAGE_SIZE;
    while (first <= last && first / 8 < log->size) {
        uint8_t *byte = &log->bits[first / 8];
        uint8_t mask = dirty_log_mask(first, last);

        /* Release: the data is written before its page is marked; the front-end that finds the bit
         * by an atomic exchange then copies the data. An OR even where the bit is set already, for
         * it may be cleared this instant. */
        __atomic_fetch_or(byte, mask, __ATOMIC_RELEASE);
        first = (first / 8 + 1) * 8;
    }
}
