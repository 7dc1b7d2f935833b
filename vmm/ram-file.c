/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory-backend-memfd and memory-backend-file: memfds and hugetlbfs files, their host nodes and
 * their pages. Main thread, and short-lived threads that fault pages in.
 */
#include "vmm/ram-file.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/thread.h"

#define MAX_THREADS 16

static void ram_set_error(GError **error, const struct vmm_memdev *memdev, int error_number,
                          const char *what)
{
    g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(error_number),
                "memory backend %s: %s: %s", memdev->id, what, g_strerror(error_number));
}

static int ram_memfd(const struct vmm_memdev *memdev)
{
    unsigned flags = MFD_CLOEXEC;

    if (memdev->seal)
        flags |= MFD_ALLOW_SEALING;
    if (memdev->hugetlb) {
        flags |= MFD_HUGETLB;
        if (memdev->hugetlbsize)
            flags |= (unsigned)__builtin_ctzll(memdev->hugetlbsize) << MFD_HUGE_SHIFT;
    }
    return memfd_create(memdev->id, flags);
}

/* A file of no name in the folder mem-path, or the file mem-path itself. */
static int ram_path(const struct vmm_memdev *memdev)
{
    g_autofree char *template = NULL;
    struct stat st;
    int fd;

    if (stat(memdev->mem_path, &st) < 0 || !S_ISDIR(st.st_mode))
        return open(memdev->mem_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
    /* hugetlbfs knows no O_TMPFILE before Linux 5.18. */
    template = g_strdup_printf("%s/vmm-%s.XXXXXX", memdev->mem_path, memdev->id);
    fd = mkostemp(template, O_CLOEXEC);
    if (fd >= 0)
        unlink(template);
    return fd;
}

/* Pages of the file are so large, and its size has to be a multiple. */
static uint64_t ram_page_size(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_bsize > 0 ? (uint64_t)fs.f_bsize : 4096;
}

int vmm_ram_file_create(const struct vmm_memdev *memdev, GError **error)
{
    vu_autofd int fd = memdev->mem_path ? ram_path(memdev) : ram_memfd(memdev);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        ram_set_error(error, memdev, errno,
                      memdev->mem_path  ? memdev->mem_path
                      : memdev->hugetlb ? "a memfd of huge pages"
                                        : "a memfd");
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_REGULAR_FILE,
                    "memory backend %s: %s is neither a file nor a folder", memdev->id,
                    memdev->mem_path);
        return -1;
    }
    if (memdev->size % ram_page_size(fd) != 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "memory backend %s: size must be a multiple of its pages of %" G_GUINT64_FORMAT
                    " bytes",
                    memdev->id, ram_page_size(fd));
        return -1;
    }
    /* A file that is larger belongs to somebody, and is used as far as the memory goes. */
    if ((uint64_t)st.st_size < memdev->size && ftruncate(fd, (off_t)memdev->size) < 0) {
        ram_set_error(error, memdev, errno, "cannot make it as large");
        return -1;
    }
    if (!memdev->mem_path && memdev->seal &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        ram_set_error(error, memdev, errno, "sealing");
        return -1;
    }
    return vu_steal_fd(&fd);
}

bool vmm_ram_file_bind(const struct vmm_memdev *memdev, void *address, uint64_t len, GError **error)
{
    static const int modes[] = {
        [VMM_POLICY_DEFAULT] = MPOL_DEFAULT,
        [VMM_POLICY_PREFERRED] = MPOL_PREFERRED,
        [VMM_POLICY_BIND] = MPOL_BIND,
        [VMM_POLICY_INTERLEAVE] = MPOL_INTERLEAVE,
    };
    unsigned long mask = (unsigned long)memdev->host_nodes;

    if (memdev->policy == VMM_POLICY_DEFAULT)
        return true;
    /* The kernel takes one bit less than it is told of. And no libnuma: it asks for nodes, CPUs and
     * huge pages of the host as soon as it is loaded. */
    if (syscall(SYS_mbind, address, len, modes[memdev->policy], &mask, 8 * sizeof(mask) + 1,
                MPOL_MF_STRICT | MPOL_MF_MOVE) == 0)
        return true;
    if (errno == EINVAL)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "memory backend %s: host-nodes: this host does not have all of them",
                    memdev->id);
    else
        ram_set_error(error, memdev, errno, "host-nodes");
    return false;
}

struct ram_part {
    pthread_t thread;
    uint8_t *address;
    uint64_t len;
    int error; /* errno */
};

static void *ram_populate_part(void *opaque)
{
    struct ram_part *part = opaque;

    if (madvise(part->address, part->len, MADV_POPULATE_WRITE) < 0)
        part->error = errno;
    return NULL;
}

bool vmm_ram_file_populate(const struct vmm_memdev *memdev, void *address, uint64_t len,
                           GError **error)
{
    const uint64_t grain = UINT64_C(1) << 30; /* no page is larger */
    unsigned wanted = memdev->prealloc_threads ? memdev->prealloc_threads : vu_cpu_count();
    struct ram_part parts[MAX_THREADS] = {0};
    unsigned n_started = 0;
    uint64_t done = 0, step;
    int error_number = 0;

    wanted = MIN(wanted, MAX_THREADS);
    step = MAX((len / wanted + grain - 1) / grain * grain, grain);
    while (done < len) {
        struct ram_part *part = &parts[n_started];
        bool is_last = n_started + 1 == MAX_THREADS || len - done <= step;

        part->address = (uint8_t *)address + done;
        part->len = is_last ? len - done : step;
        done += part->len;
        if (is_last || vu_thread_create("populate", ram_populate_part, part, &part->thread) < 0) {
            part->len = len - (uint64_t)(part->address - (uint8_t *)address);
            ram_populate_part(part);
            error_number = part->error;
            break;
        }
        n_started++;
    }
    for (unsigned i = 0; i < n_started; i++) {
        pthread_join(parts[i].thread, NULL);
        if (!error_number)
            error_number = parts[i].error;
    }
    if (error_number)
        ram_set_error(error, memdev, error_number, "cannot have all of it now (prealloc=on)");
    return error_number == 0;
}
