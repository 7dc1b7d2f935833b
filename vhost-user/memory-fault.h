/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containment of SIGBUS in guest memory.
 *
 * The owner of a shared file can truncate it while we hold it mapped; the next access raises SIGBUS
 * in whatever thread made it. The handler puts private zero pages under the whole range (one
 * mapping, whatever the size of the hole), sets *faulted of the range and returns: the thread goes
 * on with zeros, and the vring that meets the flag breaks that device alone. A SIGBUS anywhere else
 * takes the default action.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Installs the process-wide handler; idempotent, any thread. Returns 0 or -errno of sigaction. */
int vu_memory_fault_install(void);

/*
 * Registers [addr, addr + len) (page aligned). `faulted` is set (atomic, release) on a contained
 * fault and must live until vu_memory_fault_unwatch. -ENOSPC when the fixed table is full (bounded
 * by several whole maps); the caller then refuses the region.
 */
int vu_memory_fault_watch(void *addr, size_t len, bool *faulted);
void vu_memory_fault_unwatch(void *addr);

/* Whether there was ever one, in any range: it mostly spares looking at each. */
bool vu_memory_fault_happened(void);
