/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inodes a guest knows: found by nodeid (what the guest says) and by identity (what statx
 * says). Each is held by an O_PATH descriptor, so that its inode number cannot be reused on the
 * host while the guest may name it; or, where descriptors are short and the host permits it, by its
 * file handle, from which a descriptor is made when one is needed.
 *
 * Any thread. An inode is used between fs_inode_get (or a find) and fs_inode_put. Lookup counts are
 * the guest's; FORGET cannot take more than was given, and an inode whose count is 0 is gone with
 * its last pin. Or it is remembered, where limits.max_past says so, since the guest may still name
 * it in a file handle: by a handle of ours and without a descriptor, until room is wanted.
 */
#pragma once

#include <assert.h>
#include <stdint.h>
#include <sys/stat.h>

#include "virtiofsd/fd-cache.h"
#include "virtiofsd/handle-store.h"

enum fs_inode_standing {
    FS_INODE_KNOWN,
    FS_INODE_STALE, /* its number is another's by now, or it is given up */
    FS_INODE_PAST,  /* forgotten by the guest, and remembered */
};

struct fs_inode {
    struct fs_fd_record fd; /* see fs_inode_fd */
    uint64_t ino;
    union {
        uint64_t n_lookup; /* guarded by the shard's lock */
        struct {
            uint32_t older, newer; /* slots, 0: none; guarded by the list's lock */
        } past;                    /* FS_INODE_PAST, whose count is 0 */
    };
    uint64_t version;           /* atomic: see unchanged.h */
    uint32_t dev;               /* see fs_inode_dev */
    uint32_t mount_id;          /* stx_mnt_id: one inode seen through two mounts is two */
    uint8_t type : 4;           /* S_IFMT part of the mode >> 12, fixed; see fs_inode_type */
    uint8_t is_beside_root : 1; /* on the root's mount, whatever that is called; fixed */
    uint8_t standing;           /* enum fs_inode_standing; atomic, written under the shard's lock */
    struct fs_stored_handle handle;
};
static_assert(sizeof(struct fs_inode) == 80, "the cost of an inode");

struct fs_inodes;
struct fs_state_shape; /* see state-file.h */

struct fs_inodes_limits {
    uint32_t n_inodes;
    bool by_handle; /* inodes may do without a descriptor; the rest is for that only */
    bool always;    /* ... and those that cannot are refused: -EOPNOTSUPP */
    struct fs_fd_cache_limits fds;
    uint32_t n_mounts;
    uint32_t max_past; /* so many forgotten ones are remembered */
    /* Where the table is kept for a successor; NULL: nowhere. Takes by_handle. */
    const struct fs_state_place *place;
};

struct fs_inodes_usage {
    uint32_t n_inodes, n_fds, n_mounts; /* n_fds: those of inodes */
    uint32_t n_past;                    /* of n_inodes */
    uint64_t n_reopens;                 /* of descriptors, so far */
    size_t bytes;                       /* of our own memory, hash table included */
};

/* root_fd (taken over): O_PATH of the shared directory; becomes nodeid FUSE_ROOT_ID, never
 * forgotten. 0 or -errno; -EBADMSG: what is at a place that is_adopted is no table of ours. */
int fs_inodes_create(int root_fd, const struct fs_inodes_limits *limits,
                     struct fs_inodes **ret_inodes);
/* What there is to know of a table with these limits: the part of *ret_shape that is of inodes. 0
 * or -errno. */
int fs_inodes_shape(int root_fd, const struct fs_inodes_limits *limits,
                    struct fs_state_shape *ret_shape);
void fs_inodes_destroy(struct fs_inodes *inodes);
/* As fs_state_table_leave. */
int fs_inodes_leave(struct fs_inodes *inodes);

/* Pinned, or NULL where the guest holds no such nodeid (ESTALE). */
struct fs_inode *fs_inode_get(struct fs_inodes *inodes, uint64_t nodeid);
/* The same, or one that is remembered. -ESTALE also where that is gone on the host, which is then
 * given up; or an errno of open_by_handle_at(2). */
int fs_inode_recall(struct fs_inodes *inodes, uint64_t nodeid, struct fs_inode **ret_inode);
/* fs_inode_get and fs_inode_fd in one: the descriptor; or -errno, and nothing is pinned. */
int fs_inode_get_fd(struct fs_inodes *inodes, uint64_t nodeid, struct fs_inode **ret_inode);
void fs_inode_put(struct fs_inodes *inodes, struct fs_inode *inode);
/* Puts a pinned inode by its nodeid. */
void fs_inode_put_by_id(struct fs_inodes *inodes, uint64_t nodeid);

/*
 * The O_PATH descriptor of a pinned inode, which is open until the inode is put. -ESTALE where it
 * is gone on the host, or another errno of open_by_handle_at(2); never fails while it is held by a
 * descriptor.
 */
int fs_inode_fd(struct fs_inodes *inodes, struct fs_inode *inode);

/* For a pinned directory with which another mount begins: while it is known, the files of that
 * mount can be remembered by handles. */
void fs_inode_enter_mount(struct fs_inodes *inodes, struct fs_inode *inode);

/*
 * The known inode of that identity with n more lookups, pinned; NULL where it is unknown, or where
 * it is known, has no descriptor that would prove it to be the same, and `handle` (may be NULL) is
 * not its own. *ret_doubtful: such a one is known, and `handle` was NULL.
 */
struct fs_inode *fs_inode_find(struct fs_inodes *inodes, const struct statx *stx,
                               const union fs_file_handle *handle, uint64_t n_lookups,
                               bool *ret_doubtful);
/*
 * The same, or a new one that takes over *fd (an O_PATH descriptor of that very inode; -1
 * afterwards). Where it is not needed *fd stays the caller's, to close. Returns 0, -ENFILE,
 * -EOPNOTSUPP (limits.always) or an errno of name_to_handle_at(2).
 */
int fs_inode_find_or_add(struct fs_inodes *inodes, const struct statx *stx, int *fd,
                         uint64_t n_lookups, struct fs_inode **ret_inode);
/* FORGET: unknown nodeids and counts beyond what was given are ignored. */
void fs_inode_forget(struct fs_inodes *inodes, uint64_t nodeid, uint64_t n_lookups);
/* DESTROY or a new session: every lookup count to 0, the root excepted, and none is remembered. */
void fs_inodes_forget_all(struct fs_inodes *inodes);

uint64_t fs_inode_nodeid(const struct fs_inodes *inodes, const struct fs_inode *inode);
uint64_t fs_inode_generation(const struct fs_inode *inode);
/* Whether stx is of that inode or, where it has no descriptor, of one that took its number. */
bool fs_inode_is(const struct fs_inode *inode, const struct statx *stx);
/* Fills what statx says of a file `ino` of mode `mode`, on the file system of that inode. */
void fs_inode_identify_sibling(const struct fs_inode *inode, uint64_t ino, uint32_t mode,
                               struct statx *ret_stx);
/* Whether a new inode would meet -ENFILE: asked before one is made. */
bool fs_inodes_are_full(struct fs_inodes *inodes);
/* Whether new inodes are better left to those who ask for them by name. */
bool fs_inodes_are_crowded(const struct fs_inodes *inodes);
bool fs_inodes_are_by_handle(const struct fs_inodes *inodes);
void fs_inodes_get_usage(struct fs_inodes *inodes, struct fs_inodes_usage *ret_usage);
uint32_t fs_inodes_count(const struct fs_inodes *inodes);

/* A device number as the kernel has it, in half the space of dev_t. */
static inline uint32_t fs_inode_dev(unsigned dev_major, unsigned dev_minor)
{
    return dev_major << 20 | dev_minor;
}

static inline mode_t fs_inode_type(const struct fs_inode *inode)
{
    return (mode_t)inode->type << 12;
}
