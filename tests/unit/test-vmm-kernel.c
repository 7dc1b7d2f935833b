/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels as vmm loads them, without KVM: bzImages packed in every format, ELF files, and files
 * that are no kernels or lie about themselves. Each of those ends with a message, and nothing
 * outside of the guest's RAM is touched (the sanitizers see to that).
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "vmm/machine.h"
#include "vmm/x86/boot-bzimage.h"
#include "vmm/x86/boot-decompress.h"
#include "vmm/x86/boot-layout.h"
#include "vmm/x86/boot-params.h"
#include "vmm/x86/boot.h"

#define RAM_LEN    (32u << 20)
#define KERNEL_GPA 0x1000000u
#define SETUP_LEN  1024u /* two sectors of set-up, the first of which is the header's */
#define BODY_LEN   4096u

struct fixture {
    struct vmm_machine machine;
    char *path;
};

static void fixture_init(struct fixture *fixture)
{
    static const struct vmm_ram_range range = {.gpa = 0, .len = RAM_LEN};
    int fd = g_file_open_tmp("outboard-kernel-XXXXXX", &fixture->path, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    memset(&fixture->machine, 0, sizeof(fixture->machine));
    vmm_config_init(&fixture->machine.config);
    fixture->machine.config.kernel = g_strdup(fixture->path);
    fixture->machine.config.smp = (struct vmm_topology){1, 1, 1, 1, 1};
    vu_shmem_init(&fixture->machine.ram.shmem);
    g_assert_cmpint(vu_shmem_add(&fixture->machine.ram.shmem, 0, RAM_LEN), ==, 0);
    fixture->machine.ram.ranges[0] = range;
    fixture->machine.ram.n_ranges = 1;
    fixture->machine.ram.high_end = 1ull << 32;
}

static void fixture_clear(struct fixture *fixture)
{
    g_unlink(fixture->path);
    g_free(fixture->path);
    vu_shmem_clear(&fixture->machine.ram.shmem);
    vmm_config_clear(&fixture->machine.config);
}

static void *ram_at(struct fixture *fixture, uint64_t gpa)
{
    return vu_shmem_at(&fixture->machine.ram.shmem, gpa, 1);
}

/* Loads what is in bytes; the error's text, or NULL. */
static char *load(struct fixture *fixture, const void *bytes, size_t len, struct vmm_entry *entry)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(g_file_set_contents(fixture->path, bytes, (gssize)len, NULL));
    if (vmm_boot_open(&fixture->machine.files, &fixture->machine.config, &error))
        vmm_boot_load(&fixture->machine, entry, &error);
    vmm_boot_close(&fixture->machine.files);
    return error ? g_strdup(error->message) : NULL;
}

static void assert_refused(const void *bytes, size_t len, const char *why)
{
    struct fixture fixture;
    struct vmm_entry entry;
    g_autofree char *message = NULL;

    fixture_init(&fixture);
    message = load(&fixture, bytes, len, &entry);
    g_assert_nonnull(message);
    g_assert_nonnull(strstr(message, why));
    g_assert_nonnull(strstr(message, "-kernel"));
    fixture_clear(&fixture);
}

/* --- ELF --- */

struct elf_file {
    Elf64_Ehdr header;
    Elf64_Phdr segments[2];
    struct {
        Elf64_Nhdr head;
        char owner[4];
        uint32_t entry;
    } note;
    uint8_t code[64];
};

static struct elf_file elf_make(void)
{
    struct elf_file file = {
        .header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                   .e_type = ET_EXEC,
                   .e_machine = EM_X86_64,
                   .e_entry = KERNEL_GPA + 8,
                   .e_phoff = offsetof(struct elf_file, segments),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = 2},
        .segments = {{.p_type = PT_LOAD,
                      .p_offset = offsetof(struct elf_file, code),
                      .p_paddr = KERNEL_GPA,
                      .p_filesz = 64,
                      .p_memsz = 8192},
                     {.p_type = PT_NOTE,
                      .p_offset = offsetof(struct elf_file, note),
                      .p_filesz = sizeof(file.note)}},
        .note = {.head = {4, 4, 18}, .owner = "Xen", .entry = KERNEL_GPA + 4},
    };

    memset(file.code, 0x90, sizeof(file.code));
    return file;
}

static void test_elf(void)
{
    struct elf_file file = elf_make();
    struct fixture fixture;
    struct vmm_entry entry;

    fixture_init(&fixture);
    memset(ram_at(&fixture, KERNEL_GPA), 0xff, 16384);
    g_assert_null(load(&fixture, &file, sizeof(file), &entry));
    g_assert_cmpint(entry.mode, ==, VMM_ENTRY_PVH);
    g_assert_cmpuint(entry.rip, ==, KERNEL_GPA + 4);
    g_assert_cmpuint(*(uint8_t *)ram_at(&fixture, KERNEL_GPA + 63), ==, 0x90);
    g_assert_cmpuint(*(uint8_t *)ram_at(&fixture, KERNEL_GPA + 64), ==, 0);
    g_assert_cmpuint(*(uint8_t *)ram_at(&fixture, KERNEL_GPA + 8191), ==, 0);
    g_assert_cmpuint(*(uint8_t *)ram_at(&fixture, KERNEL_GPA + 8192), ==, 0xff);

    file.header.e_phnum = 1;
    fixture.machine.config.append = g_strdup("console=ttyS0");
    g_assert_null(load(&fixture, &file, sizeof(file), &entry));
    g_assert_cmpint(entry.mode, ==, VMM_ENTRY_64);
    g_assert_cmpuint(entry.rip, ==, KERNEL_GPA + 8);
    g_assert_cmpstr(ram_at(&fixture, VMM_BOOT_CMDLINE), ==, "console=ttyS0");
    fixture_clear(&fixture);
}

/* What an ELF file may say wrongly, each by one field. */
static void test_elf_lies(void)
{
    static const struct {
        size_t offset, len;
        uint64_t value;
        const char *why;
    } lies[] = {
        {offsetof(struct elf_file, header.e_ident[EI_CLASS]), 1, ELFCLASS32, "not for x86-64"},
        {offsetof(struct elf_file, header.e_machine), 2, EM_AARCH64, "not for x86-64"},
        {offsetof(struct elf_file, header.e_type), 2, ET_REL, "nothing that can be run"},
        {offsetof(struct elf_file, header.e_phnum), 2, 0, "0 segments"},
        {offsetof(struct elf_file, header.e_phnum), 2, 65535, "65535 segments"},
        {offsetof(struct elf_file, header.e_phentsize), 2, 8, "of 8 bytes"},
        {offsetof(struct elf_file, header.e_phoff), 8, UINT64_MAX, "table of segments"},
        {offsetof(struct elf_file, header.e_phoff), 8, 1u << 20, "table of segments"},
        {offsetof(struct elf_file, segments[0].p_offset), 8, UINT64_MAX - 8, "within a segment"},
        {offsetof(struct elf_file, segments[0].p_filesz), 8, 1u << 20, "within a segment"},
        {offsetof(struct elf_file, segments[0].p_memsz), 8, 32, "within a segment"},
        {offsetof(struct elf_file, segments[0].p_memsz), 8, UINT64_MAX, "a segment for address"},
        {offsetof(struct elf_file, segments[0].p_memsz), 8, 64u << 20, "has less"},
        {offsetof(struct elf_file, segments[0].p_paddr), 8, 0x8000, "a segment for address"},
        {offsetof(struct elf_file, segments[0].p_paddr), 8, UINT64_MAX, "a segment for address"},
        {offsetof(struct elf_file, segments[0].p_paddr), 8, 1ull << 40, "has less"},
        {offsetof(struct elf_file, segments[0].p_type), 4, PT_NULL, "nothing to load"},
        {offsetof(struct elf_file, segments[1].p_offset), 8, 1u << 20, "ELF notes"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(lies); i++) {
        struct elf_file file = elf_make();
        uint64_t value_le = GUINT64_TO_LE(lies[i].value);

        memcpy((char *)&file + lies[i].offset, &value_le, lies[i].len);
        assert_refused(&file, sizeof(file), lies[i].why);
    }
}

/* Notes that do not hold together are no notes. */
static void test_elf_notes(void)
{
    static const uint32_t sizes[] = {0, 3, 5, 4096, UINT32_MAX - 2, UINT32_MAX};

    for (size_t i = 0; i < 2 * G_N_ELEMENTS(sizes); i++) {
        struct elf_file file = elf_make();
        struct fixture fixture;
        struct vmm_entry entry;

        if (i % 2)
            file.note.head.n_namesz = sizes[i / 2];
        else
            file.note.head.n_descsz = sizes[i / 2];
        fixture_init(&fixture);
        g_assert_null(load(&fixture, &file, sizeof(file), &entry));
        if (!(i % 2 == 0 && sizes[i / 2] == 5)) /* longer is allowed, and runs out of the file */
            g_assert_cmpint(entry.mode, ==, VMM_ENTRY_64);
        fixture_clear(&fixture);
    }
}

/* --- bzImage --- */

/* Header, body, and the payload in it. */
static GByteArray *bzimage_make(const uint8_t *payload, size_t payload_len)
{
    GByteArray *bytes = g_byte_array_new();
    struct setup_header header = {
        .setup_sects = 1,
        .boot_flag = 0xaa55,
        .jump = 0xeb | (sizeof(header) - 0x11) << 8,
        .header = 0x53726448,
        .version = 0x020f,
        .loadflags = LOADED_HIGH,
        .initrd_addr_max = 0x7fffffff,
        .kernel_alignment = 0x200000,
        .relocatable_kernel = 1,
        .xloadflags = XLF_KERNEL_64,
        .cmdline_size = 2047,
        .payload_offset = BODY_LEN,
        .payload_length = (uint32_t)payload_len,
        .pref_address = KERNEL_GPA,
        .init_size = 1u << 20,
    };

    g_byte_array_set_size(bytes, SETUP_LEN + BODY_LEN);
    memset(bytes->data, 0, bytes->len);
    memcpy(bytes->data + 0x1f1, &header, sizeof(header));
    memset(bytes->data + SETUP_LEN, 0x90, BODY_LEN);
    g_byte_array_append(bytes, payload, (guint)payload_len);
    return bytes;
}

static struct setup_header *bzimage_header(GByteArray *bytes)
{
    return (struct setup_header *)(void *)(bytes->data + 0x1f1);
}

static void test_bzimage(void)
{
    g_autoptr(GByteArray) bytes = bzimage_make((const uint8_t *)"packed", 6);
    static const uint8_t no_seed[32];
    const struct boot_params *params;
    const struct setup_data *data;
    struct fixture fixture;
    struct vmm_entry entry;

    fixture_init(&fixture);
    fixture.machine.config.initrd = g_strdup(fixture.path); /* any file will do */
    g_assert_null(load(&fixture, bytes->data, bytes->len, &entry));
    g_assert_cmpint(entry.mode, ==, VMM_ENTRY_64);
    g_assert_cmpuint(entry.rip, ==, KERNEL_GPA + 0x200);
    g_assert_cmpuint(*(uint8_t *)ram_at(&fixture, KERNEL_GPA + 0x200), ==, 0x90);
    params = ram_at(&fixture, entry.info_gpa);
    g_assert_cmpuint(params->hdr.ramdisk_size, ==, bytes->len);
    g_assert_cmpuint(params->hdr.ramdisk_image % 4096, ==, 0);
    g_assert_cmpuint(params->hdr.ramdisk_image, >=, KERNEL_GPA + (1u << 20));
    g_assert_true(memcmp(ram_at(&fixture, params->hdr.ramdisk_image), bytes->data, bytes->len) ==
                  0);
    g_assert_cmpuint(params->hdr.type_of_loader, ==, 0xff);
    g_assert_cmpuint(params->e820_entries, ==, 4);
    g_assert_cmpuint(params->acpi_rsdp_addr, ==, VMM_BOOT_ACPI);
    data = ram_at(&fixture, params->hdr.setup_data);
    g_assert_cmpuint(data->type, ==, SETUP_RNG_SEED);
    g_assert_cmpuint(data->len, ==, 32);
    g_assert_cmpuint(data->next, ==, 0);
    g_assert_false(memcmp(data->data, no_seed, sizeof(no_seed)) == 0);
    fixture_clear(&fixture);
}

static void test_bzimage_lies(void)
{
    static const struct {
        size_t offset, len;
        uint64_t value;
        const char *why;
    } lies[] = {
        {offsetof(struct setup_header, boot_flag), 2, 0, "no kernel"},
        {offsetof(struct setup_header, header), 4, 0, "no kernel"},
        {offsetof(struct setup_header, version), 2, 0x0204, "64-bit entry (boot protocol 2.04)"},
        {offsetof(struct setup_header, xloadflags), 2, 0, "64-bit entry"},
        {offsetof(struct setup_header, jump), 2, 0x10eb, "64-bit entry"},
        {offsetof(struct setup_header, setup_sects), 1, 64, "first sectors"},
        {offsetof(struct setup_header, init_size), 4, UINT32_MAX, "has less"},
        {offsetof(struct setup_header, pref_address), 8, UINT64_MAX, "has less"},
        {offsetof(struct setup_header, pref_address), 8, 0, "has less"},
        {offsetof(struct setup_header, pref_address), 8, 1ull << 40, "has less"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(lies); i++) {
        g_autoptr(GByteArray) bytes = bzimage_make((const uint8_t *)"packed", 6);
        uint64_t value_le = GUINT64_TO_LE(lies[i].value);

        memcpy((char *)bzimage_header(bytes) + lies[i].offset, &value_le, lies[i].len);
        assert_refused(bytes->data, bytes->len, lies[i].why);
    }
}

static void test_no_kernel(void)
{
    static const uint8_t zeros[65536];

    assert_refused("", 0, "no kernel");
    assert_refused("\x7f"
                   "ELF",
                   4, "ends within its ELF header");
    assert_refused(zeros, sizeof(zeros), "no kernel");
    for (size_t len = 0; len < SETUP_LEN + 0x200; len += 31) {
        g_autoptr(GByteArray) bytes = bzimage_make((const uint8_t *)"packed", 6);

        assert_refused(bytes->data, len, "");
    }
}

/* A command line that is too long, an initrd that is too large. */
static void test_too_much(void)
{
    g_autoptr(GByteArray) bytes = bzimage_make((const uint8_t *)"packed", 6);
    struct fixture fixture;
    struct vmm_entry entry;
    g_autofree char *message = NULL, *other = NULL;

    fixture_init(&fixture);
    fixture.machine.config.append = g_strnfill(3000, 'a');
    message = load(&fixture, bytes->data, bytes->len, &entry);
    g_assert_nonnull(strstr(message, "-append: 3000 characters, this kernel takes at most 2047"));
    fixture.machine.config.append[2047] = '\0';
    g_assert_null(load(&fixture, bytes->data, bytes->len, &entry));
    g_byte_array_set_size(bytes, RAM_LEN);
    fixture.machine.config.initrd = g_strdup(fixture.path);
    bzimage_header(bytes)->setup_sects = 255; /* most of it is no kernel */
    other = load(&fixture, bytes->data, bytes->len, &entry);
    g_assert_nonnull(other);
    fixture_clear(&fixture);
}

/* A reboot reads the files that were opened: as they are by then, but no others. */
static void test_again(void)
{
    g_autoptr(GByteArray) bytes = bzimage_make((const uint8_t *)"packed", 6);
    g_autofree char *elsewhere = NULL;
    g_autoptr(GError) error = NULL;
    struct fixture fixture;
    struct vmm_entry entry;
    FILE *file;

    fixture_init(&fixture);
    elsewhere = g_strconcat(fixture.path, ".old", NULL);
    g_assert_true(g_file_set_contents(fixture.path, (char *)bytes->data, (gssize)bytes->len, NULL));
    g_assert_true(vmm_boot_open(&fixture.machine.files, &fixture.machine.config, NULL));
    g_assert_cmpint(g_rename(fixture.path, elsewhere), ==, 0);
    g_assert_true(vmm_boot_load(&fixture.machine, &entry, NULL));
    file = fopen(elsewhere, "w"); /* in its place */
    g_assert_true(fputs("no kernel", file) > 0 && fclose(file) == 0);
    g_assert_false(vmm_boot_load(&fixture.machine, &entry, &error));
    g_assert_nonnull(strstr(error->message, "no kernel"));
    vmm_boot_close(&fixture.machine.files);
    g_unlink(elsewhere);
    fixture_clear(&fixture);
}

/* --- unpacking --- */

static GByteArray *pack_end(const uint8_t *packed, size_t len, size_t unpacked_len,
                            bool with_length)
{
    GByteArray *bytes = g_byte_array_new();
    uint32_t len_le = GUINT32_TO_LE((uint32_t)unpacked_len);

    g_byte_array_append(bytes, packed, (guint)len);
    if (with_length)
        g_byte_array_append(bytes, (const uint8_t *)&len_le, sizeof(len_le));
    return bytes;
}

static GByteArray *pack_gzip(const uint8_t *in, size_t len)
{
    g_autofree uint8_t *out = g_malloc(len * 2 + 1024);
    z_stream stream = {.next_out = out, .avail_out = (uInt)(len * 2 + 1024), .avail_in = (uInt)len};

    stream.next_in = (z_const Bytef *)(uintptr_t)in;
    deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    deflate(&stream, Z_FINISH);
    deflateEnd(&stream);
    return pack_end(out, stream.total_out, len, false); /* gzip ends with it by itself */
}

static GByteArray *pack_xz(const uint8_t *in, size_t len)
{
    g_autofree uint8_t *out = g_malloc(len * 2 + 1024);
    size_t n = 0;

    g_assert_cmpint(
        lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, in, len, out, &n, len * 2 + 1024), ==,
        LZMA_OK);
    return pack_end(out, n, len, true);
}

static GByteArray *pack_lzma(const uint8_t *in, size_t len)
{
    g_autofree uint8_t *out = g_malloc(len * 2 + 1024);
    lzma_stream stream = LZMA_STREAM_INIT;
    lzma_options_lzma options;

    lzma_lzma_preset(&options, 1);
    options.dict_size = 1u << 16; /* which is how its magic has two zeros */
    stream.next_in = in;
    stream.avail_in = len;
    stream.next_out = out;
    stream.avail_out = len * 2 + 1024;
    g_assert_cmpint(lzma_alone_encoder(&stream, &options), ==, LZMA_OK);
    g_assert_cmpint(lzma_code(&stream, LZMA_FINISH), ==, LZMA_STREAM_END);
    lzma_end(&stream);
    return pack_end(out, stream.total_out, len, true);
}

static GByteArray *pack_zstd(const uint8_t *in, size_t len)
{
    g_autofree uint8_t *out = g_malloc(len * 2 + 1024);

    return pack_end(out, ZSTD_compress(out, len * 2 + 1024, in, len, 3), len, true);
}

/* Two blocks, as of a larger kernel. */
static GByteArray *pack_lz4(const uint8_t *in, size_t len)
{
    g_autofree char *out = g_malloc(len * 2 + 1024);
    size_t at = 4;

    memcpy(out, "\x02\x21\x4c\x18", 4);
    for (int half = 0; half < 2; half++) {
        int n = LZ4_compress_default((const char *)in + half * (int)(len / 2), out + at + 4,
                                     (int)(len / 2), (int)len);
        uint32_t n_le = GUINT32_TO_LE((uint32_t)n);

        memcpy(out + at, &n_le, 4);
        at += 4 + (size_t)n;
    }
    return pack_end((const uint8_t *)out, at, len, true);
}

static GByteArray *(*const packers[])(const uint8_t *in, size_t len) = {
    pack_gzip, pack_xz, pack_lzma, pack_zstd, pack_lz4};

static void fill_pattern(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * i >> 7);
}

/* Each format, then with every byte wrong and cut everywhere: never more than an error. */
static void test_unpack(void)
{
    static uint8_t in[1 << 14];

    fill_pattern(in, sizeof(in));
    for (size_t i = 0; i < G_N_ELEMENTS(packers); i++) {
        g_autoptr(GByteArray) packed = packers[i](in, sizeof(in));
        struct vmm_image image = {.fd = -1};

        g_assert_cmpint(vmm_decompress(packed->data, packed->len, &image), ==, 0);
        g_assert_cmpuint(image.len, ==, sizeof(in));
        g_assert_true(memcmp(image.bytes, in, sizeof(in)) == 0);
        vmm_image_close(&image);
        for (unsigned at = 0; at < packed->len; at += 1 + packed->len / 400) {
            packed->data[at] ^= 0x41;
            if (vmm_decompress(packed->data, packed->len, &image) == 0)
                vmm_image_close(&image);
            packed->data[at] ^= 0x41;
            if (vmm_decompress(packed->data, at, &image) == 0)
                vmm_image_close(&image);
        }
    }
}

static void test_unpack_bzimage(void)
{
    struct elf_file file = elf_make();
    g_autoptr(GByteArray) packed = pack_gzip((const uint8_t *)&file, sizeof(file));
    g_autoptr(GByteArray) bytes = bzimage_make(packed->data, packed->len);
    g_autofree char *message = NULL, *other = NULL;
    struct fixture fixture;
    struct vmm_entry entry;

    fixture_init(&fixture);
    fixture.machine.vm.is_pvm = true; /* where it is unpacked on this side */
    fixture.machine.vm.fd = -1;
    g_assert_null(load(&fixture, bytes->data, bytes->len, &entry));
    g_assert_cmpint(entry.mode, ==, VMM_ENTRY_64);
    g_assert_cmpuint(entry.rip, ==, KERNEL_GPA + 8);
    bytes->data[bytes->len - 20] ^= 1;
    message = load(&fixture, bytes->data, bytes->len, &entry);
    g_assert_nonnull(strstr(message, "damaged"));
    bzimage_header(bytes)->payload_length = UINT32_MAX;
    other = load(&fixture, bytes->data, bytes->len, &entry);
    g_assert_nonnull(strstr(other, "damaged"));
    fixture_clear(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/kernel/elf", test_elf);
    g_test_add_func("/kernel/elf-lies", test_elf_lies);
    g_test_add_func("/kernel/elf-notes", test_elf_notes);
    g_test_add_func("/kernel/bzimage", test_bzimage);
    g_test_add_func("/kernel/bzimage-lies", test_bzimage_lies);
    g_test_add_func("/kernel/none", test_no_kernel);
    g_test_add_func("/kernel/too-much", test_too_much);
    g_test_add_func("/kernel/again", test_again);
    g_test_add_func("/kernel/unpack", test_unpack);
    g_test_add_func("/kernel/unpack-bzimage", test_unpack_bzimage);
    return g_test_run();
}
