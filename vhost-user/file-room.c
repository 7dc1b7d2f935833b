/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room in a file, from fallocate(2); or, on a file system that has not got that, by writing what is
 * there once more, holes as zeros.
 */
#include "vhost-user/file-room.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <unistd.h>

#define ROOM_PIECE 4096u

/* One piece: 0 or -errno. */
static int room_write_again(int fd, off_t offset, size_t len)
{
    char piece[ROOM_PIECE] = {0};
    ssize_t n = pread(fd, piece, len, offset);

    if (n >= 0)
        n = pwrite(fd, piece, len, offset);
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -ENOSPC;
}

static int room_write(int fd, off_t offset, size_t len)
{
    size_t done = 0;
    int ret = 0;

    while (done < len && (ret == 0 || ret == -EINTR)) {
        size_t piece = MIN(len - done, ROOM_PIECE);

        ret = room_write_again(fd, offset + (off_t)done, piece);
        done += ret == 0 ? piece : 0;
    }
    return ret;
}

int vu_file_room_take(int fd, off_t offset, size_t len)
{
    int ret;

    do
        ret = fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, (off_t)len) < 0 ? -errno : 0;
    while (ret == -EINTR);
    return ret == -EOPNOTSUPP || ret == -ENOSYS ? room_write(fd, offset, len) : ret;
}
