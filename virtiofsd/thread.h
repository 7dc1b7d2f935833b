/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread that serves requests has to itself: a working directory and a umask. System calls
 * on extended attributes take paths but no directory to begin from, so such a thread works in
 * /proc/self/fd, where every descriptor of ours has a name; and the umask is the guest's.
 */
#pragma once

#include <sys/types.h>

#include "virtiofsd/share.h"

/*
 * Parts the calling thread from the others' working directory and umask, once. 0 or -errno. The two
 * below see to it where it was not done.
 */
int fs_thread_init(void);
/* Makes /proc/self/fd the working directory: a system call the first time, none later. */
int fs_thread_enter_fds(const struct fs_share *share);
/* The umask for what this thread makes next: a system call where it was another. 0 or -errno. */
int fs_thread_set_umask(mode_t mask);
/* How often this thread has waited for something so far. A system call. */
long fs_thread_n_waits(void);
