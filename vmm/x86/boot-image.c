/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what is loaded. Nobody else writes to the guest's RAM meanwhile: no vCPU runs. */
#include "vmm/x86/boot-image.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"

bool vmm_image_fail(const struct vmm_image *image, GError **error, const char *format, ...)
{
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "%s %s: %s", image->option, image->path,
                message);
    return false;
}

bool vmm_image_open(struct vmm_image *image, const char *option, const char *path, GError **error)
{
    *image = (struct vmm_image){.option = option, .path = path, .fd = -1};
    image->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (image->fd < 0)
        return vmm_image_fail(image, error, "%s", g_strerror(errno));
    if (vmm_image_measure(image, error))
        return true;
    vmm_image_close(image);
    return false;
}

bool vmm_image_measure(struct vmm_image *image, GError **error)
{
    struct stat st;

    if (fstat(image->fd, &st) < 0)
        return vmm_image_fail(image, error, "%s", g_strerror(errno));
    if (!S_ISREG(st.st_mode))
        return vmm_image_fail(image, error, "not an ordinary file");
    image->len = (uint64_t)st.st_size;
    return true;
}

int vmm_image_alloc(struct vmm_image *image, uint64_t len)
{
    void *bytes = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (bytes == MAP_FAILED)
        return -errno;
    image->fd = -1;
    image->bytes = bytes;
    image->len = len;
    return 0;
}

void vmm_image_close(struct vmm_image *image)
{
    vu_clear_fd(&image->fd);
    if (image->bytes != NULL)
        munmap(image->bytes, image->len);
    image->bytes = NULL;
}

int vmm_image_read(const struct vmm_image *image, uint64_t offset, void *buf, uint64_t len)
{
    if (offset > image->len || len > image->len - offset)
        return -EINVAL;
    if (image->bytes != NULL) {
        memcpy(buf, image->bytes + offset, len);
        return 0;
    }
    for (uint64_t done = 0; done < len;) {
        ssize_t n = pread(image->fd, (uint8_t *)buf + done, len - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EINVAL;
        done += (uint64_t)n;
    }
    return 0;
}

/* The stretch of RAM at gpa, as long as it goes in one region, at most *len. */
static uint8_t *image_ram_at(const struct vmm_ram *ram, uint64_t gpa, uint64_t *len)
{
    for (unsigned i = 0; i < ram->shmem.n_regions; i++) {
        const struct vu_shmem_region *region = &ram->shmem.regions[i];

        if (gpa < region->gpa || gpa - region->gpa >= region->len)
            continue;
        *len = MIN(*len, region->len - (gpa - region->gpa));
        return region->hva + (gpa - region->gpa);
    }
    return NULL;
}

bool vmm_image_fits(const struct vmm_ram *ram, uint64_t gpa, uint64_t len)
{
    for (uint64_t piece; len > 0; gpa += piece, len -= piece) {
        piece = len;
        if (image_ram_at(ram, gpa, &piece) == NULL)
            return false;
    }
    return true;
}

int vmm_image_load(const struct vmm_image *image, uint64_t offset, uint64_t len,
                   const struct vmm_ram *ram, uint64_t gpa, uint64_t mem_len)
{
    if (len > mem_len)
        return -EINVAL;
    for (uint64_t done = 0; done < mem_len;) {
        uint64_t piece = done < len ? len - done : mem_len - done;
        uint8_t *at = image_ram_at(ram, gpa + done, &piece);
        int rc = 0;

        if (at == NULL)
            return -EFAULT;
        if (done < len)
            rc = vmm_image_read(image, offset + done, at, piece);
        else
            vmm_ram_clear(ram, at, piece);
        if (rc < 0)
            return rc;
        done += piece;
    }
    return 0;
}
