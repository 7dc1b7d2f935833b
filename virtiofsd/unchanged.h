/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a file is what it was when the guest opened it last, so that what the guest's page cache
 * holds of it need not be read again. --cache=auto. Any thread.
 */
#pragma once

#include "virtiofsd/inode.h"
#include "virtiofsd/share.h"

/*
 * For an open of the guest's: true where nothing of the file has changed since the open before.
 * Remembers how it is now. `fd` is the regular file, opened; one fstat where the file system can be
 * relied on for this, no system call elsewhere.
 */
bool fs_unchanged_since_open(const struct fs_share *share, struct fs_inode *inode, int fd);
/* fs_inode_dev of the share's root if files on it can be asked that, else 0. */
uint32_t fs_unchanged_find_dev(int root_fd);
