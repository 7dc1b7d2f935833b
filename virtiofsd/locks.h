/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks of the guest as locks of the host, so that guests, and the host's own programs, see each
 * other's. Record locks (fcntl) are held by an open file description for each owner
 * (lock-owner.h), flock by that of the open file itself. Handlers are among those of request.h.
 */
#pragma once

#include "virtiofsd/request.h"

struct fs_locks;

/* NULL where neither kind is asked for. 0 or -errno. */
int fs_locks_create(const struct fs_options *options, uint32_t max_owners,
                    struct fs_locks **ret_locks);
/* The handles' locks (flock) end with them. */
void fs_locks_destroy(struct fs_locks *locks);
/* The guest is gone: nobody waits any more, no record is locked. */
void fs_locks_reset(struct fs_locks *locks);
/* Those that wait for locks on this queue's behalf are answered -ENOLCK; none is left on return,
 * and none comes until the queue is resumed. */
void fs_locks_quiesce(struct fs_locks *locks, unsigned queue);
void fs_locks_resume(struct fs_locks *locks, unsigned queue);

/* A process closes one of its descriptors of the file: all its record locks go. */
void fs_locks_flush(struct fs_locks *locks, uint64_t nodeid, uint64_t owner);
/* RELEASE, before the handle goes. */
void fs_locks_release(struct fs_locks *locks, const struct fuse_release_in *in,
                      const struct fs_handle *handle);
