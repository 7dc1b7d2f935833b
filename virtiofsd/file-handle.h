/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's file handles: what names an inode of a file system for good, also when nobody has it
 * open. A handle is never the guest's: ours are made from what was found in the share. Any thread.
 */
#pragma once

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>

union fs_file_handle {
    struct file_handle head;
    uint8_t room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

/*
 * Of what a descriptor stands for (name ""), or of a name in a directory; links are not followed.
 * 0, -EOPNOTSUPP where the file system has none, or -errno.
 */
int fs_file_handle_get(int fd, const char *name, union fs_file_handle *ret_handle);
/*
 * An O_PATH descriptor. mount_fd: any open file or directory of the mount. -ESTALE where the inode
 * is gone. Takes CAP_DAC_READ_SEARCH: -EPERM.
 */
int fs_file_handle_open(int mount_fd, union fs_file_handle *handle);
/*
 * Whether we may open any kind of file by its handle, and whether those of a directory's file
 * system can be. 0, -EPERM, -EOPNOTSUPP, or another -errno. Start-up.
 */
int fs_file_handle_probe(int dir_fd);
