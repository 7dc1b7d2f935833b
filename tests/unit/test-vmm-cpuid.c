/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID as the topology and -cpu make it, from leaves such as KVM gives; and what a Linux kernel
 * would conclude: which vCPUs share a core, a socket, a cache.
 */
#include <glib.h>
#include <string.h>

#include "vmm/cmdline.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/topology.h"

#define N_LEAVES 16

/* Leaves of an imaginary CPU, of Intel's and AMD's kinds at once. */
static struct kvm_cpuid2 *make_cpuid(void)
{
    static const struct kvm_cpuid_entry2 leaves[] = {
        {.function = 0x1, .ebx = 0x12340800, .ecx = 0x80202000, .edx = 0x178bfbff},
        {.function = 0x4, .index = 0, .eax = 0x1c004121},
        {.function = 0x4, .index = 3, .eax = 0x1c03c163},
        {.function = 0x7, .ebx = 0xffffffff},
        {.function = 0x8000001d, .index = 0, .eax = 0x00004121},
        {.function = 0x8000001d, .index = 3, .eax = 0x0003c163},
        {.function = 0x80000008, .ecx = 0x00007007},
        {.function = 0x8000001e, .eax = 99, .ebx = 0x0707, .ecx = 9},
    };
    struct kvm_cpuid2 *cpuid = g_malloc0(sizeof(*cpuid) + N_LEAVES * sizeof(leaves[0]));

    cpuid->nent = G_N_ELEMENTS(leaves);
    memcpy(cpuid->entries, leaves, sizeof(leaves));
    return cpuid;
}

static void parse(struct vmm_config *config, const char *line)
{
    g_autofree char *full = g_strconcat("vmm -kernel k ", line, NULL);
    g_auto(GStrv) argv = g_strsplit(full, " ", -1);
    g_autoptr(GError) error = NULL;

    vmm_config_init(config);
    g_assert_cmpint(vmm_cmdline_parse(config, (int)g_strv_length(argv), argv, &error), ==,
                    VMM_CMDLINE_RUN);
}

static uint32_t cache_sharers(struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index)
{
    return (vmm_cpuid_find(cpuid, function, index)->eax >> 14 & 0xfff) + 1;
}

/* Three cores of two threads in each of two sockets: numbers with gaps. */
static void test_topology(void)
{
    g_autofree struct kvm_cpuid2 *cpuid = make_cpuid();
    struct vmm_config config;

    parse(&config, "-smp 12,sockets=2,cores=3,threads=2");
    for (unsigned cpu = 0; cpu < 12; cpu++) {
        unsigned apic_id = cpu / 6 << 3 | cpu % 6;

        g_assert_cmpuint(vmm_topology_apic_id(&config.smp, cpu), ==, apic_id);
        vmm_cpuid_set_topology(cpuid, &config, cpu);
        g_assert_cmphex(vmm_cpuid_find(cpuid, 1, 0)->ebx, ==, apic_id << 24 | 8 << 16 | 0x0800);
        g_assert_cmpuint(vmm_cpuid_find(cpuid, 0xb, 0)->eax, ==, 1);
        g_assert_cmpuint(vmm_cpuid_find(cpuid, 0xb, 0)->ebx, ==, 2);
        g_assert_cmpuint(vmm_cpuid_find(cpuid, 0xb, 1)->eax, ==, 3);
        g_assert_cmpuint(vmm_cpuid_find(cpuid, 0xb, 1)->ebx, ==, 6);
        g_assert_cmphex(vmm_cpuid_find(cpuid, 0xb, 1)->ecx, ==, 0x201);
        g_assert_cmpuint(vmm_cpuid_find(cpuid, 0xb, 2)->ebx, ==, 0);
        g_assert_cmpuint(vmm_cpuid_find(cpuid, 0xb, 1)->edx, ==, apic_id);
        g_assert_cmphex(vmm_cpuid_find(cpuid, 0x80000008, 0)->ecx, ==, 0x3005);
        g_assert_cmpuint(vmm_cpuid_find(cpuid, 0x8000001e, 0)->eax, ==, apic_id);
        g_assert_cmphex(vmm_cpuid_find(cpuid, 0x8000001e, 0)->ebx, ==,
                        0x100 | (apic_id & 7) >> 1 | apic_id >> 3 << 2);
        g_assert_cmpuint(vmm_cpuid_find(cpuid, 0x8000001e, 0)->ecx, ==, cpu / 6);
        g_assert_cmpuint(cache_sharers(cpuid, 0x4, 0), ==, 2);
        g_assert_cmpuint(cache_sharers(cpuid, 0x4, 3), ==, 8);
        g_assert_cmpuint(cache_sharers(cpuid, 0x8000001d, 3), ==, 8);
    }
    vmm_config_clear(&config);
}

/* A socket on two nodes: its cores share no cache. One CPU alone: nothing of threads. */
static void test_nodes(void)
{
    g_autofree struct kvm_cpuid2 *cpuid = make_cpuid();
    struct vmm_config config;

    parse(&config, "-m 256M -smp 4,sockets=1,cores=4 "
                   "-object memory-backend-memfd,id=a,size=128M,share=on "
                   "-object memory-backend-memfd,id=b,size=128M,share=on "
                   "-numa node,cpus=0-1,memdev=a -numa node,cpus=2-3,memdev=b");
    vmm_cpuid_set_topology(cpuid, &config, 2);
    g_assert_cmpuint(cache_sharers(cpuid, 0x4, 3), ==, 1);
    g_assert_cmpuint(cache_sharers(cpuid, 0x8000001d, 3), ==, 1);
    g_assert_true(vmm_cpuid_find(cpuid, 1, 0)->edx & 1u << 28);
    vmm_config_clear(&config);

    parse(&config, "-smp 1");
    vmm_cpuid_set_topology(cpuid, &config, 0);
    g_assert_false(vmm_cpuid_find(cpuid, 1, 0)->edx & 1u << 28);
    g_assert_cmpuint(vmm_cpuid_find(cpuid, 0xb, 1)->eax, ==, 0);
    vmm_config_clear(&config);
}

static void test_features(void)
{
    static const struct {
        const char *name;
        uint32_t function, bit;
    } known[] = {{"avx512f", 7, 16},        {"sse4.2", 1, 20},
                 {"sse4_2", 1, 20},         {"avx512_vnni", 7, 11},
                 {"INVTSC", 0x80000007, 8}, {"3dnowprefetch", 0x80000001, 8}};
    g_autofree struct kvm_cpuid2 *cpuid = make_cpuid();

    for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
        const struct vmm_cpu_feature *feature =
            vmm_cpu_feature_find(known[i].name, strlen(known[i].name));

        g_assert_nonnull(feature);
        g_assert_cmphex(feature->function, ==, known[i].function);
        g_assert_cmpuint(feature->bit, ==, known[i].bit);
    }
    g_assert_null(vmm_cpu_feature_find("avx512", 6));
    g_assert_null(vmm_cpu_feature_find("", 0));
    vmm_cpuid_clear(cpuid, vmm_cpu_feature_find("avx512f", 7));
    g_assert_cmphex(vmm_cpuid_find(cpuid, 7, 0)->ebx, ==, 0xfffeffff);
    vmm_cpuid_clear(cpuid, vmm_cpu_feature_find("xsaves", 6)); /* there is no such leaf */
    g_assert_true(vmm_cpuid_apply(cpuid, "-pmu", NULL));
    g_assert_false(vmm_cpuid_apply(cpuid, "+pmu", NULL));
    vmm_cpuid_find(cpuid, 4, 0)->function = 0xa;
    g_assert_true(vmm_cpuid_apply(cpuid, "+pmu", NULL));
    g_assert_true(vmm_cpuid_apply(cpuid, "-pmu", NULL));
    g_assert_cmphex(vmm_cpuid_find(cpuid, 0xa, 0)->eax, ==, 0);
    g_assert_false(vmm_cpuid_apply(cpuid, "-nonsense", NULL));
    vmm_cpuid_find(cpuid, 0x80000008, 0)->eax = 0x302e;
    g_assert_cmpuint(vmm_cpuid_address_bits(cpuid), ==, 46);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpuid/topology", test_topology);
    g_test_add_func("/cpuid/nodes", test_nodes);
    g_test_add_func("/cpuid/features", test_features);
    return g_test_run();
}
