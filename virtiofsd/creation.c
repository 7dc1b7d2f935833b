/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Creating as the guest's user would: ids, supplementary group, umask, security label.
 */
#include "virtiofsd/creation.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/xattr.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/beneath.h"
#include "virtiofsd/label.h"
#include "virtiofsd/thread.h"
#include "virtiofsd/xattr-fd.h"

/* The host's name of the attribute that holds the label. */
static int creation_label_name(const struct fs_share *share, const struct fs_creation *creation,
                               char ret_name[XATTR_NAME_MAX + 1])
{
    return fs_xattrmap_to_host(share->options->xattrmap, creation->extensions.label_name, ret_name);
}

/* Whether the host's SELinux is to give the label: it is there, and the label one of its own. */
static bool creation_uses_fscreate(const struct fs_share *share, const struct fs_creation *creation)
{
    char name[XATTR_NAME_MAX + 1];

    return share->label_tasks >= 0 && creation->extensions.label_len > 0 &&
           creation_label_name(share, creation, name) == 0 &&
           strcmp(creation->extensions.label_name, XATTR_NAME_SELINUX) == 0 &&
           strcmp(name, XATTR_NAME_SELINUX) == 0;
}

static int creation_switch_creds(const struct fs_request *request, struct fs_creation *creation)
{
    const struct fs_extensions *extensions = &creation->extensions;
    enum fs_creds_policy policy = request->share->creds_policy;
    uint32_t group;
    int ret = fs_creds_switch(policy, request->header.uid, request->header.gid, creation->mode,
                              &creation->creds);

    /* With our capabilities it only matters to setgid bits; a server asks for it in any case. */
    if (ret == 0 && extensions->has_group &&
        (policy == FS_CREDS_RESTORE || creation->mode & S_ISGID) &&
        fs_idmap_translate(&request->share->options->translate_gid.to_host, extensions->group,
                           &group) == 0)
        fs_creds_take_group(&creation->creds, group);
    return ret;
}

int fs_creation_begin(const struct fs_request *request, mode_t mode, mode_t umask,
                      struct fs_creation *creation)
{
    const struct fs_share *share = request->share;
    bool host_masks = fs_share_negotiated(share, FUSE_DONT_MASK);
    int ret = fs_extensions_read(request, &creation->extensions);

    creation->mode = host_masks ? mode : mode & ~umask;
    if (ret == 0)
        ret = fs_thread_set_umask(host_masks ? umask & 0777 : 0);
    if (ret == 0)
        ret = creation_switch_creds(request, creation);
    if (ret < 0)
        return ret;
    creation->by_fscreate = creation_uses_fscreate(share, creation);
    if (creation->by_fscreate)
        ret = fs_label_set_next(share, creation->extensions.label, creation->extensions.label_len);
    if (ret < 0)
        fs_creds_restore(&creation->creds);
    return ret;
}

void fs_creation_end(const struct fs_request *request, const struct fs_creation *creation)
{
    if (creation->by_fscreate)
        fs_label_set_next(request->share, NULL, 0);
    fs_creds_restore(&creation->creds);
}

int fs_creation_label(const struct fs_share *share, const struct fs_creation *creation, int fd)
{
    const struct fs_extensions *extensions = &creation->extensions;
    char name[XATTR_NAME_MAX + 1];
    int ret;

    if (extensions->label_len == 0 || creation->by_fscreate)
        return 0;
    ret = creation_label_name(share, creation, name);
    if (ret < 0)
        return ret;
    return fs_xattr_set(share, fd, name, extensions->label, extensions->label_len, 0);
}

/* Makes the file without a name, labels it, and then gives it the name. */
static int creation_open_nameless(const struct fs_share *share, const struct fs_creation *creation,
                                  int dir_fd, const char *name, int flags)
{
    vu_autofd int fd = fs_open_beneath(dir_fd, ".", O_TMPFILE | O_RDWR, creation->mode);
    char source[16];
    int ret, reopened = -1;

    if (fd < 0)
        return fd == -EISDIR ? -EOPNOTSUPP : fd;
    ret = fs_creation_label(share, creation, fd);
    if (ret < 0)
        return ret;
    snprintf(source, sizeof(source), "%d", fd);
    if (linkat(share->proc_fds, source, dir_fd, name, AT_SYMLINK_FOLLOW) < 0)
        return -errno;
    /* A file that is open for writing cannot be run. */
    if ((flags & O_ACCMODE) != O_RDWR)
        reopened = fs_share_reopen(share, fd, flags);
    return reopened < 0 ? vu_steal_fd(&fd) : reopened;
}

int fs_creation_open(const struct fs_share *share, const struct fs_creation *creation, int dir_fd,
                     const char *name, int flags)
{
    vu_autofd int fd = -EOPNOTSUPP;
    int ret;

    if (creation->extensions.label_len > 0 && !creation->by_fscreate)
        fd = creation_open_nameless(share, creation, dir_fd, name, flags);
    if (fd != -EOPNOTSUPP)
        return vu_steal_fd(&fd);
    fd = fs_open_beneath(dir_fd, name, flags | O_CREAT | O_EXCL | O_NOFOLLOW, creation->mode);
    if (fd < 0)
        return fd;
    ret = fs_creation_label(share, creation, fd);
    if (ret < 0) {
        unlinkat(dir_fd, name, 0);
        return ret;
    }
    return vu_steal_fd(&fd);
}
