/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounting and unmounting by libfuse3, and further descriptors of one mount.
 */
#define FUSE_USE_VERSION 31
#include "contrib/mount/fuse-mount.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

struct fuse_mount {
    struct fuse_session *session;
    char *dir; /* absolute */
};

static void fuse_mount_log(enum fuse_log_level level, const char *format, va_list args)
    G_GNUC_PRINTF(2, 0);

static void fuse_mount_log(enum fuse_log_level level, const char *format, va_list args)
{
    g_autofree char *line = g_strdup_vprintf(format, args);

    vu_log(level <= FUSE_LOG_ERR ? VU_LOG_ERROR : VU_LOG_INFO, "%s", g_strchomp(line));
}

static struct fuse_session *fuse_mount_new_session(const char *options)
{
    static const struct fuse_lowlevel_ops no_ops; /* requests are never handed to libfuse */
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct fuse_session *session = NULL;

    if (fuse_opt_add_arg(&args, "vhost-user-mount") == 0 && fuse_opt_add_arg(&args, "-o") == 0 &&
        fuse_opt_add_arg(&args, options) == 0)
        session = fuse_session_new(&args, &no_ops, sizeof(no_ops), NULL);
    fuse_opt_free_args(&args);
    return session;
}

struct fuse_mount *fuse_mount_open(const char *dir, const char *options, GError **error)
{
    char *absolute = realpath(dir, NULL);
    struct fuse_session *session;
    struct fuse_mount *mount;

    if (!absolute) {
        g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(errno), "%s: %s", dir,
                    g_strerror(errno));
        return NULL;
    }
    fuse_set_log_func(fuse_mount_log);
    session = fuse_mount_new_session(options);
    if (!session || fuse_session_mount(session, absolute) != 0) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot mount on %s with -o %s",
                    absolute, options);
        if (session)
            fuse_session_destroy(session);
        free(absolute);
        return NULL;
    }
    mount = g_new0(struct fuse_mount, 1);
    mount->session = session;
    mount->dir = absolute;
    return mount;
}

int fuse_mount_fd(const struct fuse_mount *mount)
{
    return fuse_session_fd(mount->session);
}

/* The mount's own descriptor once more, for a user who may not open the device. */
static int fuse_mount_dup_fd(const struct fuse_mount *mount)
{
    vu_autofd int fd = fcntl(fuse_mount_fd(mount), F_DUPFD_CLOEXEC, 0);
    int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return vu_steal_fd(&fd);
}

int fuse_mount_clone_fd(const struct fuse_mount *mount)
{
    uint32_t from = (uint32_t)fuse_mount_fd(mount);
    vu_autofd int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || ioctl(fd, FUSE_DEV_IOC_CLONE, &from) < 0)
        return fuse_mount_dup_fd(mount);
    return vu_steal_fd(&fd);
}

void fuse_mount_close(struct fuse_mount *mount)
{
    fuse_session_unmount(mount->session);
}

void fuse_mount_free(struct fuse_mount *mount)
{
    fuse_session_destroy(mount->session);
    free(mount->dir);
    g_free(mount);
}
