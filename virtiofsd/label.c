/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/thread-self/attr/fscreate of the calling thread, by way of the folder that a sandbox leaves
 * us: none of it is there in some, and then fscreate is not used.
 */
#include "virtiofsd/label.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"

static int label_open(int tasks_fd, int flags)
{
    char path[48];

    snprintf(path, sizeof(path), "%ld/attr/fscreate", syscall(SYS_gettid));
    return openat(tasks_fd, path, flags | O_CLOEXEC | O_NOFOLLOW);
}

int fs_label_open_tasks(int proc_fds)
{
    int tasks_fd = openat(proc_fds, "../task", O_PATH | O_DIRECTORY | O_CLOEXEC);
    vu_autofd int fd = tasks_fd < 0 ? -1 : label_open(tasks_fd, O_RDONLY);
    char label[1];

    /* Without SELinux it can be opened, but not read. */
    if (fd < 0 || read(fd, label, sizeof(label)) < 0)
        vu_clear_fd(&tasks_fd);
    return tasks_fd;
}

int fs_label_set_next(const struct fs_share *share, const char *label, size_t len)
{
    vu_autofd int fd = label_open(share->label_tasks, O_WRONLY);
    ssize_t ret;

    if (fd < 0)
        return -errno;
    /* An empty line takes a label back. */
    ret = len > 0 ? write(fd, label, len) : write(fd, "\n", 1);
    return ret < 0 ? -errno : 0;
}
