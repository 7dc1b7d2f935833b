/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files and directories of a guest, named by fh. Any thread; used between get and put; closed
 * when released and unpinned. Descriptors are capped, with a reserve for the daemon itself: the
 * guest gets -EMFILE, never the daemon.
 */
#pragma once

#include <dirent.h>
#include <pthread.h>

#include "virtiofsd/inode.h"

enum fs_handle_kind { FS_HANDLE_FILE = 1, FS_HANDLE_DIRECTORY = 2 };

struct fs_handle {
    struct fs_record record;
    uint64_t nodeid;
    uint16_t kind;
    uint16_t pins_inode;
    uint32_t open_flags; /* as the guest gave them, but O_DIRECT only where fd has it */
    int32_t fd;          /* of this process */
    uint32_t nowait;     /* atomic hint bits: this file refuses RWF_NOWAIT reads (1), writes (2),
                            or is known to accept it: reads (4), writes (8) */
    uint32_t slow[2];    /* atomic hints, reads and writes that refuse RWF_NOWAIT: how many more go
                            to helpers because one was slow, */
    uint32_t doubt[2];   /* ... and of how many it is asked whether they slept, because one took
                            long */
    uint64_t dir_offset; /* directories: where the kernel's position is, to save an lseek */
};

#define FS_HANDLE_NO_POSITION UINT64_MAX /* of dir_offset: not known */

struct fs_handles;

/* What is open pins its inode (`inodes` outlives the handles; NULL: it does not), which so keeps
 * its descriptor: a file without a name lives on for all requests, and not only for those that say
 * fh.
 */
int fs_handles_create(uint32_t max_handles, struct fs_inodes *inodes,
                      struct fs_handles **ret_handles);
/* The same with the table at a place. Where that is_adopted, fs_handles_adopt is called next. */
int fs_handles_create_at(const struct fs_state_place *place, uint32_t max_handles,
                         struct fs_inodes *inodes, struct fs_handles **ret_handles);
/*
 * What a predecessor left is open again, by `reopen` (a descriptor or -errno), which gets the
 * inode, pinned; the rest is gone, so many in *ret_n_gone. 0; or -errno, where some could not be
 * had for want of descriptors or memory: what is left is to be destroyed.
 */
int fs_handles_adopt(struct fs_handles *handles,
                     int (*reopen)(void *opaque, struct fs_inode *inode, struct fs_handle *handle),
                     void *opaque, uint32_t *ret_n_gone);
/* As fs_state_table_leave. */
int fs_handles_leave(struct fs_handles *handles);
void fs_handles_destroy(struct fs_handles *handles);
/* Takes over *fd (-1 afterwards) on success. 0 with *ret_fh, or -EMFILE, -ENOMEM. */
int fs_handle_add(struct fs_handles *handles, enum fs_handle_kind kind, uint64_t nodeid,
                  uint32_t open_flags, int *fd, uint64_t *ret_fh);
/* Pinned; NULL where there is none of that kind (EBADF). */
struct fs_handle *fs_handle_get(struct fs_handles *handles, uint64_t fh, enum fs_handle_kind kind);
void fs_handle_put(struct fs_handles *handles, struct fs_handle *handle);
/* RELEASE, RELEASEDIR. -EBADF where there is none of that kind. */
int fs_handle_release(struct fs_handles *handles, uint64_t fh, enum fs_handle_kind kind);
void fs_handles_release_all(struct fs_handles *handles);
/* Serialises users of one directory handle's position (striped locks). */
pthread_mutex_t *fs_handle_lock(struct fs_handles *handles, const struct fs_handle *handle);
/* Whether fs_handle_add would say -EMFILE: asked before something is made that must be opened. */
bool fs_handles_are_full(const struct fs_handles *handles);
uint32_t fs_handles_count(const struct fs_handles *handles);
