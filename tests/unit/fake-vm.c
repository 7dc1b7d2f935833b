/* SPDX-License-Identifier: Apache-2.0 */
/* See fake-vm.h. */
#include "fake-vm.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "vmm/layout.h"

static struct fake_vm *fake_of(struct vmm_vm *vm)
{
    return (struct fake_vm *)vm;
}

void fake_vm_init(struct fake_vm *fake)
{
    memset(fake, 0, sizeof(*fake));
    for (unsigned i = 0; i < VMM_MAX_GSIS; i++)
        fake->routes[i].irqfd = -1;
}

struct fake_route *fake_vm_find_route(struct fake_vm *fake, uint64_t address, uint32_t data)
{
    for (unsigned i = 0; i < VMM_MAX_GSIS; i++)
        if (fake->routes[i].is_taken && fake->routes[i].address == address &&
            fake->routes[i].data == data)
            return &fake->routes[i];
    return NULL;
}

unsigned fake_vm_n_irqfds(const struct fake_vm *fake)
{
    unsigned n = 0;

    for (unsigned i = 0; i < VMM_MAX_GSIS; i++)
        n += fake->routes[i].irqfd >= 0;
    return n;
}

int vmm_vm_set_irq(struct vmm_vm *vm, unsigned gsi, bool level)
{
    g_assert_cmpuint(gsi, <, VMM_N_PINS);
    fake_of(vm)->pins[gsi] = level;
    return 0;
}

int vmm_vm_take_gsi(struct vmm_vm *vm, unsigned *ret_gsi)
{
    for (unsigned i = VMM_N_PINS; i < VMM_MAX_GSIS; i++) {
        if (fake_of(vm)->routes[i].is_taken)
            continue;
        fake_of(vm)->routes[i] = (struct fake_route){.is_taken = true, .irqfd = -1};
        *ret_gsi = i;
        return 0;
    }
    return -ENOSPC;
}

void vmm_vm_give_gsi(struct vmm_vm *vm, unsigned gsi)
{
    g_assert_true(fake_of(vm)->routes[gsi].is_taken);
    g_assert_cmpint(fake_of(vm)->routes[gsi].irqfd, ==, -1);
    fake_of(vm)->routes[gsi].is_taken = false;
}

int vmm_vm_route_msi(struct vmm_vm *vm, unsigned gsi, uint64_t address, uint32_t data)
{
    g_assert_true(fake_of(vm)->routes[gsi].is_taken);
    fake_of(vm)->routes[gsi].address = address;
    fake_of(vm)->routes[gsi].data = data;
    return 0;
}

int vmm_vm_add_irqfd(struct vmm_vm *vm, unsigned gsi, int eventfd)
{
    g_assert_true(fake_of(vm)->routes[gsi].is_taken);
    g_assert_cmpint(fake_of(vm)->routes[gsi].irqfd, ==, -1);
    fake_of(vm)->routes[gsi].irqfd = eventfd;
    return 0;
}

int vmm_vm_remove_irqfd(struct vmm_vm *vm, unsigned gsi, int eventfd)
{
    g_assert_cmpint(fake_of(vm)->routes[gsi].irqfd, ==, eventfd);
    fake_of(vm)->routes[gsi].irqfd = -1;
    return 0;
}

int vmm_vm_add_ioeventfd(struct vmm_vm *vm, uint64_t gpa, int eventfd)
{
    struct fake_vm *fake = fake_of(vm);

    g_assert_cmpuint(fake->n_kicks, <, G_N_ELEMENTS(fake->kicks));
    fake->kicks[fake->n_kicks++] = (struct fake_kick){gpa, eventfd};
    return 0;
}

int vmm_vm_remove_ioeventfd(struct vmm_vm *vm, uint64_t gpa, int eventfd)
{
    struct fake_vm *fake = fake_of(vm);

    for (unsigned i = 0; i < fake->n_kicks; i++) {
        if (fake->kicks[i].gpa != gpa || fake->kicks[i].eventfd != eventfd)
            continue;
        fake->kicks[i] = fake->kicks[--fake->n_kicks];
        return 0;
    }
    g_assert_not_reached();
}
