/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes of what a descriptor of ours stands for, be it O_PATH: regular files,
 * directories, symbolic links, devices. None is opened, and no link is followed: the kernel goes
 * from the name in /proc/self/fd to the very inode. (f*xattr and the *xattrat calls with
 * AT_EMPTY_PATH refuse O_PATH.)
 *
 * One system call each. As those of the C library, but -errno instead of errno. Any thread.
 */
#pragma once

#include <sys/types.h>

#include "virtiofsd/share.h"

ssize_t fs_xattr_get(const struct fs_share *share, int fd, const char *name, void *value,
                     size_t size);
ssize_t fs_xattr_list(const struct fs_share *share, int fd, char *names, size_t size);
int fs_xattr_set(const struct fs_share *share, int fd, const char *name, const void *value,
                 size_t size, int flags);
int fs_xattr_remove(const struct fs_share *share, int fd, const char *name);
