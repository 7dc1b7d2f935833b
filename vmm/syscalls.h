/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls of threads that answer a guest directly. */
#pragma once

#include "vhost-user/daemon/seccomp.h"

/* A vCPU's thread: KVM, the console, interrupts, messages to back-ends that exist already. No file
 * is opened, no connection made, no program started. */
extern const struct vu_syscall_rules vmm_vcpu_syscalls;
