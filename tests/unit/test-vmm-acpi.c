/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables of several machines: every checksum, what stands in them, and what iasl makes of
 * them. It takes each table apart and the DSDT together again, without an error or a warning.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "vmm/acpi-device.h"
#include "vmm/cmdline.h"
#include "vmm/layout.h"
#include "vmm/machine.h"
#include "vmm/x86/acpi.h"

#define TABLES_GPA 0xe0000u
#define TABLES_LEN 0x20000u

struct tables {
    struct vmm_machine machine;
    uint8_t block[TABLES_LEN];
};

static uint64_t get(const uint8_t *at, unsigned len)
{
    uint64_t value_le = 0;

    memcpy(&value_le, at, len);
    return GUINT64_FROM_LE(value_le);
}

static uint8_t sum(const uint8_t *at, uint64_t len)
{
    uint8_t total = 0;

    while (len-- > 0)
        total = (uint8_t)(total + *at++);
    return total;
}

/* A machine without KVM and without RAM: where it would lie is known. */
static struct tables *tables_create(const char *line)
{
    struct tables *tables = g_new0(struct tables, 1);
    struct vmm_config *config = &tables->machine.config;
    g_autofree char *full = g_strconcat("vmm -kernel /dev/null ", line, NULL);
    g_auto(GStrv) argv = g_strsplit(full, " ", -1);
    g_autoptr(GError) error = NULL;
    uint64_t gpa = 0;

    vmm_config_init(config);
    g_assert_cmpint(vmm_cmdline_parse(config, (int)g_strv_length(argv), argv, &error), ==,
                    VMM_CMDLINE_RUN);
    for (unsigned i = 0; i < config->n_nodes; i++) {
        const struct vmm_memdev *memdev;

        if (!config->nodes[i].exists || config->nodes[i].memdev == NULL)
            continue;
        memdev = vmm_config_find_memdev(config, config->nodes[i].memdev);
        tables->machine.ram.ranges[tables->machine.ram.n_ranges++] =
            (struct vmm_ram_range){gpa, memdev->size, i};
        gpa += memdev->size;
    }
    tables->machine.ram.high_end = VMM_HIGH_RAM;
    g_assert_true(vmm_acpi_build(&tables->machine, tables->block, TABLES_LEN, TABLES_GPA, &error));
    return tables;
}

static void tables_destroy(struct tables *tables)
{
    vmm_config_clear(&tables->machine.config);
    g_free(tables);
}

static const uint8_t *table_at(const struct tables *tables, uint64_t gpa)
{
    const uint8_t *table = tables->block + (gpa - TABLES_GPA);

    g_assert_cmpuint(gpa, >=, TABLES_GPA);
    g_assert_cmpuint(gpa, <, TABLES_GPA + TABLES_LEN);
    g_assert_cmpuint(sum(table, get(table + 4, 4)), ==, 0);
    return table;
}

static const uint8_t *table_xsdt(const struct tables *tables)
{
    g_assert_true(memcmp(tables->block, "RSD PTR ", 8) == 0);
    g_assert_cmpuint(sum(tables->block, 20), ==, 0);
    g_assert_cmpuint(sum(tables->block, 36), ==, 0);
    return table_at(tables, get(tables->block + 24, 8));
}

/* NULL where it is not listed. */
static const uint8_t *table_find(const struct tables *tables, const char *signature)
{
    const uint8_t *xsdt = table_xsdt(tables);

    for (unsigned at = 36; at < get(xsdt + 4, 4); at += 8) {
        const uint8_t *table = table_at(tables, get(xsdt + at, 8));

        if (memcmp(table, signature, 4) == 0)
            return table;
    }
    return NULL;
}

/* Runs iasl in dir; it must succeed and say so in these words. */
static void run_iasl(const char *dir, const char *options, const char *file, const char *success)
{
    g_autofree char *line = g_strdup_printf("iasl %s %s", options, file);
    g_auto(GStrv) argv = g_strsplit(line, " ", -1);
    g_autofree char *out = NULL, *err = NULL, *all = NULL;
    g_autoptr(GError) error = NULL;
    int status;

    g_spawn_sync(dir, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err, &status, &error);
    g_assert_no_error(error);
    all = g_strconcat(out, err, NULL);
    if (status != 0 || strstr(all, success) == NULL || strstr(all, "Warning ") != NULL)
        g_error("%s: %s", line, all);
}

static void check_with_iasl(const uint8_t *table)
{
    g_autofree char *dir = g_dir_make_tmp("outboard-acpi-XXXXXX", NULL);
    g_autofree char *name = g_strdup_printf("%.4s", (const char *)table);
    g_autofree char *binary = g_strdup_printf("%s/%s.dat", dir, name);
    g_autofree char *source = g_strdup_printf("%s.dsl", name);
    g_autofree char *remove = g_strdup_printf("rm -rf %s", dir);

    g_assert_true(
        g_file_set_contents(binary, (const char *)table, (gssize)get(table + 4, 4), NULL));
    run_iasl(dir, "-d", binary, " bytes\n");
    run_iasl(dir, "-we -p again", source, " 0 Errors, 0 Warnings, 0 Remarks");
    g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL);
}

static const char *const lines[] = {
    "-m 1G -serial stdio",
    "-m 256M -serial none -smp 4,sockets=2,cores=2",
    "-m 2G -smp 4 -object memory-backend-memfd,id=m0,size=1G,share=on "
    "-object memory-backend-memfd,id=m1,size=1G,share=on -numa node,nodeid=0,cpus=0-1,memdev=m0 "
    "-numa node,nodeid=1,cpus=2-3,memdev=m1 -numa dist,src=0,dst=1,val=31",
    "-m 2G -smp 2 -object memory-backend-memfd,id=m0,size=1G,share=on "
    "-object memory-backend-memfd,id=m1,size=1G,share=on -numa node,nodeid=0,cpus=0-1,memdev=m0 "
    "-numa node,nodeid=1,memdev=m1,initiator=0 "
    "-numa hmat-lb,initiator=0,target=0,hierarchy=memory,data-type=access-latency,latency=10 "
    "-numa hmat-lb,initiator=0,target=1,hierarchy=memory,data-type=access-latency,latency=200000 "
    "-numa hmat-lb,initiator=0,target=1,hierarchy=memory,data-type=access-bandwidth,bandwidth=10G "
    "-numa hmat-cache,node-id=1,size=64M,level=1,associativity=direct,policy=write-back,line=128 "
    "-numa hmat-cache,node-id=1,size=1G,level=2,associativity=complex,policy=write-through,line=64",
    "-m 2G -smp 2 -numa node -numa node -chardev socket,id=c,path=/c -chardev socket,id=d,path=/d "
    "-device pxb-pcie,id=pcie.1,bus_nr=64,numa_node=1,bus=pcie.0 -device pxb-pcie,id=pcie.2 "
    "-device vhost-user-rng,chardev=c,bus=pcie.1 -device vhost-user-rng,chardev=d,numa_node=0",
};

static void test_iasl(void)
{
    g_autofree char *iasl = g_find_program_in_path("iasl");

    if (iasl == NULL) {
        g_test_skip("iasl is missing (contrib/install-deps test)");
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        struct tables *tables = tables_create(lines[i]);
        const uint8_t *xsdt = table_xsdt(tables);

        check_with_iasl(table_at(tables, get(table_find(tables, "FACP") + 140, 8)));
        for (unsigned at = 36; at < get(xsdt + 4, 4); at += 8)
            check_with_iasl(table_at(tables, get(xsdt + at, 8)));
        tables_destroy(tables);
    }
}

static void test_numa(void)
{
    struct tables *tables = tables_create(lines[2]);
    const uint8_t *slit = table_find(tables, "SLIT"), *srat = table_find(tables, "SRAT");
    const uint8_t *at = srat + 48;

    g_assert_cmpuint(get(slit + 36, 8), ==, 2);
    g_assert_true(memcmp(slit + 44, "\x0a\x1f\x1f\x0a", 4) == 0);
    for (unsigned i = 0; i < 4; i++, at += 16) {
        g_assert_cmpuint(at[0], ==, 0);
        g_assert_cmpuint(at[2], ==, i / 2);
        g_assert_cmpuint(at[3], ==, i);
    }
    for (unsigned i = 0; i < 2; i++, at += 40) {
        g_assert_cmpuint(at[0], ==, 1);
        g_assert_cmpuint(get(at + 2, 4), ==, i);
        g_assert_cmpuint(get(at + 8, 8), ==, (uint64_t)i << 30);
        g_assert_cmpuint(get(at + 16, 8), ==, 1u << 30);
    }
    g_assert_true(at == srat + get(srat + 4, 4));
    g_assert_null(table_find(tables, "HMAT"));
    tables_destroy(tables);
}

/* Memory that is slower: 200 us, in units of which there are few enough, and 10 GiB/s. */
static void test_hmat(void)
{
    struct tables *tables = tables_create(lines[3]);
    const uint8_t *hmat = table_find(tables, "HMAT"), *at = hmat + 40;

    for (unsigned i = 0; i < 2; i++, at += 40) {
        g_assert_cmpuint(get(at, 2), ==, 0);
        g_assert_cmpuint(get(at + 8, 2), ==, i); /* has an initiator */
        g_assert_cmpuint(get(at + 16, 4), ==, i);
    }
    g_assert_cmpuint(get(at, 2), ==, 1);
    g_assert_cmpuint(get(at + 12, 4), ==, 1);
    g_assert_cmpuint(get(at + 16, 4), ==, 2);
    g_assert_cmpuint(get(at + 24, 8), ==, 4000); /* picoseconds */
    g_assert_cmpuint(get(at + 44, 2), ==, 3);    /* rounded up: 0 is "not said" */
    g_assert_cmpuint(get(at + 46, 2), ==, 50000);
    at += get(at + 4, 4);
    g_assert_cmpuint(at[9], ==, 3);
    g_assert_cmpuint(get(at + 40, 2), ==, 10737);
    at += get(at + 4, 4);
    g_assert_cmpuint(get(at, 2), ==, 2);
    g_assert_cmpuint(get(at + 8, 4), ==, 1);
    g_assert_cmpuint(get(at + 16, 8), ==, 64 << 20);
    g_assert_cmphex(get(at + 24, 4), ==, 0x00801112);
    at += get(at + 4, 4);
    g_assert_cmphex(get(at + 24, 4), ==, 0x00402222);
    g_assert_true(at + get(at + 4, 4) == hmat + get(hmat + 4, 4));
    tables_destroy(tables);
}

/* Registers of a machine without the hardware that ACPI once was about. */
static void test_fixed(void)
{
    struct tables *tables = tables_create(lines[0]);
    const uint8_t *fadt = table_find(tables, "FACP"), *mcfg = table_find(tables, "MCFG");

    g_assert_cmpuint(get(fadt + 4, 4), ==, 276);
    g_assert_cmpuint(get(fadt + 112, 4) & (1u << 20 | 1u << 10), ==, 1u << 20 | 1u << 10);
    g_assert_cmpuint(get(fadt + 120, 8), ==, VMM_PORT_ACPI);
    g_assert_cmpuint(get(fadt + 248, 8), ==, VMM_PORT_ACPI + 1);
    g_assert_cmpuint(get(mcfg + 44, 8), ==, VMM_ECAM);
    tables_destroy(tables);
}

/* How often these bytes are in the DSDT. */
static unsigned dsdt_count(const struct tables *tables, const char *bytes, unsigned len)
{
    const uint8_t *dsdt = table_at(tables, get(table_find(tables, "FACP") + 140, 8));
    unsigned n = 0;

    for (unsigned at = 0; at + len <= get(dsdt + 4, 4); at++)
        n += memcmp(dsdt + at, bytes, len) == 0;
    return n;
}

/* A host bridge for each node that devices are near to, with a bus that the MCFG has. */
static void test_bridges(void)
{
    struct tables *tables = tables_create(lines[4]);

    g_assert_cmpuint(tables->machine.config.bridges->len, ==, 4);
    g_assert_cmpuint(get(table_find(tables, "MCFG") + 54, 2), ==, 64 << 8);
    g_assert_cmpuint(dsdt_count(tables, "_PXM", 4), ==, 2);
    g_assert_cmpuint(dsdt_count(tables, "_BBN\x00\x08_CRS", 10), ==, 1);
    g_assert_cmpuint(dsdt_count(tables, "_BBN\x0a\x40\x08_PXM\x01", 12), ==, 1);
    g_assert_cmpuint(dsdt_count(tables, "_BBN\x0a\x08\x08_CRS", 11), ==, 1);
    g_assert_cmpuint(dsdt_count(tables, "_BBN\x0a\x10\x08_PXM\x00", 12), ==, 1);
    tables_destroy(tables);

    tables = tables_create(lines[2]);
    g_assert_cmpuint(dsdt_count(tables, "_BBN", 4), ==, 1);
    g_assert_cmpuint(dsdt_count(tables, "_PXM", 4), ==, 0);
    tables_destroy(tables);

    /* Of one node alone it needs no other. */
    tables = tables_create(lines[0]);
    g_assert_cmpuint(dsdt_count(tables, "_BBN\x00\x08_PXM\x00", 11), ==, 1);
    tables_destroy(tables);
}

/* --- registers --- */

static uint32_t reg_read(struct vmm_machine *machine, unsigned offset)
{
    return (uint32_t)vmm_bus_read(&machine->ports, VMM_PORT_ACPI + offset, 4);
}

static void reg_write(struct vmm_machine *machine, unsigned offset, uint32_t value)
{
    vmm_bus_write(&machine->ports, VMM_PORT_ACPI + offset, 4, value);
}

static void on_eject(void *opaque, unsigned bridge, uint32_t slots)
{
    uint32_t *ejected = opaque;

    ejected[bridge] |= slots;
}

/* Each bridge has slots of its own. */
static void test_slots(void)
{
    const unsigned last = VMM_ACPI_BRIDGES + (VMM_MAX_BRIDGES - 1) * VMM_ACPI_BRIDGE_LEN;
    struct tables *tables = tables_create(lines[0]);
    struct vmm_machine *machine = &tables->machine;
    uint32_t ejected[VMM_MAX_BRIDGES] = {0};

    vmm_bus_init(&machine->ports);
    machine->vm.fd = -1;
    g_assert_true(vmm_acpi_device_create(machine, NULL));
    vmm_acpi_set_eject(machine->acpi, on_eject, ejected);
    vmm_acpi_slot_up(machine->acpi, 0, 5);
    vmm_acpi_slot_up(machine->acpi, VMM_MAX_BRIDGES - 1, 0);
    vmm_acpi_slot_down(machine->acpi, VMM_MAX_BRIDGES - 1, 31);
    g_assert_cmphex(reg_read(machine, VMM_ACPI_EVENTS), ==, VMM_ACPI_SLOTS);
    g_assert_cmphex(reg_read(machine, VMM_ACPI_BRIDGES), ==, 1 << 5);
    g_assert_cmphex(reg_read(machine, VMM_ACPI_BRIDGES + VMM_ACPI_SLOTS_DOWN), ==, 0);
    g_assert_cmphex(reg_read(machine, last), ==, 1);
    g_assert_cmphex(reg_read(machine, last + VMM_ACPI_SLOTS_DOWN), ==, 1u << 31);
    g_assert_cmphex(reg_read(machine, last - VMM_ACPI_BRIDGE_LEN), ==, 0);
    reg_write(machine, last + VMM_ACPI_SLOTS_DOWN, UINT32_MAX);
    reg_write(machine, last + VMM_ACPI_EJECT, 1u << 31);
    g_assert_cmphex(reg_read(machine, last + VMM_ACPI_SLOTS_DOWN), ==, 0);
    g_assert_cmphex(reg_read(machine, last), ==, 1);
    g_assert_cmphex(ejected[VMM_MAX_BRIDGES - 1], ==, 1u << 31);
    g_assert_cmphex(ejected[0], ==, 0);
    vmm_acpi_device_reset(machine->acpi);
    g_assert_cmphex(reg_read(machine, VMM_ACPI_BRIDGES) | reg_read(machine, last), ==, 0);
    vmm_acpi_device_destroy(machine->acpi);
    vmm_bus_finish(&machine->ports);
    tables_destroy(tables);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/acpi/fixed", test_fixed);
    g_test_add_func("/acpi/numa", test_numa);
    g_test_add_func("/acpi/hmat", test_hmat);
    g_test_add_func("/acpi/bridges", test_bridges);
    g_test_add_func("/acpi/slots", test_slots);
    g_test_add_func("/acpi/iasl", test_iasl);
    return g_test_run();
}
