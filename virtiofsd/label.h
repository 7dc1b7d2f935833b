/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Security labels that the host's own SELinux gives to what a thread makes next: written into
 * /proc/thread-self/attr/fscreate. Where the host has none, a label is an attribute like others.
 */
#pragma once

#include <stddef.h>

#include "virtiofsd/share.h"

/* O_PATH of the folder of our threads in /proc, where fscreate works; -1 where it does not. */
int fs_label_open_tasks(int proc_fds);
/* What this thread makes next gets the label; none any more with length 0. 0 or -errno. */
int fs_label_set_next(const struct fs_share *share, const char *label, size_t len);
