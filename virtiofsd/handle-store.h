/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes remembered by file handles: where the handle of each is kept, and the descriptor of its
 * mount, without which it opens nothing. A mount's is held as long as an inode of it is remembered;
 * until then the mount stays, and its id, and the host cannot unmount it.
 *
 * Any thread; but what an inode has in *stored is only used once it is known to be kept, and
 * dropped when nobody uses it any more.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtiofsd/file-handle.h"

#define FS_STORED_HANDLE_ROOM 20 /* those of ext4, XFS, Btrfs and tmpfs have 8 to 20 bytes */

/* In an inode's record. */
struct fs_stored_handle {
    uint8_t type;
    uint8_t len; /* 0: none; FS_STORED_HANDLE_LONG: bytes hold the slot of a record in a table */
    uint8_t bytes[FS_STORED_HANDLE_ROOM];
};

#define FS_STORED_HANDLE_LONG 0xff

struct fs_handle_store;

/* At most max_long handles beyond FS_STORED_HANDLE_ROOM, and inodes of at most max_mounts mounts.
 * 0 or -errno. */
int fs_handle_store_create(uint32_t max_long, uint32_t max_mounts,
                           struct fs_handle_store **ret_store);
void fs_handle_store_destroy(struct fs_handle_store *store);

/*
 * Remembers the inode behind fd, an O_PATH descriptor, in *stored, unless it is there already. 0,
 * -EOPNOTSUPP (no handle; or it is no directory, and no inode of its mount is remembered), -ENFILE,
 * -errno.
 */
int fs_handle_store_keep(struct fs_handle_store *store, int fd, uint32_t mount_id,
                         struct fs_stored_handle *stored);
/* Counts an inode that is remembered already, by a handle of FS_STORED_HANDLE_ROOM at most, of a
 * mount of which another one is. */
void fs_handle_store_adopt(struct fs_handle_store *store, uint32_t mount_id);
/* An O_PATH descriptor of a remembered inode; -ESTALE where it is gone; -errno. */
int fs_handle_store_open(struct fs_handle_store *store, uint32_t mount_id,
                         const struct fs_stored_handle *stored);
bool fs_handle_store_equal(struct fs_handle_store *store, const struct fs_stored_handle *stored,
                           const union fs_file_handle *handle);
/* Forgets what *stored has, if anything. */
void fs_handle_store_drop(struct fs_handle_store *store, uint32_t mount_id,
                          struct fs_stored_handle *stored);
uint32_t fs_handle_store_n_mounts(struct fs_handle_store *store);
size_t fs_handle_store_bytes(const struct fs_handle_store *store);
