/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular files: OPEN, CREATE, FLUSH, RELEASE, FSYNC.
 *
 * What the guest asks for is cut down to the flags that mean something to the host. O_APPEND and
 * O_SYNC go with each write instead (data.c), because the guest may change O_APPEND later and its
 * write-back of mapped pages must never append. O_DIRECT is the guest's affair, unless
 * --allow-direct-io makes it the host's: it keeps the guest's page cache out, and the host's serves
 * all guests.
 */
#include "virtiofsd/open.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/cache-mode.h"
#include "virtiofsd/creation.h"
#include "virtiofsd/entry.h"
#include "virtiofsd/fs-kind.h"
#include "virtiofsd/kill-privileges.h"
#include "virtiofsd/locks.h"
#include "virtiofsd/request.h"
#include "virtiofsd/unchanged.h"

#define OPEN_HOST_FLAGS     (O_ACCMODE | O_TRUNC)
#define OPEN_CREATE_RETRIES 4 /* while a name comes and goes on the host */

int fs_open_inode(const struct fs_share *share, struct fs_inode *inode, int flags)
{
    bool directory = fs_inode_type(inode) == S_IFDIR;
    int path_fd, fd;

    if (fs_inode_type(inode) == S_IFLNK)
        return -ELOOP;
    if (fs_inode_type(inode) != S_IFREG && !directory)
        return -EOPNOTSUPP;
    if (directory && (flags & O_ACCMODE) != O_RDONLY)
        return -EISDIR;
    path_fd = fs_inode_fd(share->inodes, inode);
    if (path_fd < 0)
        return path_fd;
    fd = fs_share_reopen(share, path_fd, flags | O_NOCTTY);
    if (fd == -EPERM && (flags & O_NOATIME))
        fd = fs_share_reopen(share, path_fd, (flags & ~O_NOATIME) | O_NOCTTY);
    return fd;
}

int fs_open_noatime(const struct fs_share *share, uint32_t flags)
{
    if (share->options->readonly)
        return O_NOATIME;
    return share->options->preserve_noatime ? (int)flags & O_NOATIME : 0;
}

/* A guest that keeps what it writes has to read the rest of each page, whatever the file was opened
 * for. */
static bool open_must_read(const struct fs_share *share, uint32_t flags)
{
    return (flags & O_ACCMODE) == O_WRONLY && fs_share_negotiated(share, FUSE_WRITEBACK_CACHE);
}

int fs_open_host_flags(const struct fs_share *share, uint32_t flags)
{
    if (open_must_read(share, flags))
        flags = (flags & ~(uint32_t)O_ACCMODE) | O_RDWR;
    return (int)flags & OPEN_HOST_FLAGS;
}

/* Not every file system can. The flags to remember: with O_DIRECT where the descriptor has it. */
static uint32_t open_set_direct(const struct fs_share *share, int fd, uint32_t flags)
{
    int host_flags;

    if (!(flags & O_DIRECT))
        return flags;
    if (share->options->allow_direct_io) {
        host_flags = fcntl(fd, F_GETFL);
        if (host_flags >= 0 && fcntl(fd, F_SETFL, host_flags | O_DIRECT) == 0)
            return flags;
    }
    return flags & ~(uint32_t)O_DIRECT;
}

/* A handle for *fd (taken over on success) in *ret_open. */
static int open_add_handle(struct fs_share *share, uint64_t nodeid, uint32_t flags, int *fd,
                           struct fuse_open_out *ret_open)
{
    struct fuse_open_out open = {.open_flags = fs_cache_mode_of(share->options)->file_flags};
    int ret = fs_handle_add(share->handles, FS_HANDLE_FILE, nodeid,
                            open_set_direct(share, *fd, flags), fd, &open.fh);

    if (ret == 0)
        *ret_open = open;
    return ret;
}

/*
 * A descriptor, or -errno. *ret_past_cache where the guest must not keep pages: it could not
 * complete them, since the host lets us write and not read, as it may do with an ordinary user; or
 * they would be appended, since the host lets nobody do anything else (chattr +a).
 */
static int open_regular(const struct fs_share *share, struct fs_inode *inode, uint32_t flags,
                        bool *ret_past_cache)
{
    int noatime = fs_open_noatime(share, flags), fd;

    *ret_past_cache = false;
    if (fs_inode_type(inode) == S_IFDIR)
        return -EISDIR;
    fd = fs_open_inode(share, inode, fs_open_host_flags(share, flags) | noatime);
    if (fd == -EACCES && open_must_read(share, flags)) {
        *ret_past_cache = true;
        fd = fs_open_inode(share, inode, ((int)flags & OPEN_HOST_FLAGS) | noatime);
    }
    if (fd == -EPERM && flags & O_APPEND) {
        *ret_past_cache = true;
        fd = fs_open_inode(share, inode, ((int)flags & (OPEN_HOST_FLAGS | O_APPEND)) | noatime);
    }
    return fd;
}

/* Opens a regular file that the guest knows. */
static int open_file(struct fs_share *share, uint64_t nodeid, uint32_t flags, uint32_t open_flags,
                     struct fuse_open_out *ret_open)
{
    struct fs_inode *inode = fs_inode_get(share->inodes, nodeid);
    vu_autofd int fd = -1;
    bool past_cache, keep_cache;
    int ret = 0;

    if (!inode)
        return -ESTALE;
    fd = open_regular(share, inode, flags, &past_cache);
    keep_cache = fd >= 0 && fs_unchanged_since_open(share, inode, fd);
    if (fd >= 0 && (flags & O_TRUNC))
        ret = fs_kill_privileges(share, fd, open_flags & FUSE_OPEN_KILL_SUIDGID);
    if (fd < 0 || ret < 0)
        ret = fd < 0 ? fd : ret;
    else
        ret = open_add_handle(share, nodeid, flags, &fd, ret_open);
    fs_inode_put(share->inodes, inode);
    if (ret == 0 && past_cache)
        ret_open->open_flags = FOPEN_DIRECT_IO;
    else if (ret == 0 && keep_cache)
        ret_open->open_flags |= FOPEN_KEEP_CACHE;
    if (ret == 0 && (ret_open->open_flags & FOPEN_KEEP_CACHE))
        __atomic_fetch_add(&share->n_opens_kept, 1, __ATOMIC_RELAXED);
    return ret;
}

int fs_open_again(const struct fs_share *share, struct fs_inode *inode, struct fs_handle *handle)
{
    bool past_cache;
    int fd;

    if (handle->kind == FS_HANDLE_DIRECTORY)
        return fs_open_directory_fd(share, inode, handle->open_flags);
    fd = open_regular(share, inode, handle->open_flags & ~(uint32_t)O_TRUNC, &past_cache);
    if (fd >= 0)
        handle->open_flags = open_set_direct(share, fd, handle->open_flags);
    return fd;
}

int fs_do_open(struct fs_request *request)
{
    const struct fuse_open_in *in = &request->args.open;
    int ret = open_file(request->share, request->header.nodeid, in->flags, in->open_flags,
                        &request->reply.open);

    return ret < 0 ? ret : (int)sizeof(request->reply.open);
}

/* Makes the file, which must not exist: the descriptor, or -errno. As the guest's user. */
static int create_new(const struct fs_request *request, int dir_fd)
{
    const struct fuse_create_in *in = &request->args.create;
    struct fs_share *share = request->share;
    int flags = fs_open_host_flags(share, in->flags) | O_NOCTTY;
    struct fs_creation creation;
    int fd, ret;

    /* Nothing is left behind that could not be told of. */
    if (fs_handles_are_full(share->handles))
        return -EMFILE;
    if (fs_inodes_are_full(share->inodes))
        return -ENFILE;
    ret = fs_creation_begin(request, in->mode & 07777, in->umask, &creation);
    if (ret < 0)
        return ret;
    fd = fs_creation_open(share, &creation, dir_fd, request->name, flags);
    fs_creation_end(request, &creation);
    return fd;
}

int fs_open_reply_new(struct fs_request *request, int new_fd)
{
    struct fs_share *share = request->share;
    struct fuse_entry_out *entry = &request->reply.create.entry;
    vu_autofd int fd = new_fd;
    int path_fd = fs_share_reopen(share, fd, O_PATH);
    int ret;

    if (path_fd < 0)
        return path_fd;
    ret = fs_entry_from_fd(share, &path_fd, entry);
    if (ret < 0)
        return ret;
    ret = open_add_handle(share, entry->nodeid, request->args.create.flags, &fd,
                          &request->reply.create.open);
    if (ret < 0)
        fs_entry_unlookup(share, entry);
    return ret;
}

/*
 * The name exists although the guest did not see it: a plain open, if it is a regular file. Of
 * anything else the guest has to find out itself: -ESTALE makes it look the name up again.
 */
static int create_reply_existing(struct fs_request *request, struct fs_inode *parent)
{
    struct fs_share *share = request->share;
    struct fuse_entry_out *entry = &request->reply.create.entry;
    int ret = fs_entry_lookup(share, parent, request->name, entry);

    if (ret < 0)
        return ret;
    ret = -ESTALE;
    if (S_ISREG(entry->attr.mode))
        ret = open_file(share, entry->nodeid, request->args.create.flags,
                        request->args.create.open_flags, &request->reply.create.open);
    if (ret == 0 && (request->args.create.flags & O_TRUNC))
        entry->attr.size = entry->attr.blocks = 0;
    if (ret < 0)
        fs_entry_unlookup(share, entry);
    return ret;
}

int fs_do_create(struct fs_request *request)
{
    struct fs_share *share = request->share;
    struct fs_inode *parent;
    int dir_fd = fs_inode_get_fd(share->inodes, request->header.nodeid, &parent), ret = -ESTALE;

    if (dir_fd < 0)
        return dir_fd;
    for (int i = 0; i < OPEN_CREATE_RETRIES; i++) {
        ret = create_new(request, dir_fd);
        if (ret >= 0) {
            ret = fs_open_reply_new(request, ret);
            break;
        }
        if (ret != -EEXIST || (request->args.create.flags & O_EXCL))
            break;
        ret = create_reply_existing(request, parent);
        if (ret != -ENOENT)
            break;
    }
    fs_inode_put(share->inodes, parent);
    return ret < 0 ? ret : (int)sizeof(request->reply.create);
}

int fs_do_release(struct fs_request *request)
{
    const struct fuse_release_in *in = &request->args.release;
    struct fs_share *share = request->share;

    if (share->locks) {
        struct fs_handle *handle = fs_handle_get(share->handles, in->fh, FS_HANDLE_FILE);

        if (!handle)
            return -EBADF;
        fs_locks_release(share->locks, in, handle);
        fs_handle_put(share->handles, handle);
    }
    return fs_handle_release(share->handles, in->fh, FS_HANDLE_FILE);
}

/*
 * Asked on every close of a descriptor in the guest. A local file system has nothing to say then,
 * and -ENOSYS stops the guest from asking again (it still writes back its mapped pages before).
 * A network file system reports failed writes on close, and POSIX locks, where the guest leaves
 * them to us, are dropped by it: both want the request.
 */
int fs_do_flush(struct fs_request *request)
{
    struct fs_share *share = request->share;
    struct fs_handle *handle =
        fs_handle_get(share->handles, request->args.flush.fh, FS_HANDLE_FILE);
    int ret = 0;

    if (!handle)
        return -EBADF;
    fs_locks_flush(share->locks, handle->nodeid, request->args.flush.lock_owner);
    if (!fs_kind_is_local(handle->fd)) {
        int fd = fcntl(handle->fd, F_DUPFD_CLOEXEC, 0);

        if (fd >= 0 && close(fd) < 0)
            ret = -errno;
    } else if (!fs_share_negotiated(share, FUSE_POSIX_LOCKS)) {
        ret = -ENOSYS;
    }
    fs_handle_put(share->handles, handle);
    return ret;
}

int fs_open_sync(const struct fs_request *request, const struct fs_handle *handle)
{
    int ret;

    if (request->args.fsync.fsync_flags & FUSE_FSYNC_FDATASYNC)
        ret = fdatasync(handle->fd);
    else
        ret = fsync(handle->fd);
    return ret < 0 ? -errno : 0;
}

int fs_do_fsync(struct fs_request *request)
{
    struct fs_handles *handles = request->share->handles;
    struct fs_handle *handle = fs_handle_get(handles, request->args.fsync.fh, FS_HANDLE_FILE);
    int ret;

    if (!handle)
        return -EBADF;
    ret = fs_open_sync(request, handle);
    fs_handle_put(handles, handle);
    return ret;
}
