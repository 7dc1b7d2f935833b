/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system of the test's own process (libfuse) that answers when it is told to: a disk as slow
 * as a test needs it. Nothing of it is cached by the kernel.
 *
 *   file   4096 bytes       always at once
 *   lazy   4096 bytes       its attributes, data and being closed wait while they are shut
 *   slow*  does not exist   which takes a while to find out while that is shut
 */
#pragma once

#include <stdbool.h>

/* SLOW_DISK_DEAF: from the next lookup of slow* on, requests are not even taken from the kernel,
 * where those who wait for them can still be killed. */
enum slow_disk_kind {
    SLOW_DISK_LOOKUP = 1,
    SLOW_DISK_GETATTR = 2,
    SLOW_DISK_READ = 4,
    SLOW_DISK_DEAF = 8,
    SLOW_DISK_FLUSH = 16, /* when it is closed; not once `file` has been */
};

/* Mounts it on dir, in a mount namespace of the process's own. False with the reason in *ret_why
 * (static) where this machine does not let us. */
bool slow_disk_start(const char *dir, const char **ret_why);
void slow_disk_stop(void);
/* From now on what these kinds (a mask) ask for waits. */
void slow_disk_shut(unsigned kinds);
/* Answers all that waits, and nothing waits any more. */
void slow_disk_open(void);
unsigned slow_disk_n_waiting(void);
