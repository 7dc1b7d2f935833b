/* SPDX-License-Identifier: Apache-2.0 */
/* The table of CPU features. Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E. */
#include "vmm/x86/cpu-features.h"

#include <glib.h>
#include <string.h>

/* clang-format off */
static const struct vmm_cpu_feature cpu_features[] = {
    {"pni", 0x1, 0, VMM_ECX, 0}, {"sse3", 0x1, 0, VMM_ECX, 0}, {"pclmulqdq", 0x1, 0, VMM_ECX, 1},
    {"ssse3", 0x1, 0, VMM_ECX, 9}, {"fma", 0x1, 0, VMM_ECX, 12}, {"cx16", 0x1, 0, VMM_ECX, 13},
    {"pcid", 0x1, 0, VMM_ECX, 17}, {"sse4-1", 0x1, 0, VMM_ECX, 19}, {"sse4-2", 0x1, 0, VMM_ECX, 20},
    {"x2apic", 0x1, 0, VMM_ECX, 21}, {"movbe", 0x1, 0, VMM_ECX, 22}, {"popcnt", 0x1, 0, VMM_ECX, 23},
    {"tsc-deadline", 0x1, 0, VMM_ECX, 24}, {"aes", 0x1, 0, VMM_ECX, 25}, {"xsave", 0x1, 0, VMM_ECX, 26},
    {"avx", 0x1, 0, VMM_ECX, 28}, {"f16c", 0x1, 0, VMM_ECX, 29}, {"rdrand", 0x1, 0, VMM_ECX, 30},
    {"hypervisor", 0x1, 0, VMM_ECX, 31},
    {"fpu", 0x1, 0, VMM_EDX, 0}, {"vme", 0x1, 0, VMM_EDX, 1}, {"pse", 0x1, 0, VMM_EDX, 3},
    {"tsc", 0x1, 0, VMM_EDX, 4}, {"mce", 0x1, 0, VMM_EDX, 7}, {"sep", 0x1, 0, VMM_EDX, 11},
    {"mtrr", 0x1, 0, VMM_EDX, 12}, {"pge", 0x1, 0, VMM_EDX, 13}, {"mca", 0x1, 0, VMM_EDX, 14},
    {"pat", 0x1, 0, VMM_EDX, 16}, {"clflush", 0x1, 0, VMM_EDX, 19}, {"mmx", 0x1, 0, VMM_EDX, 23},
    {"fxsr", 0x1, 0, VMM_EDX, 24}, {"sse", 0x1, 0, VMM_EDX, 25}, {"sse2", 0x1, 0, VMM_EDX, 26},
    {"arat", 0x6, 0, VMM_EAX, 2},
    {"fsgsbase", 0x7, 0, VMM_EBX, 0}, {"tsc-adjust", 0x7, 0, VMM_EBX, 1}, {"bmi1", 0x7, 0, VMM_EBX, 3},
    {"hle", 0x7, 0, VMM_EBX, 4}, {"avx2", 0x7, 0, VMM_EBX, 5}, {"smep", 0x7, 0, VMM_EBX, 7},
    {"bmi2", 0x7, 0, VMM_EBX, 8}, {"erms", 0x7, 0, VMM_EBX, 9}, {"invpcid", 0x7, 0, VMM_EBX, 10},
    {"rtm", 0x7, 0, VMM_EBX, 11}, {"mpx", 0x7, 0, VMM_EBX, 14}, {"avx512f", 0x7, 0, VMM_EBX, 16},
    {"avx512dq", 0x7, 0, VMM_EBX, 17}, {"rdseed", 0x7, 0, VMM_EBX, 18}, {"adx", 0x7, 0, VMM_EBX, 19},
    {"smap", 0x7, 0, VMM_EBX, 20}, {"avx512ifma", 0x7, 0, VMM_EBX, 21},
    {"clflushopt", 0x7, 0, VMM_EBX, 23}, {"clwb", 0x7, 0, VMM_EBX, 24},
    {"avx512cd", 0x7, 0, VMM_EBX, 28}, {"sha-ni", 0x7, 0, VMM_EBX, 29},
    {"avx512bw", 0x7, 0, VMM_EBX, 30}, {"avx512vl", 0x7, 0, VMM_EBX, 31},
    {"avx512vbmi", 0x7, 0, VMM_ECX, 1}, {"umip", 0x7, 0, VMM_ECX, 2}, {"pku", 0x7, 0, VMM_ECX, 3},
    {"avx512-vbmi2", 0x7, 0, VMM_ECX, 6}, {"gfni", 0x7, 0, VMM_ECX, 8}, {"vaes", 0x7, 0, VMM_ECX, 9},
    {"vpclmulqdq", 0x7, 0, VMM_ECX, 10}, {"avx512-vnni", 0x7, 0, VMM_ECX, 11},
    {"avx512-bitalg", 0x7, 0, VMM_ECX, 12}, {"avx512-vpopcntdq", 0x7, 0, VMM_ECX, 14},
    {"la57", 0x7, 0, VMM_ECX, 16}, {"rdpid", 0x7, 0, VMM_ECX, 22},
    {"movdiri", 0x7, 0, VMM_ECX, 27}, {"movdir64b", 0x7, 0, VMM_ECX, 28},
    {"fsrm", 0x7, 0, VMM_EDX, 4}, {"avx512-vp2intersect", 0x7, 0, VMM_EDX, 8},
    {"md-clear", 0x7, 0, VMM_EDX, 10}, {"serialize", 0x7, 0, VMM_EDX, 14},
    {"amx-bf16", 0x7, 0, VMM_EDX, 22}, {"avx512-fp16", 0x7, 0, VMM_EDX, 23},
    {"amx-tile", 0x7, 0, VMM_EDX, 24}, {"amx-int8", 0x7, 0, VMM_EDX, 25},
    {"spec-ctrl", 0x7, 0, VMM_EDX, 26}, {"stibp", 0x7, 0, VMM_EDX, 27},
    {"arch-capabilities", 0x7, 0, VMM_EDX, 29}, {"ssbd", 0x7, 0, VMM_EDX, 31},
    {"avx-vnni", 0x7, 1, VMM_EAX, 4}, {"avx512-bf16", 0x7, 1, VMM_EAX, 5},
    {"xsaveopt", 0xd, 1, VMM_EAX, 0}, {"xsavec", 0xd, 1, VMM_EAX, 1},
    {"xgetbv1", 0xd, 1, VMM_EAX, 2}, {"xsaves", 0xd, 1, VMM_EAX, 3},
    {"kvmclock", 0x40000001, 0, VMM_EAX, 3}, {"kvm-asyncpf", 0x40000001, 0, VMM_EAX, 4},
    {"kvm-steal-time", 0x40000001, 0, VMM_EAX, 5}, {"kvm-pv-eoi", 0x40000001, 0, VMM_EAX, 6},
    {"lahf-lm", 0x80000001, 0, VMM_ECX, 0}, {"svm", 0x80000001, 0, VMM_ECX, 2},
    {"abm", 0x80000001, 0, VMM_ECX, 5}, {"sse4a", 0x80000001, 0, VMM_ECX, 6},
    {"misalignsse", 0x80000001, 0, VMM_ECX, 7}, {"3dnowprefetch", 0x80000001, 0, VMM_ECX, 8},
    {"topoext", 0x80000001, 0, VMM_ECX, 22}, {"perfctr-core", 0x80000001, 0, VMM_ECX, 23},
    {"syscall", 0x80000001, 0, VMM_EDX, 11}, {"nx", 0x80000001, 0, VMM_EDX, 20},
    {"mmxext", 0x80000001, 0, VMM_EDX, 22}, {"pdpe1gb", 0x80000001, 0, VMM_EDX, 26},
    {"rdtscp", 0x80000001, 0, VMM_EDX, 27}, {"lm", 0x80000001, 0, VMM_EDX, 29},
    {"invtsc", 0x80000007, 0, VMM_EDX, 8},
    {"clzero", 0x80000008, 0, VMM_EBX, 0}, {"ibpb", 0x80000008, 0, VMM_EBX, 12},
    {"amd-ssbd", 0x80000008, 0, VMM_EBX, 24},
    {"vmx", 0x1, 0, VMM_ECX, 5},
};
/* clang-format on */

static char cpu_feature_fold(char c)
{
    return c == '_' || c == '.' ? '-' : g_ascii_tolower(c);
}

static bool cpu_feature_is_called(const char *own, const char *name, size_t name_len)
{
    size_t i;

    for (i = 0; i < name_len && own[i] != '\0'; i++)
        if (own[i] != cpu_feature_fold(name[i]))
            return false;
    return i == name_len && own[i] == '\0';
}

const struct vmm_cpu_feature *vmm_cpu_feature_find(const char *name, size_t name_len)
{
    for (size_t i = 0; i < G_N_ELEMENTS(cpu_features); i++)
        if (cpu_feature_is_called(cpu_features[i].name, name, name_len))
            return &cpu_features[i];
    return NULL;
}
