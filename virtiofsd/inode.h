/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inodes a guest knows: found by nodeid (what the guest says) and by identity (what statx
 * says). Each holds an O_PATH descriptor, so that its inode number cannot be reused on the host
 * while the guest may name it.
 *
 * Any thread. An inode is used between fs_inode_get (or a find) and fs_inode_put. Lookup counts are
 * the guest's; FORGET cannot take more than was given, and an inode whose count is 0 is gone with
 * its last pin.
 */
#pragma once

#include <stdint.h>
#include <sys/stat.h>

#include "virtiofsd/state-table.h"

struct fs_inode {
    struct fs_record record;
    uint64_t dev; /* stx_dev_major:minor, packed by makedev */
    uint64_t ino;
    uint64_t mount_id;  /* stx_mnt_id: one inode seen through two mounts is two */
    uint64_t n_lookup;  /* guarded by the shard's lock */
    uint64_t version;   /* atomic: see unchanged.h */
    uint32_t mode_type; /* S_IFMT part, fixed for the life of an inode */
    int32_t fd;         /* O_PATH, of this process */
};

struct fs_inodes;

/* root_fd (taken over): O_PATH of the shared directory; becomes nodeid FUSE_ROOT_ID, never
 * forgotten. */
int fs_inodes_create(int root_fd, uint32_t max_inodes, struct fs_inodes **ret_inodes);
void fs_inodes_destroy(struct fs_inodes *inodes);

/* Pinned, or NULL where the guest holds no such nodeid (ESTALE). */
struct fs_inode *fs_inode_get(struct fs_inodes *inodes, uint64_t nodeid);
void fs_inode_put(struct fs_inodes *inodes, struct fs_inode *inode);

/* The known inode of that identity with n more lookups, pinned; NULL where it is unknown. */
struct fs_inode *fs_inode_find(struct fs_inodes *inodes, const struct statx *stx,
                               uint64_t n_lookups);
/*
 * The same, or a new one that takes over *fd (an O_PATH descriptor of that very inode; -1
 * afterwards). Where another thread was quicker *fd stays the caller's, to close. Returns 0 or
 * -ENFILE.
 */
int fs_inode_find_or_add(struct fs_inodes *inodes, const struct statx *stx, int *fd,
                         uint64_t n_lookups, struct fs_inode **ret_inode);
/* FORGET: unknown nodeids and counts beyond what was given are ignored. */
void fs_inode_forget(struct fs_inodes *inodes, uint64_t nodeid, uint64_t n_lookups);
/* DESTROY or a new session: every lookup count to 0, the root excepted. */
void fs_inodes_forget_all(struct fs_inodes *inodes);

uint64_t fs_inode_nodeid(const struct fs_inodes *inodes, const struct fs_inode *inode);
uint64_t fs_inode_generation(const struct fs_inode *inode);
/* Whether a new inode would meet -ENFILE: asked before one is made. */
bool fs_inodes_are_full(const struct fs_inodes *inodes);
uint32_t fs_inodes_count(const struct fs_inodes *inodes);
size_t fs_inodes_bytes(const struct fs_inodes *inodes); /* of our own memory, hash table included */
