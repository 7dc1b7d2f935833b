/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SIGBUS handler and the table of ranges it covers.
 *
 * The handler runs on whichever thread touched the missing page, so it takes no lock: each slot is
 * a small sequence lock that a writer (any thread, under fault_lock) makes odd while it changes.
 * The table is static and never moves.
 */
#include "vhost-user/memory-fault.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/memory.h"

/* Four whole maps: a device whose memory is replaced while requests run holds two for a moment. */
#define FAULT_MAX_RANGES (4 * VU_MEMORY_MAX_REGIONS)

struct fault_range {
    unsigned seq;   /* atomic; odd while the slot changes */
    uintptr_t addr; /* atomic; 0: free */
    size_t len;     /* atomic */
    bool *faulted;  /* atomic */
};

static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;
static struct fault_range fault_ranges[FAULT_MAX_RANGES]; /* written under fault_lock */
static unsigned fault_n_ranges; /* atomic, only grows: slots that were ever used */
static bool fault_happened;     /* atomic, never cleared */
static bool fault_installed;    /* guarded by fault_lock */

/* A consistent copy of slot i; false where it is changing or free. A slot that changes cannot be
 * the one that a running thread has faulted in, for that thread keeps its range registered. */
static bool fault_read_slot(unsigned i, struct fault_range *ret_range)
{
    const struct fault_range *slot = &fault_ranges[i];
    unsigned seq = __atomic_load_n(&slot->seq, __ATOMIC_ACQUIRE);

    ret_range->addr = __atomic_load_n(&slot->addr, __ATOMIC_ACQUIRE);
    ret_range->len = __atomic_load_n(&slot->len, __ATOMIC_ACQUIRE);
    ret_range->faulted = __atomic_load_n(&slot->faulted, __ATOMIC_ACQUIRE);
    if (seq % 2 != 0 || __atomic_load_n(&slot->seq, __ATOMIC_ACQUIRE) != seq)
        return false;
    return ret_range->addr != 0;
}

static void fault_write_slot(struct fault_range *slot, uintptr_t addr, size_t len, bool *faulted)
{
    unsigned seq = __atomic_load_n(&slot->seq, __ATOMIC_RELAXED);

    /* Each store releases, so that none is seen before the sequence number turned odd. */
    __atomic_store_n(&slot->seq, seq + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&slot->addr, addr, __ATOMIC_RELEASE);
    __atomic_store_n(&slot->len, len, __ATOMIC_RELEASE);
    __atomic_store_n(&slot->faulted, faulted, __ATOMIC_RELEASE);
    __atomic_store_n(&slot->seq, seq + 2, __ATOMIC_RELEASE);
}

/* Puts zeros under the whole range that holds addr: page by page, a large truncated file would use
 * up the mappings that a process may have. */
static bool fault_contain(uintptr_t addr)
{
    unsigned n = __atomic_load_n(&fault_n_ranges, __ATOMIC_ACQUIRE);
    struct fault_range range;

    for (unsigned i = 0; i < n; i++) {
        if (!fault_read_slot(i, &range) || addr < range.addr || addr - range.addr >= range.len)
            continue;
        /* The bare system call: sanitizers take their mmap for a write to the range. */
        if (syscall(SYS_mmap, range.addr, range.len, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
                    0) != (long)range.addr)
            return false;
        __atomic_store_n(range.faulted, true, __ATOMIC_RELEASE);
        __atomic_store_n(&fault_happened, true, __ATOMIC_RELEASE);
        return true;
    }
    return false;
}

static void fault_handle_sigbus(int number, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    struct sigaction standard = {.sa_handler = SIG_DFL};

    /* si_code > 0: the kernel's own report, with an address, and not one of kill(2). */
    if (info->si_code <= 0 || !fault_contain((uintptr_t)info->si_addr)) {
        sigaction(SIGBUS, &standard, NULL);
        raise(SIGBUS); /* delivered when the handler returns */
    }
    errno = saved_errno;
}

int vu_memory_fault_install(void)
{
    struct sigaction action = {
        .sa_sigaction = fault_handle_sigbus,
        .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART,
    };

    VU_LOCK_SCOPE(&fault_lock);
    if (fault_installed)
        return 0;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, NULL) < 0)
        return -errno;
    fault_installed = true;
    return 0;
}

int vu_memory_fault_watch(void *addr, size_t len, bool *faulted)
{
    unsigned i;

    VU_LOCK_SCOPE(&fault_lock);
    for (i = 0; i < FAULT_MAX_RANGES; i++) {
        if (fault_ranges[i].addr == 0)
            break;
    }
    if (i == FAULT_MAX_RANGES)
        return -ENOSPC;
    fault_write_slot(&fault_ranges[i], (uintptr_t)addr, len, faulted);
    if (i >= fault_n_ranges)
        __atomic_store_n(&fault_n_ranges, i + 1, __ATOMIC_RELEASE);
    return 0;
}

void vu_memory_fault_unwatch(void *addr)
{
    VU_LOCK_SCOPE(&fault_lock);
    for (unsigned i = 0; i < fault_n_ranges; i++) {
        if (fault_ranges[i].addr == (uintptr_t)addr) {
            fault_write_slot(&fault_ranges[i], 0, 0, NULL);
            return;
        }
    }
    assert(false); /* not watched: our own bug */
}

bool vu_memory_fault_happened(void)
{
    return __atomic_load_n(&fault_happened, __ATOMIC_ACQUIRE);
}
