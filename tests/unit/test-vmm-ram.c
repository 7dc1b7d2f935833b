/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's RAM: where nodes lie, what their files are, and what cannot be had. */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/cmdline.h"
#include "vmm/layout.h"
#include "vmm/ram.h"

static void configure(struct vmm_config *config, const char *line)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) argv = NULL;
    g_autofree char *whole = g_strconcat("vmm -kernel k ", line, NULL);
    int argc;

    g_assert_true(g_shell_parse_argv(whole, &argc, &argv, NULL));
    vmm_config_init(config);
    vmm_cmdline_parse(config, argc, argv, &error);
    g_assert_no_error(error);
}

/* Pages of a region that exist. */
static uint64_t n_present(const struct vu_shmem_region *region)
{
    struct stat st;

    g_assert_cmpint(fstat(region->fd, &st), ==, 0);
    return (uint64_t)st.st_blocks * 512 / 4096;
}

static void test_layout(void)
{
    static const struct vmm_ram_range expected[] = {
        {0, UINT64_C(1) << 30, 0},
        {UINT64_C(1) << 30, UINT64_C(2) << 30, 1},
        {VMM_HIGH_RAM, UINT64_C(2) << 30, 1},
        {VMM_HIGH_RAM + (UINT64_C(2) << 30), UINT64_C(1) << 30, 2},
    };
    g_autoptr(GError) error = NULL;
    struct vmm_config config;
    struct vmm_ram ram;

    configure(&config, "-object memory-backend-memfd,id=a,size=1G"
                       " -object memory-backend-memfd,id=b,size=4G"
                       " -object memory-backend-memfd,id=c,size=1G"
                       " -numa node,memdev=a -numa node,memdev=b -numa node,memdev=c");
    g_assert_true(vmm_ram_create(&ram, &config, &error));
    g_assert_cmpuint(ram.n_ranges, ==, G_N_ELEMENTS(expected));
    for (unsigned i = 0; i < ram.n_ranges; i++) {
        g_assert_cmpuint(ram.ranges[i].gpa, ==, expected[i].gpa);
        g_assert_cmpuint(ram.ranges[i].len, ==, expected[i].len);
        g_assert_cmpuint(ram.ranges[i].node, ==, expected[i].node);
        g_assert_cmpint(fcntl(ram.shmem.regions[i].fd, F_GET_SEALS), ==,
                        F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    }
    g_assert_cmpuint(ram.high_end, ==, VMM_HIGH_RAM + (UINT64_C(3) << 30));

    /* The two parts of node 1 are one file, and nothing of it exists before it is touched. */
    g_assert_cmpuint(n_present(&ram.shmem.regions[1]), ==, 0);
    strcpy(vmm_ram_at(&ram, VMM_HIGH_RAM, 8), "there");
    {
        char found[8] = "";

        g_assert_cmpint(pread(ram.shmem.regions[1].fd, found, 8, (off_t)2 << 30), ==, 8);
        g_assert_cmpstr(found, ==, "there");
    }
    g_assert_null(vmm_ram_at(&ram, VMM_LOW_RAM_END, 1));
    g_assert_null(vmm_ram_at(&ram, VMM_LOW_RAM_END - 1, 2));
    vmm_ram_destroy(&ram);
    vmm_config_clear(&config);
}

static void test_prealloc(void)
{
    g_autoptr(GError) error = NULL;
    struct vmm_config config;
    struct vmm_ram ram;

    configure(&config, "-object memory-backend-memfd,id=a,size=16M,prealloc=on,host-nodes=0,"
                       "policy=bind -numa node,memdev=a");
    g_assert_true(vmm_ram_create(&ram, &config, &error));
    g_assert_cmpuint(n_present(&ram.shmem.regions[0]), ==, (16 << 20) / 4096);
    vmm_ram_destroy(&ram);
    vmm_config_clear(&config);
}

static void test_files(void)
{
    g_autofree char *folder = g_dir_make_tmp("vmm-ram-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "ram", NULL);
    g_autofree char *in_folder = g_strdup_printf(
        "-object memory-backend-file,id=a,size=8M,share=on,mem-path=%s -numa node,memdev=a",
        folder);
    g_autofree char *in_file = g_strdup_printf(
        "-object memory-backend-file,id=a,size=8M,share=on,mem-path=%s -numa node,memdev=a", path);
    g_autoptr(GError) error = NULL;
    struct vmm_config config;
    struct vmm_ram ram;
    GStatBuf st;

    configure(&config, in_folder);
    g_assert_true(vmm_ram_create(&ram, &config, &error));
    vmm_ram_destroy(&ram);
    vmm_config_clear(&config);
    configure(&config, in_file);
    g_assert_true(vmm_ram_create(&ram, &config, &error));
    g_assert_cmpint(g_stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 8 << 20);
    vmm_ram_destroy(&ram);
    vmm_config_clear(&config);
    g_unlink(path);
    /* The file in the folder has no name left. */
    g_assert_cmpint(g_rmdir(folder), ==, 0);
}

#define HUGE_FREE "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"

static void test_huge(void)
{
    g_autofree char *free_pages = NULL;
    g_autoptr(GError) error = NULL;
    struct vmm_config config;
    struct vmm_ram ram;

    if (!g_file_get_contents(HUGE_FREE, &free_pages, NULL, NULL) ||
        g_ascii_strtoull(free_pages, NULL, 10) < 4) {
        g_test_skip("the host has no four huge pages of 2 MiB (vm.nr_hugepages)");
        return;
    }
    configure(&config, "-object memory-backend-memfd,id=a,size=8M,hugetlb=on,hugetlbsize=2M,"
                       "prealloc=on -numa node,memdev=a");
    vmm_ram_create(&ram, &config, &error);
    g_assert_no_error(error);
    *(uint8_t *)vmm_ram_at(&ram, (8 << 20) - 1, 1) = 1;
    g_assert_cmpint(ftruncate(ram.shmem.regions[0].fd, 0), ==, -1); /* sealed */
    vmm_ram_destroy(&ram);
    vmm_config_clear(&config);
}

static void test_refused(void)
{
    static const struct {
        const char *line, *says;
    } refused[] = {
        {"-object memory-backend-memfd,id=far,size=1M,host-nodes=62,policy=bind"
         " -numa node,memdev=far",
         "far: host-nodes"},
        {"-object memory-backend-file,id=dev,size=1M,mem-path=/dev/null,share=on"
         " -numa node,memdev=dev",
         "dev: /dev/null"},
        {"-object memory-backend-file,id=no,size=1M,mem-path=/nonexistent/x,share=on"
         " -numa node,memdev=no",
         "/nonexistent/x"},
        {"-object memory-backend-memfd,id=odd,size=3M,hugetlb=on,hugetlbsize=2M"
         " -numa node,memdev=odd",
         "odd"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_autoptr(GError) error = NULL;
        struct vmm_config config;
        struct vmm_ram ram;

        configure(&config, refused[i].line);
        g_assert_false(vmm_ram_create(&ram, &config, &error));
        g_assert_nonnull(strstr(error->message, refused[i].says));
        vmm_config_clear(&config);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmm/ram/layout", test_layout);
    g_test_add_func("/vmm/ram/prealloc", test_prealloc);
    g_test_add_func("/vmm/ram/files", test_files);
    g_test_add_func("/vmm/ram/huge", test_huge);
    g_test_add_func("/vmm/ram/refused", test_refused);
    return g_test_run();
}
