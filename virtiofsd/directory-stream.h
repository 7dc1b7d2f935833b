/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories that a guest reads without having opened them (FUSE_NO_OPENDIR_SUPPORT): its requests
 * say nodeid and offset, and no fh. They are served by a few handles of our own, opened when the
 * first request comes and closed when the directory has been read to its end or others are wanted
 * more. A stream that was closed early is opened again and goes on by its offset, which is the
 * host's and means the same to any descriptor of that directory.
 */
#pragma once

#include <pthread.h>
#include <stdint.h>

#define FS_N_DIRECTORY_STREAMS 32

struct fs_handle;
struct fs_share;

/* Begins zeroed, but for its lock. */
struct fs_directory_streams {
    pthread_mutex_t lock; /* guards what follows */
    uint64_t clock;       /* uses so far */
    struct fs_directory_stream {
        uint64_t nodeid;
        uint64_t fh;   /* may be closed by now: ids are never used again */
        uint64_t used; /* clock when it was used last; 0: free */
    } streams[FS_N_DIRECTORY_STREAMS];
};

/* What fh stands for, opened on demand where it is 0 and may be. Pinned; NULL with *ret_error:
 * -EBADF, -EMFILE, or why the directory cannot be opened. Any thread. */
struct fs_handle *fs_directory_handle_get(struct fs_share *share, uint64_t nodeid, uint64_t fh,
                                          int *ret_error);
/* The directory was read to its end. */
void fs_directory_stream_end(struct fs_share *share, uint64_t nodeid);
