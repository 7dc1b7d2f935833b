/* SPDX-License-Identifier: Apache-2.0 */
/* Main thread. The folder stays open, so that the end needs no path. */
#include "vmm/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"

static bool pidfile_is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Whether the file is still the one in the folder. */
static bool pidfile_is_there(const struct vmm_pidfile *pidfile, int fd)
{
    struct stat own, there;

    return fstat(fd, &own) == 0 &&
           fstatat(pidfile->folder_fd, pidfile->name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           pidfile_is_same(&own, &there);
}

/* The descriptor, locked, or -errno. Whoever ends meanwhile removes the file: then there is another
 * to make. */
static int pidfile_open(const struct vmm_pidfile *pidfile)
{
    for (;;) {
        vu_autofd int fd = openat(pidfile->folder_fd, pidfile->name,
                                  O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);

        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
            return -errno;
        if (pidfile_is_there(pidfile, fd))
            return vu_steal_fd(&fd);
    }
}

bool vmm_pidfile_create(struct vmm_pidfile *pidfile, const char *path, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    int rc;

    *pidfile = (struct vmm_pidfile){
        .fd = -1,
        .folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC),
        .name = g_path_get_basename(path),
    };
    rc = pidfile->folder_fd < 0 ? -errno : pidfile_open(pidfile);
    if (rc >= 0) {
        pidfile->fd = rc;
        if (ftruncate(pidfile->fd, 0) == 0 && dprintf(pidfile->fd, "%d\n", (int)getpid()) > 0)
            return true;
        rc = -errno;
    }
    g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-rc), "-pidfile %s: %s", path,
                rc == -EWOULDBLOCK ? "it is another's, which runs" : g_strerror(-rc));
    vmm_pidfile_remove(pidfile);
    return false;
}

void vmm_pidfile_remove(struct vmm_pidfile *pidfile)
{
    if (pidfile->fd >= 0 && pidfile_is_there(pidfile, pidfile->fd))
        unlinkat(pidfile->folder_fd, pidfile->name, 0);
    vu_clear_fd(&pidfile->fd);
    vu_clear_fd(&pidfile->folder_fd);
    g_clear_pointer(&pidfile->name, g_free);
}
