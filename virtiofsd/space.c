/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The space a file takes: LSEEK (holes and data), FALLOCATE, COPY_FILE_RANGE.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "virtiofsd/kill-privileges.h"
#include "virtiofsd/request.h"

/*
 * Copying is cut into chunks, and what took longer than this is answered short: the caller in the
 * guest asks again, and can be interrupted in between. The chunk suits file systems that share
 * extents in aligned pieces.
 */
#define SPACE_COPY_CHUNK   (64u << 20)
#define SPACE_COPY_SECONDS 1

int fs_do_lseek(struct fs_request *request)
{
    struct fs_share *share = request->share;
    const struct fuse_lseek_in *in = &request->args.lseek;
    struct fs_handle *handle;
    off_t offset;

    if (in->whence == SEEK_CUR || in->whence > SEEK_HOLE)
        return -EINVAL;
    handle = fs_handle_get(share->handles, in->fh, FS_HANDLE_FILE);
    if (!handle)
        return -EBADF;
    /* Moves the position of the descriptor, which nothing else uses. */
    offset = lseek(handle->fd, (off_t)in->offset, (int)in->whence);
    if (offset < 0)
        offset = -errno;
    fs_handle_put(share->handles, handle);
    if (offset < 0)
        return (int)offset;
    request->reply.lseek = (struct fuse_lseek_out){.offset = (uint64_t)offset};
    return (int)sizeof(request->reply.lseek);
}

/*
 * Setuid and setgid bits go where a user changes a file. With HANDLE_KILLPRIV_V2 that is ours to
 * do, and neither operation has a flag that says so.
 */
static int space_kill_privileges(const struct fs_request *request, int fd)
{
    bool by_user =
        request->header.uid != 0 && fs_share_negotiated(request->share, FUSE_HANDLE_KILLPRIV_V2);

    return fs_kill_privileges(request->share, fd, by_user);
}

int fs_do_fallocate(struct fs_request *request)
{
    struct fs_share *share = request->share;
    const struct fuse_fallocate_in *in = &request->args.fallocate;
    struct fs_handle *handle = fs_handle_get(share->handles, in->fh, FS_HANDLE_FILE);
    int ret;

    if (!handle)
        return -EBADF;
    ret = space_kill_privileges(request, handle->fd);
    if (ret == 0 && fallocate(handle->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length) < 0)
        ret = -errno;
    fs_handle_put(share->handles, handle);
    return ret;
}

/* Copies up to len bytes, for about SPACE_COPY_SECONDS. Bytes, or -errno where none was copied. */
static int64_t space_copy(const struct fuse_copy_file_range_in *in, int fd_in, int fd_out,
                          uint64_t len)
{
    off_t off_in = (off_t)in->off_in, off_out = (off_t)in->off_out;
    struct timespec begin, now;
    uint64_t done = 0;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        uint64_t chunk = len - done < SPACE_COPY_CHUNK ? len - done : SPACE_COPY_CHUNK;
        ssize_t ret = copy_file_range(fd_in, &off_in, fd_out, &off_out, chunk, (unsigned)in->flags);

        if (ret < 0 && done == 0)
            return -errno;
        if (ret <= 0)
            break;
        done += (uint64_t)ret;
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (done < len && now.tv_sec - begin.tv_sec <= SPACE_COPY_SECONDS);
    return (int64_t)done;
}

/*
 * What the host would say of the whole, which we cut up: a range that ends nowhere, or overlaps
 * with itself. The end of the source is that of now: a file that is appended to itself ends.
 */
static int space_check_copy(const struct fuse_copy_file_range_in *in, int fd_in, int fd_out,
                            uint64_t *ret_len)
{
    uint64_t from = in->off_in, to = in->off_out, len = 0;
    struct stat st_in, st_out;

    if (from + in->len < from || to + in->len < to)
        return -EOVERFLOW;
    if (fstat(fd_in, &st_in) < 0 || fstat(fd_out, &st_out) < 0)
        return -errno;
    if (from < (uint64_t)st_in.st_size)
        len = MIN(in->len, (uint64_t)st_in.st_size - from);
    if (st_in.st_dev == st_out.st_dev && st_in.st_ino == st_out.st_ino && from + len > to &&
        to + len > from)
        return -EINVAL;
    *ret_len = len;
    return 0;
}

/* Up to max_len bytes of what is asked for, or -errno. */
static int64_t space_copy_files(struct fs_request *request, uint64_t max_len)
{
    struct fs_share *share = request->share;
    const struct fuse_copy_file_range_in *in = &request->args.copy_file_range;
    struct fs_handle *from = fs_handle_get(share->handles, in->fh_in, FS_HANDLE_FILE);
    struct fs_handle *to = fs_handle_get(share->handles, in->fh_out, FS_HANDLE_FILE);
    int64_t ret = -EBADF;
    uint64_t len = 0;

    if (from && to)
        ret = space_check_copy(in, from->fd, to->fd, &len);
    if (ret == 0)
        ret = space_kill_privileges(request, to->fd);
    if (ret == 0)
        ret = space_copy(in, from->fd, to->fd, MIN(len, max_len));
    if (to)
        fs_handle_put(share->handles, to);
    if (from)
        fs_handle_put(share->handles, from);
    return ret;
}

int fs_do_copy_file_range(struct fs_request *request)
{
    /* The reply has 32 bits. */
    int64_t ret = space_copy_files(request, UINT32_MAX & ~(uint64_t)(SPACE_COPY_CHUNK - 1));

    if (ret < 0)
        return (int)ret;
    request->reply.write = (struct fuse_write_out){.size = (uint32_t)ret};
    return (int)sizeof(request->reply.write);
}

int fs_do_copy_file_range_64(struct fs_request *request)
{
    int64_t ret = space_copy_files(request, UINT64_MAX);

    if (ret < 0)
        return (int)ret;
    request->reply.bytes_copied = (uint64_t)ret;
    return (int)sizeof(request->reply.bytes_copied);
}
