/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A character device, a FIFO or a file, opened before the sandbox and never again. What is at its
 * end for now (a file that was read through, a FIFO nobody writes to) may have more later; a file
 * is not read again from its beginning, for the bytes would be the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/major.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "contrib/vrngd/source.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/options.h"

#define FILE_RANDOM_MINOR  8 /* of the memory devices */
#define FILE_URANDOM_MINOR 9
#define FILE_HWRNG_MINOR   183 /* of the misc devices: /dev/hwrng, whatever it is called */

static int file_poll_fd(const struct rng_source *source, short *ret_events)
{
    *ret_events = POLLIN;
    return source->fd;
}

static ssize_t file_read(struct rng_source *source, void *to, size_t size)
{
    ssize_t n = read(source->fd, to, size);

    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    return n > 0 ? n : -ENODATA;
}

static void file_destroy(struct rng_source *source)
{
    vu_clear_fd(&source->fd);
    g_free(source);
}

static const struct rng_source_ops file_ops = {
    .poll_fd = file_poll_fd,
    .read = file_read,
    .destroy = file_destroy,
};

static bool file_is_hwrng(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && major(st->st_rdev) == MISC_MAJOR &&
           minor(st->st_rdev) == FILE_HWRNG_MINOR;
}

/* /dev/null, /dev/zero and the like. */
static bool file_is_empty_promise(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && major(st->st_rdev) == MEM_MAJOR &&
           minor(st->st_rdev) != FILE_RANDOM_MINOR && minor(st->st_rdev) != FILE_URANDOM_MINOR;
}

struct rng_source *rng_source_create_file(const char *what, GError **error)
{
    vu_autofd int fd = open(what, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct rng_source *source;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        g_set_error(error, VU_OPTION_ERROR, 0, "cannot open %s: %s", what, g_strerror(errno));
        return NULL;
    }
    if (file_is_empty_promise(&st)) {
        g_set_error(error, VU_OPTION_ERROR, 0, "%s has no random bytes", what);
        return NULL;
    }
    if (!S_ISCHR(st.st_mode) && !S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode)) {
        g_set_error(error, VU_OPTION_ERROR, 0,
                    "expected a character device, a FIFO or a file, got %s", what);
        return NULL;
    }
    source = g_new0(struct rng_source, 1);
    source->ops = &file_ops;
    source->is_raw = file_is_hwrng(&st);
    source->fd = vu_steal_fd(&fd);
    return source;
}
