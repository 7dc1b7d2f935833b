/* SPDX-License-Identifier: Apache-2.0 */
/* Reading bzImages. Each number of the header is checked against the file before it is used. */
#include "vmm/x86/boot-bzimage.h"

#include <errno.h>
#include <string.h>

#include "vmm/x86/boot-decompress.h"
#include "vmm/x86/boot-layout.h"

#define BZIMAGE_HEADER_AT       0x1f1
#define BZIMAGE_HEADER_LEN_AT   0x201
#define BZIMAGE_HEADER_LEN_FROM 0x202
#define BZIMAGE_BOOT_FLAG       0xaa55
#define BZIMAGE_MAGIC           0x53726448u /* "HdrS" */
#define BZIMAGE_VERSION_64      0x020c
#define BZIMAGE_SECTOR          512
#define BZIMAGE_SETUP_SECTORS   4 /* where the header says 0 */
#define BZIMAGE_ENTRY_64        0x200

bool vmm_bzimage_is_one(const struct vmm_image *image)
{
    struct setup_header header;

    return vmm_image_read(image, BZIMAGE_HEADER_AT, &header, sizeof(header)) == 0 &&
           header.boot_flag == BZIMAGE_BOOT_FLAG && header.header == BZIMAGE_MAGIC;
}

/* The header is as long as it says; what an older one does not have is 0. */
static int bzimage_read_header(const struct vmm_image *image, struct setup_header *header)
{
    uint8_t len;
    uint64_t header_len;
    int rc = vmm_image_read(image, BZIMAGE_HEADER_LEN_AT, &len, sizeof(len));

    if (rc < 0)
        return rc;
    header_len = BZIMAGE_HEADER_LEN_FROM + len - BZIMAGE_HEADER_AT;
    memset(header, 0, sizeof(*header));
    return vmm_image_read(image, BZIMAGE_HEADER_AT, header, MIN(header_len, sizeof(*header)));
}

bool vmm_bzimage_read(const struct vmm_image *image, struct vmm_bzimage *ret_bzimage,
                      GError **error)
{
    struct vmm_bzimage bzimage;
    unsigned sectors;

    if (bzimage_read_header(image, &bzimage.header) < 0)
        return vmm_image_fail(image, error, "it ends within its header");
    if (bzimage.header.version < BZIMAGE_VERSION_64 || !(bzimage.header.loadflags & LOADED_HIGH) ||
        !(bzimage.header.xloadflags & XLF_KERNEL_64))
        return vmm_image_fail(image, error,
                              "a kernel without a 64-bit entry (boot protocol %u.%02u)",
                              bzimage.header.version >> 8, bzimage.header.version & 0xff);
    sectors = bzimage.header.setup_sects != 0 ? bzimage.header.setup_sects : BZIMAGE_SETUP_SECTORS;
    bzimage.kernel_offset = (sectors + 1u) * BZIMAGE_SECTOR;
    if (image->len <= bzimage.kernel_offset + BZIMAGE_ENTRY_64)
        return vmm_image_fail(image, error, "it ends within its first sectors");
    bzimage.kernel_len = image->len - bzimage.kernel_offset;
    *ret_bzimage = bzimage;
    return true;
}

bool vmm_bzimage_load(const struct vmm_image *image, const struct vmm_bzimage *bzimage,
                      const struct vmm_ram *ram, uint64_t *ret_entry, uint64_t *ret_end_gpa,
                      GError **error)
{
    const struct setup_header *header = &bzimage->header;
    uint64_t gpa = header->relocatable_kernel ? header->pref_address : VMM_BOOT_KERNEL_MIN;
    uint64_t end_gpa, mem_len = MAX(bzimage->kernel_len, header->init_size);
    int rc;

    if (gpa < VMM_BOOT_KERNEL_MIN || __builtin_add_overflow(gpa, mem_len, &end_gpa) ||
        !vmm_image_fits(ram, gpa, mem_len))
        return vmm_image_fail(image, error,
                              "it wants %" G_GUINT64_FORMAT
                              " MiB of RAM at address 0x%" G_GINT64_MODIFIER
                              "x; the guest has less (-m)",
                              mem_len >> 20, gpa);
    rc = vmm_image_load(image, bzimage->kernel_offset, bzimage->kernel_len, ram, gpa,
                        bzimage->kernel_len);
    if (rc < 0)
        return vmm_image_fail(image, error, "%s", g_strerror(-rc));
    *ret_entry = gpa + BZIMAGE_ENTRY_64;
    *ret_end_gpa = end_gpa;
    return true;
}

int vmm_bzimage_unpack(const struct vmm_image *image, const struct vmm_bzimage *bzimage,
                       struct vmm_image *ret_image)
{
    uint64_t offset = bzimage->kernel_offset + bzimage->header.payload_offset;
    uint64_t len = bzimage->header.payload_length;
    struct vmm_image packed = {.fd = -1};
    int rc;

    if (len == 0 || offset > image->len || len > image->len - offset)
        return -EBADMSG;
    rc = vmm_image_alloc(&packed, len);
    if (rc < 0)
        return rc;
    ret_image->option = image->option;
    ret_image->path = image->path;
    rc = vmm_image_read(image, offset, packed.bytes, len);
    if (rc == 0)
        rc = vmm_decompress(packed.bytes, len, ret_image);
    vmm_image_close(&packed);
    return rc;
}
