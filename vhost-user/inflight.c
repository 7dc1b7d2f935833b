/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of the inflight log: made, mapped and divided among the queues. Session thread; what is
 * in it is the business of inflight-split.c and inflight-packed.c.
 */
#include "vhost-user/inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/memory-fault.h"
#include "vhost-user/virtio-ring.h"

#define INFLIGHT_SEALS (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

static uint64_t inflight_page_align(uint64_t len)
{
    uint64_t mask = (uint64_t)sysconf(_SC_PAGESIZE) - 1;

    return (len + mask) & ~mask;
}

/* Bytes from one queue's part to the next. */
static uint64_t inflight_stride(unsigned queue_size, bool packed)
{
    uint64_t header = packed ? sizeof(struct vu_inflight_packed) : sizeof(struct vu_inflight_split);
    uint64_t each =
        packed ? sizeof(struct vu_inflight_packed_desc) : sizeof(struct vu_inflight_split_desc);

    return (header + each * queue_size + VU_INFLIGHT_ALIGN - 1) & ~(VU_INFLIGHT_ALIGN - 1ul);
}

static bool inflight_sizes_valid(unsigned n_queues, unsigned queue_size)
{
    return n_queues > 0 && n_queues <= VU_INFLIGHT_MAX_QUEUES && queue_size > 0 &&
           queue_size <= VU_RING_MAX_SIZE;
}

int vu_inflight_map(const struct vu_inflight_desc *desc, int fd, bool packed,
                    struct vu_inflight **ret_inflight)
{
    uint64_t page_offset = desc->mmap_offset & ((uint64_t)sysconf(_SC_PAGESIZE) - 1);
    g_autofree struct vu_inflight *inflight = NULL;
    uint64_t len, end;
    struct stat st;
    int err;

    if (!inflight_sizes_valid(desc->n_queues, desc->queue_size) ||
        desc->mmap_offset % VU_INFLIGHT_ALIGN != 0)
        return -EINVAL;
    len = desc->n_queues * inflight_stride(desc->queue_size, packed);
    if (desc->mmap_size < len || __builtin_add_overflow(desc->mmap_offset, len, &end))
        return -EINVAL;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || end > (uint64_t)st.st_size)
        return -EINVAL;
    err = vu_memory_fault_install();
    if (err < 0)
        return err;
    inflight = g_new0(struct vu_inflight, 1);
    inflight->n_queues = desc->n_queues;
    inflight->queue_size = desc->queue_size;
    inflight->packed = packed;
    inflight->map_len = inflight_page_align(page_offset + len);
    inflight->map_addr = mmap(NULL, inflight->map_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                              (off_t)(desc->mmap_offset - page_offset));
    if (inflight->map_addr == MAP_FAILED)
        return -errno;
    inflight->addr = (uint8_t *)inflight->map_addr + page_offset;
    err = vu_memory_fault_watch(inflight->map_addr, inflight->map_len, &inflight->faulted);
    if (err < 0) {
        munmap(inflight->map_addr, inflight->map_len);
        return err;
    }
    *ret_inflight = g_steal_pointer(&inflight);
    return 0;
}

int vu_inflight_create(unsigned n_queues, unsigned queue_size, bool packed,
                       struct vu_inflight **ret_inflight, struct vu_inflight_desc *ret_desc,
                       int *ret_fd)
{
    struct vu_inflight_desc desc = {.n_queues = (uint16_t)n_queues,
                                    .queue_size = (uint16_t)queue_size};
    vu_autofd int fd = -1;
    int err;

    if (!inflight_sizes_valid(n_queues, queue_size))
        return -EINVAL;
    desc.mmap_size = inflight_page_align(n_queues * inflight_stride(queue_size, packed));
    fd = memfd_create("vhost-user-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)desc.mmap_size) < 0 ||
        fcntl(fd, F_ADD_SEALS, INFLIGHT_SEALS) < 0)
        return -errno;
    err = vu_inflight_map(&desc, fd, packed, ret_inflight);
    if (err < 0)
        return err;
    *ret_desc = desc;
    *ret_fd = vu_steal_fd(&fd);
    return 0;
}

void vu_inflight_destroy(struct vu_inflight *inflight)
{
    if (inflight == NULL)
        return;
    vu_memory_fault_unwatch(inflight->map_addr);
    munmap(inflight->map_addr, inflight->map_len);
    g_free(inflight);
}

static void *inflight_queue(struct vu_inflight *inflight, unsigned queue, unsigned num, bool packed)
{
    if (queue >= inflight->n_queues || num > inflight->queue_size || inflight->packed != packed)
        return NULL;
    return inflight->addr + queue * inflight_stride(inflight->queue_size, packed);
}

struct vu_inflight_split *vu_inflight_split_queue(struct vu_inflight *inflight, unsigned queue,
                                                  unsigned num)
{
    return inflight_queue(inflight, queue, num, false);
}

struct vu_inflight_packed *vu_inflight_packed_queue(struct vu_inflight *inflight, unsigned queue,
                                                    unsigned num)
{
    return inflight_queue(inflight, queue, num, true);
}
