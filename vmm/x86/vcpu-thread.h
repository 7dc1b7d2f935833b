/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of vcpu.h share: one vCPU, and all of them. */
#pragma once

#include <glib.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>

#include "vmm/x86/boot.h"

struct vmm_machine;
struct vmm_vcpus;
struct vmm_vcpu_power_on; /* vcpu-state.c */

struct vmm_vcpu {
    /* constant */
    struct vmm_vcpus *all;
    struct vmm_machine *machine;
    unsigned index;
    int fd;
    struct kvm_run *run; /* its immediate_exit is atomic: set by whoever wants it outside */
    struct vmm_vcpu_power_on *power_on;
    pthread_t thread;
    bool has_thread;
    /* under all->lock */
    int tid; /* 0: not yet there */
    bool is_parked;
    /* its own thread's */
    uint64_t next_log_ns;
};

struct vmm_vcpus {
    struct vmm_machine *machine; /* constant */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* one is parked, or all may go on */
    bool is_paused;         /* under lock */
    bool is_ending;         /* under lock; with is_paused */
    unsigned n_vcpus;       /* constant */
    struct vmm_vcpu vcpus[];
};

/* --- vcpu-state.c: registers. Before the thread runs, or while it is parked. --- */

/* Keeps the state after power-on, which only the kernel knows in full. 0 or -errno. */
int vmm_vcpu_save_power_on(struct vmm_vcpu *vcpu);
/* Back to it. 0 or -errno. */
int vmm_vcpu_restore_power_on(struct vmm_vcpu *vcpu);
/* Ready to enter a kernel. 0 or -errno. */
int vmm_vcpu_enter(struct vmm_vcpu *vcpu, const struct vmm_entry *entry);

/* 0, -ENXIO where there is no such MSR or it does not take the value, or -errno. */
int vmm_vcpu_set_msr(const struct vmm_vcpu *vcpu, uint32_t index, uint64_t value);

/* --- vcpu-exit.c: on the vCPU's thread. --- */

/* Answers what run->exit_reason says. False: this vCPU cannot go on; it has said why and asked for
 * what follows. */
bool vmm_vcpu_handle_exit(struct vmm_vcpu *vcpu);
