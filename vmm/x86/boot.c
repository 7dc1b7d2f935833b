/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading a guest: kernel, initrd, command line, tables, in this order. On the main thread, while
 * no vCPU runs.
 *
 * A bzImage unpacks itself, and places itself at random while it does so. Where the guest's kernel
 * is emulated that would take half a minute, and the ELF file in it is unpacked on this side.
 */
#include "vmm/x86/boot.h"

#include <errno.h>
#include <string.h>

#include "vmm/acpi-device.h"
#include "vmm/layout.h"
#include "vmm/machine.h"
#include "vmm/x86/acpi.h"
#include "vmm/x86/boot-bzimage.h"
#include "vmm/x86/boot-elf.h"
#include "vmm/x86/boot-layout.h"
#include "vmm/x86/boot-params.h"
#include "vmm/x86/boot-tables.h"
#include "vmm/x86/pvm.h"

#define BOOT_CMDLINE_MAX    2047u /* what an ELF kernel takes: Linux' own limit */
#define BOOT_INITRD_MAX_GPA VMM_LOW_RAM_END
#define BOOT_PAGE_SIZE      4096u

struct boot {
    const struct vmm_machine *machine;
    const struct vmm_image *kernel;
    struct vmm_bzimage bzimage;
    bool is_bzimage;
    uint64_t kernel_end;
    struct vmm_boot_info info;
    struct vmm_entry entry;
};

static bool boot_load_elf(struct boot *boot, const struct vmm_image *image, bool may_pvh,
                          GError **error)
{
    struct vmm_elf elf;

    if (!vmm_elf_load(image, &boot->machine->ram, &elf, error))
        return false;
    boot->kernel_end = elf.end_gpa;
    boot->entry.mode = elf.has_pvh && may_pvh ? VMM_ENTRY_PVH : VMM_ENTRY_64;
    boot->entry.rip = boot->entry.mode == VMM_ENTRY_PVH ? elf.pvh_entry : elf.entry;
    return true;
}

/* The ELF file within. *ret_done is false where its format is not known here. */
static bool boot_load_unpacked(struct boot *boot, bool *ret_done, GError **error)
{
    struct vmm_image unpacked = {.fd = -1};
    int rc = vmm_bzimage_unpack(boot->kernel, &boot->bzimage, &unpacked);
    bool ok;

    *ret_done = rc != -EOPNOTSUPP;
    if (!*ret_done)
        return true;
    if (rc < 0)
        return vmm_image_fail(boot->kernel, error, "its kernel cannot be unpacked: %s",
                              rc == -EBADMSG ? "damaged" : g_strerror(-rc));
    ok = boot_load_elf(boot, &unpacked, false, error);
    if (ok)
        vmm_pvm_trim_kernel(&unpacked, &boot->machine->ram);
    vmm_image_close(&unpacked);
    return ok;
}

static bool boot_load_bzimage(struct boot *boot, GError **error)
{
    bool is_done = false;

    if (!vmm_bzimage_read(boot->kernel, &boot->bzimage, error))
        return false;
    boot->is_bzimage = true;
    boot->info.header = &boot->bzimage.header;
    if (boot->machine->vm.is_pvm && !boot_load_unpacked(boot, &is_done, error))
        return false;
    boot->entry.mode = VMM_ENTRY_64;
    return is_done || vmm_bzimage_load(boot->kernel, &boot->bzimage, &boot->machine->ram,
                                       &boot->entry.rip, &boot->kernel_end, error);
}

static bool boot_load_kernel(struct boot *boot, GError **error)
{
    if (vmm_elf_is_one(boot->kernel))
        return boot_load_elf(boot, boot->kernel, true, error);
    if (vmm_bzimage_is_one(boot->kernel))
        return boot_load_bzimage(boot, error);
    return vmm_image_fail(boot->kernel, error,
                          "no kernel: expected a bzImage or an ELF file for x86-64");
}

/* The highest place below the limit that is one stretch of RAM and not the kernel's. 0: none. */
static uint64_t boot_find_initrd_place(const struct boot *boot, uint64_t len)
{
    uint64_t limit = BOOT_INITRD_MAX_GPA, best = 0;

    if (boot->is_bzimage && boot->bzimage.header.initrd_addr_max != 0)
        limit = MIN(limit, boot->bzimage.header.initrd_addr_max + 1ull);
    for (unsigned i = 0; i < boot->machine->ram.n_ranges; i++) {
        const struct vmm_ram_range *range = &boot->machine->ram.ranges[i];
        uint64_t begin = MAX(range->gpa, boot->kernel_end);
        uint64_t end = MIN(range->gpa + range->len, limit);

        if (begin < end && len <= end - begin) {
            uint64_t gpa = (end - len) & ~(uint64_t)(BOOT_PAGE_SIZE - 1);

            best = gpa >= begin ? MAX(best, gpa) : best;
        }
    }
    return best;
}

static bool boot_load_initrd(struct boot *boot, GError **error)
{
    const struct vmm_image *initrd = &boot->machine->files.initrd;
    int rc;

    if (initrd->path == NULL)
        return true;
    boot->info.initrd_len = initrd->len;
    boot->info.initrd_gpa = boot_find_initrd_place(boot, initrd->len);
    if (boot->info.initrd_gpa == 0)
        return vmm_image_fail(
            initrd, error, "%" G_GUINT64_FORMAT " MiB, which find no place in the guest's RAM (-m)",
            (initrd->len >> 20) + 1);
    rc = vmm_image_load(initrd, 0, initrd->len, &boot->machine->ram, boot->info.initrd_gpa,
                        initrd->len);
    return rc == 0 || vmm_image_fail(initrd, error, "%s", g_strerror(-rc));
}

static bool boot_write_cmdline(struct boot *boot, uint8_t *low, GError **error)
{
    const struct vmm_machine *machine = boot->machine;
    const char *append = machine->config.append != NULL ? machine->config.append : "";
    g_autofree char *extra = machine->vm.is_pvm ? vmm_pvm_kernel_args(&machine->vm) : g_strdup("");
    g_autofree char *line = g_strdup_printf("%s%s%s", extra, *extra != '\0' ? " " : "", append);
    uint64_t max = boot->is_bzimage ? boot->bzimage.header.cmdline_size : BOOT_CMDLINE_MAX;

    max = MIN(max, VMM_BOOT_CMDLINE_MAX - 1);
    if (strlen(line) > max) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "-append: %zu characters, this kernel takes at most %" G_GUINT64_FORMAT,
                    strlen(append), max - (strlen(line) - strlen(append)));
        return false;
    }
    boot->info.cmdline_gpa = VMM_BOOT_CMDLINE;
    memcpy(low + VMM_BOOT_CMDLINE, line, strlen(line) + 1);
    return true;
}

/*
 * Linux without EFI, on hardware-reduced ACPI, reboots by a jump to where a BIOS would begin: there
 * it is done for it.
 */
static void boot_write_bios(uint8_t *at)
{
    /* mov $VALUE, %al; mov $PORT, %dx; out %al, (%dx); hlt; jmp to the hlt */
    const uint16_t port = VMM_PORT_ACPI + VMM_ACPI_RESET;
    const uint8_t code[] = {
        0xb0, VMM_ACPI_RESET_VALUE, 0xba, (uint8_t)port, port >> 8, 0xee, 0xf4, 0xeb, 0xfd};

    memcpy(at, code, sizeof(code));
}

/* What lies in the first MiB. */
static bool boot_write_low(struct boot *boot, GError **error)
{
    uint8_t *low = vmm_ram_at(&boot->machine->ram, 0, VMM_BOOT_KERNEL_MIN);

    if (low == NULL) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "-m: the first node has less than 1 MiB");
        return false;
    }
    vmm_ram_clear(&boot->machine->ram, low, VMM_BOOT_KERNEL_MIN);
    if (!boot_write_cmdline(boot, low, error) ||
        !vmm_acpi_build(boot->machine, low + VMM_BOOT_ACPI, VMM_BOOT_ACPI_LEN, VMM_BOOT_ACPI,
                        error))
        return false;
    boot_write_bios(low + VMM_BOOT_BIOS);
    boot->info.rsdp_gpa = VMM_BOOT_ACPI;
    vmm_boot_fill_tables(low + VMM_BOOT_TABLES, VMM_BOOT_TABLES, boot->entry.mode == VMM_ENTRY_64);
    if (boot->entry.mode == VMM_ENTRY_64)
        vmm_boot_fill_params(low + VMM_BOOT_INFO, &boot->info);
    else
        vmm_boot_fill_start_info(low + VMM_BOOT_INFO, &boot->info);
    boot->entry.tables_gpa = VMM_BOOT_TABLES;
    boot->entry.info_gpa = VMM_BOOT_INFO;
    return true;
}

bool vmm_boot_open(struct vmm_boot_files *files, const struct vmm_config *config, GError **error)
{
    *files = (struct vmm_boot_files){{.fd = -1}, {.fd = -1}};
    return vmm_image_open(&files->kernel, "-kernel", config->kernel, error) &&
           (config->initrd == NULL ||
            vmm_image_open(&files->initrd, "-initrd", config->initrd, error));
}

void vmm_boot_close(struct vmm_boot_files *files)
{
    vmm_image_close(&files->kernel);
    vmm_image_close(&files->initrd);
}

bool vmm_boot_load(struct vmm_machine *machine, struct vmm_entry *ret_entry, GError **error)
{
    struct vmm_boot_files *files = &machine->files;
    struct boot boot = {.machine = machine, .kernel = &files->kernel, .info.ram = &machine->ram};

    if (!vmm_image_measure(&files->kernel, error) ||
        (files->initrd.path != NULL && !vmm_image_measure(&files->initrd, error)))
        return false;
    if (!boot_load_kernel(&boot, error) || !boot_load_initrd(&boot, error) ||
        !boot_write_low(&boot, error))
        return false;
    *ret_entry = boot.entry;
    return true;
}
