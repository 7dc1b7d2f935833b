/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of the few directories being read, searched from front to end. No lock is held while a
 * directory is opened or closed.
 */
#include "virtiofsd/directory-stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/fuse-wire.h"
#include "virtiofsd/open.h"

static struct fs_directory_stream *stream_find_locked(struct fs_directory_streams *streams,
                                                      uint64_t nodeid)
{
    for (unsigned i = 0; i < FS_N_DIRECTORY_STREAMS; i++)
        if (streams->streams[i].used > 0 && streams->streams[i].nodeid == nodeid)
            return &streams->streams[i];
    return NULL;
}

/* A free one, or the one not used for longest. */
static struct fs_directory_stream *stream_oldest_locked(struct fs_directory_streams *streams)
{
    struct fs_directory_stream *oldest = &streams->streams[0];

    for (unsigned i = 1; i < FS_N_DIRECTORY_STREAMS; i++)
        if (streams->streams[i].used < oldest->used)
            oldest = &streams->streams[i];
    return oldest;
}

/* The fh of a directory's stream, 0 where it has none. */
static uint64_t stream_use(struct fs_directory_streams *streams, uint64_t nodeid)
{
    VU_LOCK_SCOPE(&streams->lock);
    struct fs_directory_stream *stream = stream_find_locked(streams, nodeid);

    if (!stream)
        return 0;
    stream->used = ++streams->clock;
    return stream->fh;
}

/* Makes fh the stream of the directory. Returns the fh that it replaces, to be released, or 0. */
static uint64_t stream_put(struct fs_directory_streams *streams, uint64_t nodeid, uint64_t fh)
{
    VU_LOCK_SCOPE(&streams->lock);
    struct fs_directory_stream *stream = stream_find_locked(streams, nodeid);
    uint64_t replaced;

    if (!stream)
        stream = stream_oldest_locked(streams);
    replaced = stream->used > 0 ? stream->fh : 0;
    *stream = (struct fs_directory_stream){.nodeid = nodeid, .fh = fh, .used = ++streams->clock};
    return replaced;
}

static struct fs_handle *stream_open(struct fs_share *share, uint64_t nodeid, int *ret_error)
{
    struct fs_handle *handle;
    uint64_t fh, replaced;
    int ret = fs_open_directory(share, nodeid, O_RDONLY, &fh);

    if (ret < 0) {
        *ret_error = ret;
        return NULL;
    }
    /* Before another thread can replace and release it. */
    handle = fs_handle_get(share->handles, fh, FS_HANDLE_DIRECTORY);
    replaced = stream_put(&share->streams, nodeid, fh);
    if (replaced)
        fs_handle_release(share->handles, replaced, FS_HANDLE_DIRECTORY);
    *ret_error = -EBADF; /* where a reset came between */
    return handle;
}

struct fs_handle *fs_directory_handle_get(struct fs_share *share, uint64_t nodeid, uint64_t fh,
                                          int *ret_error)
{
    bool by_nodeid = fh == 0 && fs_share_negotiated(share, FUSE_NO_OPENDIR_SUPPORT);
    struct fs_handle *handle;

    if (by_nodeid)
        fh = stream_use(&share->streams, nodeid);
    handle = fs_handle_get(share->handles, fh, FS_HANDLE_DIRECTORY);
    if (!handle && by_nodeid)
        return stream_open(share, nodeid, ret_error);
    *ret_error = -EBADF;
    return handle;
}

void fs_directory_stream_end(struct fs_share *share, uint64_t nodeid)
{
    struct fs_directory_streams *streams = &share->streams;
    struct fs_directory_stream *stream;
    uint64_t fh = 0;

    pthread_mutex_lock(&streams->lock);
    stream = stream_find_locked(streams, nodeid);
    if (stream) {
        fh = stream->fh;
        stream->used = 0;
    }
    pthread_mutex_unlock(&streams->lock);
    if (stream)
        fs_handle_release(share->handles, fh, FS_HANDLE_DIRECTORY);
}
