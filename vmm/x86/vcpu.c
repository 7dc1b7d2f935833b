/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of the vCPUs.
 *
 * A thread leaves the guest when it is sent a signal, and does not enter it while immediate_exit is
 * set: whoever wants it outside sets that first and signals then, so that neither a thread that is
 * inside nor one that is about to enter is missed. Entering once more with immediate_exit set also
 * makes KVM complete the access that the last exit was about, so a parked vCPU is between
 * instructions.
 */
#include "vmm/x86/vcpu.h"

#include <errno.h>
#include <gio/gio.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"
#include "vhost-user/thread.h"
#include "vmm/machine.h"
#include "vmm/syscalls.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/pvm.h"
#include "vmm/x86/topology.h"
#include "vmm/x86/vcpu-thread.h"

/* Only interrupts system calls. */
#define VCPU_KICK_SIGNAL SIGUSR1

static void vcpu_on_kick(int signal_number)
{
}

static void vcpu_open_to_kicks(void)
{
    sigset_t kick;

    sigemptyset(&kick);
    sigaddset(&kick, VCPU_KICK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
}

/* Stays here while vCPUs are paused. False: the thread is to end. */
static bool vcpu_park(struct vmm_vcpu *vcpu)
{
    struct vmm_vcpus *all = vcpu->all;
    VU_LOCK_SCOPE(&all->lock);

    vcpu->is_parked = true;
    pthread_cond_broadcast(&all->changed);
    while (all->is_paused && !all->is_ending)
        pthread_cond_wait(&all->changed, &all->lock);
    vcpu->is_parked = false;
    return !all->is_ending;
}

/* Parked for good: of no use, but not in the way of a pause or of the end. */
static void vcpu_give_up(struct vmm_vcpu *vcpu)
{
    struct vmm_vcpus *all = vcpu->all;
    VU_LOCK_SCOPE(&all->lock);

    while (!all->is_paused)
        pthread_cond_wait(&all->changed, &all->lock);
}

/* False when an exit was answered: the access that it was about is completed by the next call. */
static bool vcpu_run_once(struct vmm_vcpu *vcpu)
{
    if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
        if (vmm_vcpu_handle_exit(vcpu))
            return false;
    } else if (errno == EINTR || errno == EAGAIN) { /* a kick; another vCPU's message woke it */
        return true;
    } else {
        vu_error("vCPU %u: KVM_RUN: %s", vcpu->index, g_strerror(errno));
        vmm_machine_ask(vcpu->machine, VMM_REQUEST_ERROR);
    }
    vcpu_give_up(vcpu);
    return true;
}

/* From here on: nothing of the guest has run yet. */
static void vcpu_confine(const struct vmm_vcpu *vcpu)
{
    const struct vmm_machine *machine = vcpu->machine;
    g_autoptr(GError) error = NULL;

    if (vmm_confine(&machine->config, machine->vm.is_pvm ? VMM_THREAD_VCPU_PVM : VMM_THREAD_VCPU,
                    &error))
        return;
    vu_error("vCPU %u: %s (-sandbox off does without)", vcpu->index, error->message);
    vmm_machine_ask(vcpu->machine, VMM_REQUEST_ERROR);
}

static void vcpu_tell_tid(struct vmm_vcpu *vcpu)
{
    VU_LOCK_SCOPE(&vcpu->all->lock);

    vcpu->tid = gettid();
    pthread_cond_broadcast(&vcpu->all->changed);
}

static void *vcpu_thread(void *opaque)
{
    struct vmm_vcpu *vcpu = opaque;

    vcpu_open_to_kicks();
    vcpu_confine(vcpu);
    vcpu_tell_tid(vcpu);
    while (vcpu_park(vcpu)) {
        bool is_between = true;

        while (!is_between || !__atomic_load_n(&vcpu->run->immediate_exit, __ATOMIC_RELAXED))
            is_between = vcpu_run_once(vcpu);
    }
    return NULL;
}

static bool vcpu_fail(const struct vmm_vcpu *vcpu, const char *what, int rc, GError **error)
{
    if (rc < 0)
        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-rc), "vCPU %u: %s: %s",
                    vcpu->index, what, g_strerror(-rc));
    return rc >= 0;
}

static bool vcpu_init(struct vmm_vcpu *vcpu, struct kvm_cpuid2 *cpuid, GError **error)
{
    struct vmm_vm *vm = &vcpu->machine->vm;
    unsigned apic_id = vmm_topology_apic_id(&vcpu->machine->config.smp, vcpu->index);

    vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)apic_id);
    if (vcpu->fd < 0)
        return vcpu_fail(vcpu, "KVM_CREATE_VCPU", -errno, error);
    vcpu->run = mmap(NULL, vm->vcpu_map_len, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (vcpu->run == MAP_FAILED) {
        vcpu->run = NULL;
        return vcpu_fail(vcpu, "mmap", -errno, error);
    }
    vmm_cpuid_set_topology(cpuid, &vcpu->machine->config, vcpu->index);
    if (ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0)
        return vcpu_fail(vcpu, "KVM_SET_CPUID2", -errno, error);
    return vcpu_fail(vcpu, "its state after power-on", vmm_vcpu_save_power_on(vcpu), error);
}

static void vcpu_finish(struct vmm_vcpu *vcpu)
{
    if (vcpu->run != NULL)
        munmap(vcpu->run, vcpu->machine->vm.vcpu_map_len);
    vu_clear_fd(&vcpu->fd);
    g_clear_pointer(&vcpu->power_on, g_free);
}

static bool vcpu_check_ids(const struct vmm_machine *machine, GError **error)
{
    const struct vmm_topology *smp = &machine->config.smp;
    int limit = ioctl(machine->vm.kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
    unsigned highest = 0;

    for (unsigned i = 0; i < smp->n_cpus; i++)
        highest = MAX(highest, vmm_topology_apic_id(smp, i));
    if (limit > 0 && smp->n_cpus > (unsigned)limit)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "-smp: %u vCPUs, this host's KVM has at most %d", smp->n_cpus, limit);
    else if (highest > VMM_MAX_APIC_ID)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "-smp: sockets, cores and threads are numbered in bits of their own; these "
                    "take numbers up to %u, expected at most %d",
                    highest, VMM_MAX_APIC_ID);
    else
        return true;
    return false;
}

static bool vcpu_check_ram(const struct vmm_machine *machine, struct kvm_cpuid2 *cpuid,
                           GError **error)
{
    unsigned bits = vmm_cpuid_address_bits(cpuid);

    if (bits >= 64 || machine->ram.high_end <= UINT64_C(1) << bits)
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "-m: this host's CPUs have addresses of %u bits: RAM ends at %" G_GUINT64_FORMAT
                " GiB at most",
                bits, (UINT64_C(1) << bits) >> 30);
    return false;
}

/* Returns when all threads are parked. */
static void vcpus_await_parked(struct vmm_vcpus *all)
{
    VU_LOCK_SCOPE(&all->lock);

    for (unsigned i = 0; i < all->n_vcpus; i++)
        while (all->vcpus[i].has_thread && !all->vcpus[i].is_parked)
            pthread_cond_wait(&all->changed, &all->lock);
}

/* Its thread; on the main one, which tells what is wrong. */
static bool vcpu_pin(const struct vmm_vcpu *vcpu, GError **error)
{
    int cpu = vcpu->machine->config.affinity[vcpu->index], rc;
    size_t n_cpus = (size_t)(cpu + 1), len = CPU_ALLOC_SIZE(n_cpus);
    cpu_set_t *set;

    if (cpu < 0)
        return true;
    set = CPU_ALLOC(n_cpus);
    CPU_ZERO_S(len, set);
    CPU_SET_S((size_t)cpu, len, set);
    rc = pthread_setaffinity_np(vcpu->thread, len, set);
    CPU_FREE(set);
    if (rc != 0)
        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(rc), "-vcpu-affinity %u:%d: %s",
                    vcpu->index, cpu, rc == EINVAL ? "there is no such host CPU" : g_strerror(rc));
    return rc == 0;
}

/* Does not wait for them: they prepare themselves while the main thread loads the kernel. */
static bool vcpus_start_threads(struct vmm_vcpus *all, GError **error)
{
    struct sigaction action = {.sa_handler = vcpu_on_kick};

    sigaction(VCPU_KICK_SIGNAL, &action, NULL);
    for (unsigned i = 0; i < all->n_vcpus; i++) {
        struct vmm_vcpu *vcpu = &all->vcpus[i];
        g_autofree char *name = g_strdup_printf("vcpu%u", i);
        int rc = vu_thread_create(name, vcpu_thread, vcpu, &vcpu->thread);

        if (rc < 0)
            return vcpu_fail(vcpu, "its thread", rc, error);
        vcpu->has_thread = true;
        if (!vcpu_pin(vcpu, error))
            return false;
    }
    return true;
}

bool vmm_vcpus_create(struct vmm_machine *machine, GError **error)
{
    unsigned n_vcpus = machine->config.smp.n_cpus;
    g_autofree struct kvm_cpuid2 *cpuid = NULL;
    struct vmm_vcpus *all;
    bool ok;

    if (!vcpu_check_ids(machine, error))
        return false;
    cpuid = vmm_cpuid_create(machine->vm.kvm_fd, machine->config.cpu_features, error);
    if (cpuid == NULL || !vcpu_check_ram(machine, cpuid, error))
        return false;
    if (machine->vm.is_pvm)
        vmm_pvm_adjust_cpuid(cpuid);
    all = g_malloc0(sizeof(*all) + n_vcpus * sizeof(all->vcpus[0]));
    *all = (struct vmm_vcpus){.machine = machine, .is_paused = true, .n_vcpus = n_vcpus};
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->changed, NULL);
    for (unsigned i = 0; i < n_vcpus; i++)
        all->vcpus[i] = (struct vmm_vcpu){.all = all, .machine = machine, .index = i, .fd = -1};
    machine->vcpus = all;
    ok = true;
    for (unsigned i = 0; ok && i < n_vcpus; i++)
        ok = vcpu_init(&all->vcpus[i], cpuid, error);
    if (ok && vcpus_start_threads(all, error))
        return true;
    vmm_vcpus_destroy(g_steal_pointer(&machine->vcpus));
    return false;
}

/* Makes all leave the guest, and not enter it again. */
static void vcpus_kick(struct vmm_vcpus *all, bool is_ending)
{
    VU_LOCK_SCOPE(&all->lock);

    all->is_paused = true;
    all->is_ending = is_ending;
    for (unsigned i = 0; i < all->n_vcpus; i++)
        if (all->vcpus[i].has_thread) {
            __atomic_store_n(&all->vcpus[i].run->immediate_exit, 1, __ATOMIC_RELAXED);
            pthread_kill(all->vcpus[i].thread, VCPU_KICK_SIGNAL);
        }
    pthread_cond_broadcast(&all->changed);
}

void vmm_vcpus_destroy(struct vmm_vcpus *all)
{
    if (all == NULL)
        return;
    vcpus_kick(all, true);
    for (unsigned i = 0; i < all->n_vcpus; i++)
        if (all->vcpus[i].has_thread)
            pthread_join(all->vcpus[i].thread, NULL);
    for (unsigned i = 0; i < all->n_vcpus; i++)
        vcpu_finish(&all->vcpus[i]);
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
    g_free(all);
}

int vmm_vcpus_reset(struct vmm_vcpus *all, const struct vmm_entry *entry)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < all->n_vcpus; i++)
        rc = vmm_vcpu_restore_power_on(&all->vcpus[i]);
    return rc < 0 ? rc : vmm_vcpu_enter(&all->vcpus[0], entry);
}

void vmm_vcpus_pause(struct vmm_vcpus *all)
{
    vcpus_kick(all, false);
    vcpus_await_parked(all);
}

void vmm_vcpus_resume(struct vmm_vcpus *all)
{
    pthread_mutex_lock(&all->lock);
    for (unsigned i = 0; i < all->n_vcpus; i++)
        __atomic_store_n(&all->vcpus[i].run->immediate_exit, 0, __ATOMIC_RELAXED);
    all->is_paused = false;
    pthread_mutex_unlock(&all->lock);
    pthread_cond_broadcast(&all->changed); /* whom it wakes finds the lock free */
}

int vmm_vcpus_thread_id(struct vmm_vcpus *vcpus, unsigned cpu)
{
    VU_LOCK_SCOPE(&vcpus->lock);

    while (vcpus->vcpus[cpu].tid == 0)
        pthread_cond_wait(&vcpus->changed, &vcpus->lock);
    return vcpus->vcpus[cpu].tid;
}
