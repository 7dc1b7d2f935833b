/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a name in a directory to an inode the guest knows, and to the attributes it is told. Shared
 * by LOOKUP, by everything that creates, and by READDIRPLUS.
 */
#pragma once

#include "virtiofsd/request.h"

/* statx bits every attribute reply needs, and those that identify an inode. */
#define FS_STATX_MASK (STATX_BASIC_STATS | STATX_MNT_ID)

/*
 * Looks name up in parent, counts one lookup, fills *ret_entry (nodeid, generation, attributes,
 * timeouts). One statx for a known inode; openat2(O_PATH | O_NOFOLLOW) and a second statx for a new
 * one. 0 or -errno.
 */
int fs_entry_lookup(struct fs_share *share, struct fs_inode *parent, const char *name,
                    struct fuse_entry_out *ret_entry);
/*
 * The same where the directory itself has said what it holds under this name: `ino`, of type DT_*.
 * An inode that the guest does not know then costs one statx less.
 */
int fs_entry_lookup_listed(struct fs_share *share, struct fs_inode *parent, const char *name,
                           uint64_t ino, unsigned type, struct fuse_entry_out *ret_entry);
/*
 * The same for *fd, an O_PATH descriptor of what was just created or opened (taken over or closed:
 * -1 afterwards in every case): one statx.
 */
int fs_entry_from_fd(struct fs_share *share, int *fd, struct fuse_entry_out *ret_entry);
/* Takes back the lookup that fs_entry_lookup counted, when its reply did not reach the guest. */
void fs_entry_unlookup(struct fs_share *share, const struct fuse_entry_out *entry);

/* With owners as the guest sees them. */
void fs_attr_from_statx(const struct fs_share *share, const struct statx *stx,
                        struct fuse_attr *ret_attr);
/*
 * How long the guest may keep the attributes of a file of that mode: by cache mode, but not at all
 * where a write takes setuid bits away without the guest being told (HANDLE_KILLPRIV_V2).
 */
struct timespec fs_attr_timeout(const struct fs_share *share, uint32_t mode);
