/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kind of host this is. The speed of ring 0 is measured with a loop in a VM of one page, for
 * a fifth of a second.
 */
#include "vmm/probe.h"

#include <errno.h>
#include <gio/gio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "vhost-user/cleanup.h"
#include "vmm/x86/pvm.h"
#include "vmm/x86/vm.h"

#define PROBE_GPA       0x1000u
#define PROBE_PAGE_SIZE 4096u
#define PROBE_N_ROUNDS  20000u
#define PROBE_MAX_NS    200000000u
#define PROBE_PORT      0x80

/* Of real mode: 1: mov $rounds, %ecx; 2: dec %ecx; jnz 2b; out %al, $port; jmp 1b. */
static const uint8_t probe_code[] = {0x66, 0xb9, 0,    0,    0,          0,    0x66,
                                     0x49, 0x75, 0xfc, 0xe6, PROBE_PORT, 0xeb, 0xf2};

static bool probe_add_memory(struct vmm_vm *vm, struct vmm_ram *ram)
{
    uint32_t rounds_le = GUINT32_TO_LE(PROBE_N_ROUNDS);
    uint8_t *page;

    vu_shmem_init(&ram->shmem);
    if (vu_shmem_add(&ram->shmem, PROBE_GPA, PROBE_PAGE_SIZE) < 0)
        return false;
    page = ram->shmem.regions[0].hva;
    memcpy(page, probe_code, sizeof(probe_code));
    memcpy(page + 2, &rounds_le, sizeof(rounds_le));
    return true;
}

/* CPU time: what others do meanwhile is no matter. */
static uint64_t probe_cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Runs the loop on a vCPU, for a while; rounds a second, or -errno. */
static double probe_run(const struct vmm_vm *vm)
{
    vu_autofd int fd = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
    struct kvm_regs regs = {.rip = PROBE_GPA, .rflags = 2};
    struct kvm_sregs sregs;
    uint64_t begin, ns = 0;
    double n_rounds = 0;

    if (fd < 0 || ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
        return -errno;
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(fd, KVM_SET_REGS, &regs) < 0)
        return -errno;
    for (begin = probe_cpu_ns(); ns < PROBE_MAX_NS; ns = probe_cpu_ns() - begin) {
        if (ioctl(fd, KVM_RUN, 0) < 0)
            return -errno;
        n_rounds += PROBE_N_ROUNDS;
    }
    return n_rounds * 1e9 / (double)ns;
}

static void probe_print_speed(double speed)
{
    if (speed < 0)
        printf("ring 0: does not run: %s\n", g_strerror((int)-speed));
    else
        printf("ring 0: %.1f million instructions a second\n", 2 * speed / 1e6);
}

int vmm_probe(void)
{
    struct vmm_ram ram = {0};
    struct vmm_vm vm = {.fd = -1, .kvm_fd = -1};
    g_autoptr(GError) error = NULL;
    double speed = -ENOMEM;

    if (probe_add_memory(&vm, &ram) && vmm_vm_create(&vm, &ram, &error)) {
        printf("kind: %s\n", vm.is_pvm ? "emulated" : "hardware");
        printf("hardware virtualization: %s\n",
               vm.is_pvm ? "none; a guest's kernel runs by emulation, its programs on the CPU"
                         : "yes");
        speed = probe_run(&vm);
        probe_print_speed(speed);
        printf("missing: nothing\n");
        vmm_vm_destroy(&vm);
    } else {
        printf("kind: none\nmissing: %s\n", error != NULL ? error->message : "memory");
    }
    vu_shmem_clear(&ram.shmem);
    return speed < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
