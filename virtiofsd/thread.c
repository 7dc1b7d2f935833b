/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Working directory and umask of the calling thread. What they are is remembered, so that a thread
 * that needs the same again makes no system call.
 */
#include "virtiofsd/thread.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static __thread struct {
    bool is_apart;  /* unshare(CLONE_FS) was done */
    bool is_in_fds; /* /proc/self/fd is the same directory, whichever share opened it */
    bool mask_known;
    mode_t mask;
} thread_own;

int fs_thread_init(void)
{
    if (thread_own.is_apart)
        return 0;
    if (unshare(CLONE_FS) < 0)
        return -errno;
    thread_own.is_apart = true;
    return 0;
}

int fs_thread_enter_fds(const struct fs_share *share)
{
    int ret;

    if (thread_own.is_in_fds)
        return 0;
    ret = fs_thread_init();
    if (ret == 0 && fchdir(share->proc_fds) < 0)
        ret = -errno;
    thread_own.is_in_fds = ret == 0;
    return ret;
}

int fs_thread_set_umask(mode_t mask)
{
    int ret;

    if (thread_own.mask_known && thread_own.mask == mask)
        return 0;
    ret = fs_thread_init();
    if (ret < 0)
        return ret;
    umask(mask);
    thread_own.mask = mask;
    thread_own.mask_known = true;
    return 0;
}

long fs_thread_n_waits(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nvcsw : 0;
}
