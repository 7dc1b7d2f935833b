/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel from anywhere: the input is the file that vmm is given. It is loaded into a small
 * guest's RAM, as it is and (where KVM cannot run its ring 0) unpacked here, and looked through for
 * its symbols. Nothing outside of that RAM is touched; what is loaded is entered inside of it.
 */
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhost-user/log.h"
#include "vmm/machine.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/kallsyms.h"

#define FUZZ_RAM_LEN (20u << 20) /* kernels of our corpus are for 16 MiB */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fuzz_fd = -1;
static struct vmm_machine fuzz_machine;

static void fuzz_init(void)
{
    static const struct vmm_ram_range range = {.gpa = 0, .len = FUZZ_RAM_LEN};

    vu_log_set_level(VU_LOG_OFF);
    fuzz_fd = memfd_create("fuzz-kernel", MFD_CLOEXEC);
    vmm_config_init(&fuzz_machine.config);
    fuzz_machine.config.kernel = g_strdup_printf("/proc/self/fd/%d", fuzz_fd);
    fuzz_machine.config.initrd = g_strdup(fuzz_machine.config.kernel);
    fuzz_machine.config.smp = (struct vmm_topology){1, 1, 1, 1, 1};
    vu_shmem_init(&fuzz_machine.ram.shmem);
    g_assert_cmpint(vu_shmem_add(&fuzz_machine.ram.shmem, 0, FUZZ_RAM_LEN), ==, 0);
    fuzz_machine.ram.ranges[0] = range;
    fuzz_machine.ram.n_ranges = 1;
    fuzz_machine.ram.high_end = 1ull << 32;
    fuzz_machine.vm.fd = -1;
}

static void fuzz_load(bool is_pvm)
{
    g_autoptr(GError) error = NULL;
    struct vmm_entry entry;
    bool ok;

    fuzz_machine.vm.is_pvm = is_pvm;
    ok = vmm_boot_open(&fuzz_machine.files, &fuzz_machine.config, &error) &&
         vmm_boot_load(&fuzz_machine, &entry, &error);
    g_assert_true(ok == (error == NULL));
    if (ok)
        g_assert_nonnull(vmm_ram_at(&fuzz_machine.ram, entry.info_gpa, 1));
    vmm_boot_close(&fuzz_machine.files);
}

static void fuzz_symbol(void *opaque, const char *name, uint64_t address)
{
    size_t *total = opaque;

    *total += strlen(name);
}

/* On the heap, where one byte too many is noticed. */
static void fuzz_symbols(const uint8_t *data, size_t size)
{
    g_autofree uint8_t *bytes = g_memdup2(data, size);
    size_t total = 0;

    if (bytes)
        vmm_kallsyms_foreach(bytes, size, fuzz_symbol, &total);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (fuzz_fd < 0)
        fuzz_init();
    if (ftruncate(fuzz_fd, 0) < 0 || pwrite(fuzz_fd, data, size, 0) != (ssize_t)size)
        return 0;
    fuzz_load(false);
    fuzz_load(true);
    fuzz_symbols(data, size);
    return 0;
}
