/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structures of boot-params.h. Linux Documentation/arch/x86/boot.rst and zero-page.rst; Xen
 * public/arch-x86/hvm/start_info.h for PVH, whose layout is
 *
 *   offset  size
 *   0       4     magic
 *   4       4     version 1
 *   8       4     flags
 *   12      4     modules
 *   16      8     address of the modules' list: 32 bytes each: address, length, command line, 0
 *   24      8     address of the command line
 *   32      8     address of the RSDP
 *   40      8     address of the memory map: 24 bytes each: address, length, type, 0
 *   48      4     entries of the memory map
 *   52      4     0
 */
#include "vmm/x86/boot-params.h"

#include <endian.h>
#include <string.h>
#include <sys/random.h>

#include "vhost-user/wire.h"
#include "vmm/layout.h"
#include "vmm/x86/boot-layout.h"

#define PARAMS_LOADER_UNKNOWN 0xff
#define PARAMS_BOOT_FLAG      0xaa55
#define PARAMS_HEADER_MAGIC   0x53726448u /* "HdrS" */
#define PARAMS_VERSION        0x020c
#define PARAMS_ALIGN          0x200000u

#define PARAMS_SEED_AT        0x1000 /* from the block's beginning */
#define PARAMS_SEED_LEN       32

#define START_INFO_MAGIC      0x336ec578u
#define START_INFO_MODULE     0x100 /* from the block's beginning */
#define START_INFO_RANGES     0x200
#define START_INFO_VERSION    1

/* --- the memory map --- */

#define MAP_MAX_RANGES (VU_SHMEM_MAX_REGIONS + 4)

enum map_range_type { MAP_RAM = 1, MAP_RESERVED = 2 }; /* in both structures */

struct map_range {
    uint64_t gpa, len;
    enum map_range_type type;
};

static void map_add(struct map_range *ranges, unsigned *n, uint64_t gpa, uint64_t end,
                    enum map_range_type type)
{
    if (gpa < end)
        ranges[(*n)++] = (struct map_range){gpa, end - gpa, type};
}

/* Returns how many there are. */
static unsigned map_fill(const struct vmm_ram *ram, struct map_range ranges[static MAP_MAX_RANGES])
{
    unsigned n = 0;

    /* The first region begins at 0 and is the only one below 1 MiB; ours are sorted. */
    map_add(ranges, &n, 0, VMM_BOOT_LOW_END, MAP_RAM);
    map_add(ranges, &n, VMM_BOOT_LOW_END, VMM_BOOT_KERNEL_MIN, MAP_RESERVED);
    for (unsigned i = 0; i < ram->n_ranges; i++)
        map_add(ranges, &n, MAX(ram->ranges[i].gpa, VMM_BOOT_KERNEL_MIN),
                ram->ranges[i].gpa + ram->ranges[i].len, MAP_RAM);
    map_add(ranges, &n, VMM_ECAM, VMM_ECAM + VMM_ECAM_LEN, MAP_RESERVED);
    return n;
}

/* --- boot_params --- */

G_STATIC_ASSERT(sizeof(struct boot_params) <= PARAMS_SEED_AT);
G_STATIC_ASSERT(PARAMS_SEED_AT + sizeof(struct setup_data) + PARAMS_SEED_LEN <= VMM_BOOT_INFO_LEN);
G_STATIC_ASSERT(MAP_MAX_RANGES <= E820_MAX_ENTRIES_ZEROPAGE);

/* A header such as a bzImage would have had. */
static void params_make_header(struct setup_header *header)
{
    header->boot_flag = PARAMS_BOOT_FLAG;
    header->header = PARAMS_HEADER_MAGIC;
    header->version = PARAMS_VERSION;
    header->kernel_alignment = PARAMS_ALIGN;
    header->loadflags = LOADED_HIGH;
}

/* Entropy to begin with: a guest has little of its own so early. */
static void params_add_seed(uint8_t *block, struct setup_header *header)
{
    struct setup_data data = {.type = SETUP_RNG_SEED, .len = PARAMS_SEED_LEN};
    uint8_t seed[PARAMS_SEED_LEN];

    if (getrandom(seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
        return;
    memcpy(block + PARAMS_SEED_AT, &data, sizeof(data));
    memcpy(block + PARAMS_SEED_AT + sizeof(data), seed, sizeof(seed));
    header->setup_data = VMM_BOOT_INFO + PARAMS_SEED_AT;
}

void vmm_boot_fill_params(uint8_t *block, const struct vmm_boot_info *info)
{
    struct boot_params params = {0};
    struct map_range ranges[MAP_MAX_RANGES];
    unsigned n_ranges = map_fill(info->ram, ranges);

    if (info->header != NULL)
        params.hdr = *info->header;
    else
        params_make_header(&params.hdr);
    params.hdr.type_of_loader = PARAMS_LOADER_UNKNOWN;
    params.hdr.cmd_line_ptr = (uint32_t)info->cmdline_gpa;
    params.hdr.ramdisk_image = (uint32_t)info->initrd_gpa;
    params.hdr.ramdisk_size = (uint32_t)info->initrd_len;
    params.ext_cmd_line_ptr = (uint32_t)(info->cmdline_gpa >> 32);
    params.ext_ramdisk_image = (uint32_t)(info->initrd_gpa >> 32);
    params.ext_ramdisk_size = (uint32_t)(info->initrd_len >> 32);
    params.acpi_rsdp_addr = info->rsdp_gpa;
    for (unsigned i = 0; i < n_ranges; i++)
        params.e820_table[i] =
            (struct boot_e820_entry){ranges[i].gpa, ranges[i].len, ranges[i].type};
    params.e820_entries = (uint8_t)n_ranges;
    memset(block, 0, VMM_BOOT_INFO_LEN);
    params_add_seed(block, &params.hdr);
    memcpy(block, &params, sizeof(params));
}

/* --- hvm_start_info --- */

struct start_info {
    le32_t magic, version, flags, n_modules;
    le64_t modules, cmdline, rsdp, ranges;
    le32_t n_ranges, reserved;
};
G_STATIC_ASSERT(sizeof(struct start_info) == 56);

struct start_info_module {
    le64_t gpa, len, cmdline, reserved;
};
G_STATIC_ASSERT(sizeof(struct start_info_module) == 32);

struct start_info_range {
    le64_t gpa, len;
    le32_t type, reserved;
};
G_STATIC_ASSERT(sizeof(struct start_info_range) == 24);
G_STATIC_ASSERT(START_INFO_RANGES + MAP_MAX_RANGES * sizeof(struct start_info_range) <=
                VMM_BOOT_INFO_LEN);

void vmm_boot_fill_start_info(uint8_t *block, const struct vmm_boot_info *info)
{
    struct map_range ranges[MAP_MAX_RANGES];
    unsigned n_ranges = map_fill(info->ram, ranges);
    struct start_info start = {
        .magic = le32_from(START_INFO_MAGIC),
        .version = le32_from(START_INFO_VERSION),
        .n_modules = le32_from(info->initrd_len != 0),
        .modules = le64_from(VMM_BOOT_INFO + START_INFO_MODULE),
        .cmdline = le64_from(info->cmdline_gpa),
        .rsdp = le64_from(info->rsdp_gpa),
        .ranges = le64_from(VMM_BOOT_INFO + START_INFO_RANGES),
        .n_ranges = le32_from(n_ranges),
    };
    struct start_info_module module = {
        .gpa = le64_from(info->initrd_gpa),
        .len = le64_from(info->initrd_len),
    };

    memset(block, 0, VMM_BOOT_INFO_LEN);
    memcpy(block, &start, sizeof(start));
    memcpy(block + START_INFO_MODULE, &module, sizeof(module));
    for (unsigned i = 0; i < n_ranges; i++) {
        struct start_info_range range = {
            .gpa = le64_from(ranges[i].gpa),
            .len = le64_from(ranges[i].len),
            .type = le32_from(ranges[i].type),
        };

        memcpy(block + START_INFO_RANGES + i * sizeof(range), &range, sizeof(range));
    }
}
