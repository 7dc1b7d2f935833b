/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of inodes: from the O_PATH descriptor that the inode table holds to one that reads
 * and writes.
 */
#pragma once

#include "virtiofsd/inode.h"
#include "virtiofsd/share.h"

struct fs_request;

/*
 * A new descriptor of a regular file or a directory, to be closed by the caller. `flags` are those
 * of open(2); the kernel's follow-up is by inode, not by name, so nothing can be put in its place.
 * -EISDIR (a directory to be written), -ELOOP (a symbolic link), -EOPNOTSUPP (devices, fifos and
 * sockets: theirs is the guest's, the host's are never opened), or -errno of openat.
 */
int fs_open_inode(const struct fs_share *share, struct fs_inode *inode, int flags);

/* Entry and handle in the reply of a request that made the regular file new_fd (taken over). 0 or
 * -errno. */
int fs_open_reply_new(struct fs_request *request, int new_fd);

/* FSYNC and FSYNCDIR on a handle, by the request's arguments. 0 or -errno. */
int fs_open_sync(const struct fs_request *request, const struct fs_handle *handle);

/* What the handle was of, opened anew as it was opened first: a descriptor or -errno. */
int fs_open_again(const struct fs_share *share, struct fs_inode *inode, struct fs_handle *handle);

/* A descriptor to read a directory by, or -errno. */
int fs_open_directory_fd(const struct fs_share *share, struct fs_inode *inode, uint32_t flags);
/* A handle of a directory that the guest knows, opened with `flags` of its own. 0 or -errno. */
int fs_open_directory(struct fs_share *share, uint64_t nodeid, uint32_t flags, uint64_t *ret_fh);

/* O_NOATIME, or 0: what an open of the guest's with `flags` does to the time of access. */
int fs_open_noatime(const struct fs_share *share, uint32_t flags);

/* Of the flags of open(2) that the guest gives for a regular file, those that the host's descriptor
 * is opened with. */
int fs_open_host_flags(const struct fs_share *share, uint32_t flags);
