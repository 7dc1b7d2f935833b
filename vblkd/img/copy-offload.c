/* SPDX-License-Identifier: Apache-2.0 */
/* copy_file_range(2) between the places that both images' maps name. */
#include "vblkd/img/copy-offload.h"

#include <errno.h>
#include <unistd.h>

static int offload_range(const struct vblk_storage *source, uint64_t source_offset,
                         const struct vblk_storage *target, uint64_t target_offset, uint64_t len)
{
    off_t from = (off_t)source_offset, to = (off_t)target_offset;

    while (len > 0) {
        ssize_t n = copy_file_range(source->fd, &from, target->fd, &to, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EXDEV || errno == EINVAL || errno == ENOSYS ? -EOPNOTSUPP : -errno;
        /* The end of a file whose last bytes are a hole. */
        if (n == 0)
            return -EOPNOTSUPP;
        len -= (uint64_t)n;
    }
    return 0;
}

static int offload_some(const struct vblk_storage *source, uint64_t source_offset,
                        struct vblk_image *target, uint64_t target_offset, uint64_t len,
                        uint64_t *ret_len)
{
    struct vblk_extent extent;
    struct vblk_write write;
    int ret = target->format->map_write(target, target_offset, len, 0, &extent);

    if (ret == 0) {
        *ret_len = extent.len;
        return offload_range(source, source_offset, extent.storage, extent.offset, extent.len);
    }
    if (ret != -EAGAIN || !target->format->write_begin)
        return ret;
    ret = target->format->write_begin(target, target_offset, len, 0, &write);
    if (ret < 0)
        return ret;
    *ret_len = write.len;
    ret = offload_range(source, source_offset, write.storage, write.offset, write.len);
    return target->format->write_end(target, &write, ret);
}

int img_copy_offload(const struct vblk_storage *source, uint64_t source_offset,
                     struct vblk_image *target, uint64_t target_offset, uint64_t len)
{
    unsigned ticket = vblk_image_enter(target, VBLK_MAX_QUEUES);
    int ret = 0;

    for (uint64_t done = 0, part = 0; done < len && ret == 0; done += part)
        ret = offload_some(source, source_offset + done, target, target_offset + done, len - done,
                           &part);
    vblk_image_leave(target, VBLK_MAX_QUEUES, ticket);
    return ret;
}
