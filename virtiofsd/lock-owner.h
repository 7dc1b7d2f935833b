/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds record locks: for each pair of an inode and a guest's lock owner (a process, in
 * general) one open file description of the host, whose locks (F_OFD_SETLK) are the owner's. They
 * are all released when it is closed.
 *
 * Any thread. An owner is used between find (or add) and put. Their number is bounded, since each
 * holds a descriptor.
 */
#pragma once

#include <fcntl.h>
#include <stdint.h>

struct fs_lock_owner;
struct fs_lock_owners;

int fs_lock_owners_create(uint32_t max_owners, struct fs_lock_owners **ret_owners);
void fs_lock_owners_destroy(struct fs_lock_owners *owners);

/* The owner, in use by the caller from now on; NULL where it is unknown and thus holds nothing. */
struct fs_lock_owner *fs_lock_owner_find(struct fs_lock_owners *owners, uint64_t nodeid,
                                         uint64_t id);
/*
 * The same, or a new one that takes over *fd (-1 afterwards), a description of its own. Where
 * another thread was quicker *fd stays the caller's, to close. 0 or -ENOLCK.
 */
int fs_lock_owner_add(struct fs_lock_owners *owners, uint64_t nodeid, uint64_t id, int *fd,
                      struct fs_lock_owner **ret_owner);
void fs_lock_owner_put(struct fs_lock_owners *owners, struct fs_lock_owner *owner);

/*
 * Takes or drops a lock by fcntl. `fh` is the handle that the guest names (its release ends the
 * lock at the latest), `pid` its process. The l_pid of `lock` is 0. -EAGAIN: somebody else has it;
 * -ENOLCK: the guest has too many; or what fcntl says.
 */
int fs_lock_owner_set(struct fs_lock_owners *owners, struct fs_lock_owner *owner, uint64_t fh,
                      uint32_t pid, struct flock *lock);
/* The same, but waits for it. -EDEADLK: for ever; -EINTR: a signal came. */
int fs_lock_owner_wait(struct fs_lock_owners *owners, struct fs_lock_owner *owner, uint64_t fh,
                       uint32_t pid, struct flock *lock);
/* Replaces `lock` by one that is in its way, as F_OFD_GETLK does. */
int fs_lock_owner_test(struct fs_lock_owner *owner, struct flock *lock);

/* All locks of an owner on an inode go, and the owner itself where no one uses it. */
void fs_lock_owner_drop(struct fs_lock_owners *owners, uint64_t nodeid, uint64_t id);
/* The same for all that locked an inode through this handle last. */
void fs_lock_owners_release(struct fs_lock_owners *owners, uint64_t nodeid, uint64_t fh);
/* All locks on all inodes go. Owners in use are closed by their last put. */
void fs_lock_owners_clear(struct fs_lock_owners *owners);

/* The guest's process, other than those of owner `id`, that holds a lock which F_OFD_GETLK
 * described; 0: none of ours. */
uint32_t fs_lock_owners_find_holder(struct fs_lock_owners *owners, uint64_t nodeid, uint64_t id,
                                    const struct flock *held);
