/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID of the guest. KVM says what it supports on this host; features of -cpu are taken from it or
 * insisted on, and the leaves that number CPUs are written from the topology, for Intel's and for
 * AMD's way of telling. Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E.
 */
#include "vmm/x86/cpuid.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/x86/cpu-features.h"
#include "vmm/x86/topology.h"

#define CPUID_MAX_LEAVES         512

#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)
#define CPUID_1_ECX_HYPERVISOR   (1u << 31)
#define CPUID_1_EDX_HTT          (1u << 28)
#define CPUID_6_EAX_ARAT         (1u << 2)
#define CPUID_OLD_ADDRESS_BITS   36 /* of CPUs that do not say */

/* Kinds of level in leaf 0xb. */
#define CPUID_LEVEL_THREAD 1
#define CPUID_LEVEL_CORE   2

struct kvm_cpuid_entry2 *vmm_cpuid_find(struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index)
{
    for (unsigned i = 0; i < cpuid->nent; i++)
        if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
            return &cpuid->entries[i];
    return NULL;
}

static struct kvm_cpuid2 *cpuid_get_supported(int kvm_fd, GError **error)
{
    g_autofree struct kvm_cpuid2 *cpuid =
        g_malloc0(sizeof(*cpuid) + CPUID_MAX_LEAVES * sizeof(struct kvm_cpuid_entry2));

    cpuid->nent = CPUID_MAX_LEAVES - 4; /* room for what cpuid_ensure adds */
    if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0) {
        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(errno),
                    "KVM_GET_SUPPORTED_CPUID: %s", g_strerror(errno));
        return NULL;
    }
    return g_steal_pointer(&cpuid);
}

/* The register that holds a feature; NULL where there is no such leaf. */
static uint32_t *cpuid_find_register(struct kvm_cpuid2 *cpuid,
                                     const struct vmm_cpu_feature *feature)
{
    struct kvm_cpuid_entry2 *entry = vmm_cpuid_find(cpuid, feature->function, feature->index);

    if (entry == NULL)
        return NULL;
    uint32_t *const registers[] = {
        [VMM_EAX] = &entry->eax,
        [VMM_EBX] = &entry->ebx,
        [VMM_ECX] = &entry->ecx,
        [VMM_EDX] = &entry->edx,
    };

    return registers[feature->reg];
}

void vmm_cpuid_clear(struct kvm_cpuid2 *cpuid, const struct vmm_cpu_feature *feature)
{
    uint32_t *reg = cpuid_find_register(cpuid, feature);

    if (reg != NULL)
        *reg &= ~(1u << feature->bit);
}

/* Counters of events are a leaf of their own. */
static bool cpuid_apply_pmu(struct kvm_cpuid2 *cpuid, bool is_wanted, GError **error)
{
    struct kvm_cpuid_entry2 *entry = vmm_cpuid_find(cpuid, 0xa, 0);

    if (entry != NULL && !is_wanted)
        entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
    if (!is_wanted || (entry != NULL && (entry->eax & 0xff) != 0))
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "-cpu: this host has no 'pmu'");
    return false;
}

bool vmm_cpuid_apply(struct kvm_cpuid2 *cpuid, const char *word, GError **error)
{
    const struct vmm_cpu_feature *feature = vmm_cpu_feature_find(word + 1, strlen(word + 1));
    const uint32_t *reg;

    if (strcmp(word + 1, "pmu") == 0)
        return cpuid_apply_pmu(cpuid, word[0] == '+', error);
    if (feature == NULL) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "-cpu: no feature is called '%s'", word + 1);
        return false;
    }
    if (word[0] == '-') {
        vmm_cpuid_clear(cpuid, feature);
        return true;
    }
    reg = cpuid_find_register(cpuid, feature);
    if (reg != NULL && (*reg & 1u << feature->bit) != 0)
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "-cpu: this host has no '%s'",
                word + 1);
    return false;
}

struct kvm_cpuid2 *vmm_cpuid_create(int kvm_fd, const GPtrArray *features, GError **error)
{
    g_autofree struct kvm_cpuid2 *cpuid = cpuid_get_supported(kvm_fd, error);
    struct kvm_cpuid_entry2 *entry;

    if (cpuid == NULL)
        return NULL;
    entry = vmm_cpuid_find(cpuid, 1, 0);
    if (entry != NULL) {
        entry->ecx |= CPUID_1_ECX_HYPERVISOR;
        /* KVM leaves this one to whoever has the APICs in the kernel. */
        if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
            entry->ecx |= CPUID_1_ECX_TSC_DEADLINE;
    }
    entry = vmm_cpuid_find(cpuid, 6, 0);
    if (entry != NULL)
        entry->eax |= CPUID_6_EAX_ARAT; /* no sleep state of the host stops a guest's timer */
    for (unsigned i = 0; features != NULL && i < features->len; i++)
        if (!vmm_cpuid_apply(cpuid, g_ptr_array_index(features, i), error))
            return NULL;
    return g_steal_pointer(&cpuid);
}

unsigned vmm_cpuid_address_bits(struct kvm_cpuid2 *cpuid)
{
    const struct kvm_cpuid_entry2 *entry = vmm_cpuid_find(cpuid, 0x80000008, 0);

    return entry != NULL ? entry->eax & 0xff : CPUID_OLD_ADDRESS_BITS;
}

/* A leaf that KVM may have left out, at the end. Returns it, zeroed but for its number. */
static struct kvm_cpuid_entry2 *cpuid_ensure(struct kvm_cpuid2 *cpuid, uint32_t function,
                                             uint32_t index)
{
    struct kvm_cpuid_entry2 *entry = vmm_cpuid_find(cpuid, function, index);

    if (entry == NULL)
        entry = &cpuid->entries[cpuid->nent++];
    *entry = (struct kvm_cpuid_entry2){
        .function = function,
        .index = index,
        .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
    };
    return entry;
}

/* Leaf 0xb: the bits of the number that a level and all below it take, and how many CPUs it has. */
static void cpuid_set_level(struct kvm_cpuid2 *cpuid, uint32_t index, uint32_t kind, unsigned bits,
                            unsigned n_cpus, unsigned apic_id)
{
    struct kvm_cpuid_entry2 *entry = cpuid_ensure(cpuid, 0xb, index);

    entry->eax = bits;
    entry->ebx = n_cpus;
    entry->ecx = index | kind << 8;
    entry->edx = apic_id;
}

/* A leaf of caches: how many numbers share each. */
static void cpuid_set_cache(struct kvm_cpuid_entry2 *entry, const struct vmm_topology *smp,
                            bool is_shared, bool with_cores)
{
    unsigned level = entry->eax >> 5 & 7;
    unsigned bits =
        level > 2 && is_shared ? vmm_topology_core_bits(smp) : vmm_topology_thread_bits(smp);

    if ((entry->eax & 0x1f) == 0)
        return;
    entry->eax &= 0x3fff;
    entry->eax |= ((1u << bits) - 1) << 14;
    if (with_cores)
        entry->eax |= ((1u << vmm_topology_bits(smp->cores)) - 1) << 26;
}

static bool cpuid_socket_is_on_one_node(const struct vmm_config *config, unsigned cpu)
{
    unsigned per_socket = config->smp.cores * config->smp.threads;
    unsigned first = cpu / per_socket * per_socket;

    for (unsigned i = first; i < first + per_socket && i < config->smp.n_cpus; i++)
        if (vmm_config_cpu_node(config, i) != vmm_config_cpu_node(config, first))
            return false;
    return true;
}

void vmm_cpuid_set_topology(struct kvm_cpuid2 *cpuid, const struct vmm_config *config, unsigned cpu)
{
    const struct vmm_topology *smp = &config->smp;
    bool is_shared = cpuid_socket_is_on_one_node(config, cpu);
    unsigned apic_id = vmm_topology_apic_id(smp, cpu);
    unsigned per_socket = smp->cores * smp->threads;
    unsigned core_bits = vmm_topology_core_bits(smp);

    for (unsigned i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

        switch (entry->function) {
        case 0x1:
            entry->ebx = (entry->ebx & 0xffff) | apic_id << 24 | 1u << core_bits << 16;
            entry->edx &= ~CPUID_1_EDX_HTT;
            if (per_socket > 1)
                entry->edx |= CPUID_1_EDX_HTT;
            break;
        case 0x4:
            cpuid_set_cache(entry, smp, is_shared, true);
            break;
        case 0x8000001d:
            cpuid_set_cache(entry, smp, is_shared, false);
            break;
        case 0x80000008:
            entry->ecx = (entry->ecx & ~0xf0ffu) | core_bits << 12 | (per_socket - 1);
            break;
        case 0x8000001e: /* APIC id; core and threads of it; node */
            entry->eax = apic_id;
            entry->ebx =
                (smp->threads - 1) << 8 | (apic_id >> vmm_topology_thread_bits(smp) & 0xff);
            entry->ecx = apic_id >> core_bits;
            break;
        default:
            break;
        }
    }
    cpuid_set_level(cpuid, 0, CPUID_LEVEL_THREAD, vmm_topology_thread_bits(smp), smp->threads,
                    apic_id);
    cpuid_set_level(cpuid, 1, CPUID_LEVEL_CORE, core_bits, per_socket, apic_id);
    cpuid_set_level(cpuid, 2, 0, 0, 0, apic_id);
}
