/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls that each kind of thread may make once a guest runs (-sandbox on, the default).
 * None opens a file, starts a program, or makes memory executable; a call without a row ends the
 * process. A thread that another one starts has that one's filter too.
 */
#pragma once

#include "vhost-user/daemon/seccomp.h"
#include "vmm/config.h"

enum vmm_thread_kind {
    VMM_THREAD_MAIN,
    VMM_THREAD_MAIN_QMP, /* the same where devices may come: connects, starts threads */
    VMM_THREAD_VCPU,
    VMM_THREAD_VCPU_PVM, /* the same on a host without hardware virtualization (pvm.h) */
    VMM_THREAD_LINK,     /* of a device to its back-end: connects anew */
    VMM_THREAD_CONTROL,  /* QMP's two */
    VMM_N_THREAD_KINDS,
};

/* NULL ended tables of rows. */
extern const struct vu_syscall_rules *const *const vmm_thread_syscalls[VMM_N_THREAD_KINDS];

/* Confines the calling thread, and those that it starts, unless the config has -sandbox off. False
 * with *error. */
bool vmm_confine(const struct vmm_config *config, enum vmm_thread_kind kind, GError **error);

/* Gives up what root may and a guest's program need not: all but to reach sockets that are another
 * user's. For all threads, before there are any. False with *error. */
bool vmm_drop_privileges(const struct vmm_config *config, GError **error);
