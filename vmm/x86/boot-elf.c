/* SPDX-License-Identifier: Apache-2.0 */
/* ELF files as kernels. System V ABI, chapters 4 and 5; Xen docs/misc/pvh.pandoc for the note. */
#include "vmm/x86/boot-elf.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "vmm/x86/boot-layout.h"

#define ELF_MAX_SEGMENTS    64
#define ELF_MAX_NOTES_LEN   65536u
#define ELF_NOTE_PVH        18 /* XEN_ELFNOTE_PHYS32_ENTRY, of "Xen" */
#define ELF_NOTE_OWNER      "Xen"
#define ELF_NOTE_ALIGN(len) (((uint64_t)(len) + 3) & ~3ull)

bool vmm_elf_is_one(const struct vmm_image *image)
{
    char magic[SELFMAG];

    return vmm_image_read(image, 0, magic, sizeof(magic)) == 0 &&
           memcmp(magic, ELFMAG, SELFMAG) == 0;
}

/* Looks through the notes for the entry of PVH. */
static void elf_find_pvh(const uint8_t *notes, uint64_t len, struct vmm_elf *elf)
{
    Elf64_Nhdr note;

    for (uint64_t at = 0; len - at >= sizeof(note);) {
        uint64_t name_at, desc_at;

        memcpy(&note, notes + at, sizeof(note));
        name_at = at + sizeof(note);
        desc_at = name_at + ELF_NOTE_ALIGN(note.n_namesz);
        at = desc_at + ELF_NOTE_ALIGN(note.n_descsz);
        if (at > len)
            return;
        if (note.n_type == ELF_NOTE_PVH && note.n_namesz == sizeof(ELF_NOTE_OWNER) &&
            memcmp(notes + name_at, ELF_NOTE_OWNER, sizeof(ELF_NOTE_OWNER)) == 0 &&
            note.n_descsz >= sizeof(elf->pvh_entry)) {
            memcpy(&elf->pvh_entry, notes + desc_at, sizeof(elf->pvh_entry));
            elf->has_pvh = true;
        }
    }
}

static bool elf_read_notes(const struct vmm_image *image, const Elf64_Phdr *segment,
                           struct vmm_elf *elf, GError **error)
{
    g_autofree uint8_t *notes = NULL;

    if (segment->p_filesz > ELF_MAX_NOTES_LEN)
        return true; /* not such a one */
    notes = g_malloc(segment->p_filesz + 1);
    if (vmm_image_read(image, segment->p_offset, notes, segment->p_filesz) < 0)
        return vmm_image_fail(image, error, "it ends within its ELF notes");
    elf_find_pvh(notes, segment->p_filesz, elf);
    return true;
}

static bool elf_load_segment(const struct vmm_image *image, const Elf64_Phdr *segment,
                             const struct vmm_ram *ram, struct vmm_elf *elf, GError **error)
{
    uint64_t end;
    int rc;

    if (segment->p_memsz == 0)
        return true;
    if (segment->p_paddr < VMM_BOOT_KERNEL_MIN ||
        __builtin_add_overflow(segment->p_paddr, segment->p_memsz, &end))
        return vmm_image_fail(image, error, "a segment for address 0x%" G_GINT64_MODIFIER "x",
                              segment->p_paddr);
    rc = vmm_image_load(image, segment->p_offset, segment->p_filesz, ram, segment->p_paddr,
                        segment->p_memsz);
    if (rc == -EFAULT)
        return vmm_image_fail(
            image, error,
            "it wants RAM up to address 0x%" G_GINT64_MODIFIER "x; the guest has less (-m)", end);
    if (rc == -EINVAL)
        return vmm_image_fail(image, error, "it ends within a segment");
    if (rc < 0)
        return vmm_image_fail(image, error, "%s", g_strerror(-rc));
    elf->end_gpa = MAX(elf->end_gpa, end);
    return true;
}

static bool elf_check_header(const struct vmm_image *image, const Elf64_Ehdr *header,
                             GError **error)
{
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
        header->e_machine != EM_X86_64)
        return vmm_image_fail(image, error, "an ELF file, but not for x86-64");
    if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
        return vmm_image_fail(image, error, "an ELF file, but nothing that can be run");
    if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum == 0 ||
        header->e_phnum > ELF_MAX_SEGMENTS)
        return vmm_image_fail(image, error, "an ELF file with %u segments of %u bytes",
                              header->e_phnum, header->e_phentsize);
    return true;
}

bool vmm_elf_load(const struct vmm_image *image, const struct vmm_ram *ram, struct vmm_elf *ret_elf,
                  GError **error)
{
    struct vmm_elf elf = {0};
    Elf64_Ehdr header;
    Elf64_Phdr segment;
    uint64_t at;

    if (vmm_image_read(image, 0, &header, sizeof(header)) < 0)
        return vmm_image_fail(image, error, "it ends within its ELF header");
    if (!elf_check_header(image, &header, error))
        return false;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        if (__builtin_add_overflow(header.e_phoff, i * sizeof(segment), &at) ||
            vmm_image_read(image, at, &segment, sizeof(segment)) < 0)
            return vmm_image_fail(image, error, "it ends within its table of segments");
        if (segment.p_type == PT_LOAD && !elf_load_segment(image, &segment, ram, &elf, error))
            return false;
        if (segment.p_type == PT_NOTE && !elf_read_notes(image, &segment, &elf, error))
            return false;
    }
    elf.entry = header.e_entry;
    if (elf.end_gpa == 0)
        return vmm_image_fail(image, error, "an ELF file with nothing to load");
    *ret_elf = elf;
    return true;
}
