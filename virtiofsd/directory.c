/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories: OPENDIR, READDIR, READDIRPLUS, RELEASEDIR, FSYNCDIR.
 *
 * Offsets are the host's d_off cookies. The handle remembers where the kernel's position is, and
 * seeks only where the guest asks for another. getdents64 is asked for no more than what surely
 * fits into the guest's room, because going back costs far more than asking twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/cache-mode.h"
#include "virtiofsd/directory-stream.h"
#include "virtiofsd/entry.h"
#include "virtiofsd/open.h"
#include "virtiofsd/request.h"

#define DIRECTORY_BUFFER     16384
#define DIRECTORY_MIN_ASK    64  /* below this another getdents64 does not pay */
#define DIRECTORY_MAX_RECORD 280 /* a host record with the longest name */

/* As getdents64 writes it; also the shortest records on both sides, name included. */
struct directory_host_entry {
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
    char name[];
};
#define DIRECTORY_SHORTEST_HOST  24
#define DIRECTORY_SHORTEST_GUEST 32

/* One READDIR or READDIRPLUS being filled. */
struct directory_reply {
    struct fs_request *request;
    struct fs_handle *handle;
    struct fs_inode *plus; /* the directory, for READDIRPLUS; NULL for READDIR */
    size_t room;           /* bytes the guest still takes */
    size_t used;
};

int fs_open_directory_fd(const struct fs_share *share, struct fs_inode *inode, uint32_t flags)
{
    int noatime = fs_open_noatime(share, flags), inode_fd, fd;

    if (fs_inode_type(inode) != S_IFDIR)
        return -ENOTDIR;
    inode_fd = fs_inode_fd(share->inodes, inode);
    if (inode_fd < 0)
        return inode_fd;
    /* Needs leave to search it, which root has, and is the cheapest way. */
    fd = openat(inode_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOCTTY | noatime);
    if (fd < 0)
        fd = errno == EACCES || errno == EPERM ? fs_open_inode(share, inode, O_RDONLY | noatime)
                                               : -errno;
    return fd;
}

int fs_open_directory(struct fs_share *share, uint64_t nodeid, uint32_t flags, uint64_t *ret_fh)
{
    struct fs_inode *inode = fs_inode_get(share->inodes, nodeid);
    vu_autofd int fd = -1;
    int ret;

    if (!inode)
        return -ESTALE;
    ret = fd = fs_open_directory_fd(share, inode, flags);
    if (fd >= 0)
        ret = fs_handle_add(share->handles, FS_HANDLE_DIRECTORY, nodeid, flags, &fd, ret_fh);
    fs_inode_put(share->inodes, inode);
    return ret;
}

int fs_do_opendir(struct fs_request *request)
{
    struct fs_share *share = request->share;
    struct fuse_open_out *open = &request->reply.open;
    int ret;

    /* It then neither opens nor releases directories any more, and keeps what it reads of them. */
    if (fs_share_negotiated(share, FUSE_NO_OPENDIR_SUPPORT))
        return -ENOSYS;
    *open = (struct fuse_open_out){.open_flags = fs_cache_mode_of(share->options)->directory_flags};
    ret = fs_open_directory(share, request->header.nodeid, request->args.open.flags, &open->fh);
    return ret < 0 ? ret : (int)sizeof(*open);
}

static bool directory_is_dot(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Adds an entry. False where it does not fit. */
static bool directory_put(struct directory_reply *reply, const struct directory_host_entry *host)
{
    static const char padding[8];
    struct fs_request *request = reply->request;
    size_t name_len = strlen(host->name);
    struct fuse_dirent guest = {.ino = host->ino,
                                .off = (uint64_t)host->off,
                                .namelen = (uint32_t)name_len,
                                .type = host->type};
    size_t len = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + name_len);
    size_t total = len + (reply->plus ? sizeof(struct fuse_entry_out) : 0);

    if (total > reply->room)
        return false;
    if (reply->plus) {
        struct fuse_entry_out entry;

        /* A nodeid of 0 says nothing but the name: no lookup is counted. */
        if (directory_is_dot(host->name) || fs_inodes_are_crowded(request->share->inodes) ||
            fs_entry_lookup_listed(request->share, reply->plus, host->name, host->ino, host->type,
                                   &entry) < 0)
            memset(&entry, 0, sizeof(entry));
        vu_iov_write(&request->in, &entry, sizeof(entry));
    }
    vu_iov_write(&request->in, &guest, FUSE_NAME_OFFSET);
    vu_iov_write(&request->in, host->name, name_len);
    vu_iov_write(&request->in, padding, len - FUSE_NAME_OFFSET - name_len);
    reply->room -= total;
    reply->used += total;
    return true;
}

/* How much to ask getdents64 for: what fits even if all names are short. 0: not worth it. */
static size_t directory_ask(const struct directory_reply *reply)
{
    size_t shortest = DIRECTORY_SHORTEST_GUEST + (reply->plus ? sizeof(struct fuse_entry_out) : 0);
    size_t ask = reply->room / shortest * DIRECTORY_SHORTEST_HOST;

    if (ask > DIRECTORY_BUFFER)
        ask = DIRECTORY_BUFFER;
    if (reply->used == 0 && ask < DIRECTORY_MAX_RECORD)
        return DIRECTORY_MAX_RECORD;
    return ask < DIRECTORY_MIN_ASK ? 0 : ask;
}

/*
 * One getdents64 into the reply. 1 to go on; 0 where the directory ends or the guest's room does;
 * -errno.
 */
static int directory_fill(struct directory_reply *reply)
{
    char buf[DIRECTORY_BUFFER] __attribute__((aligned(8)));
    size_t ask = directory_ask(reply);
    long len;

    if (ask == 0)
        return 0;
    len = syscall(SYS_getdents64, reply->handle->fd, buf, ask);
    if (len < 0 && errno == EINVAL && reply->used > 0)
        return 0; /* the next name is longer than what is left */
    if (len < 0) {
        reply->handle->dir_offset = FS_HANDLE_NO_POSITION;
        return -errno;
    }
    for (long at = 0; at < len;) {
        const struct directory_host_entry *host = (const void *)(buf + at);

        at += host->reclen;
        if (strlen(host->name) <= NAME_MAX && !directory_put(reply, host)) {
            reply->handle->dir_offset = FS_HANDLE_NO_POSITION;
            return reply->used > 0 ? 0 : -EINVAL;
        }
        reply->handle->dir_offset = (uint64_t)host->off;
    }
    return len > 0;
}

static int directory_seek(struct fs_handle *handle, uint64_t offset)
{
    handle->dir_offset = FS_HANDLE_NO_POSITION;
    if (lseek(handle->fd, (off_t)offset, SEEK_SET) < 0)
        return -errno;
    handle->dir_offset = offset;
    return 0;
}

/* Under the lock of the handle's position. */
static int directory_read_locked(struct directory_reply *reply, uint64_t offset)
{
    struct fs_handle *handle = reply->handle;
    bool sought = handle->dir_offset != offset;
    int ret = sought ? directory_seek(handle, offset) : 0;

    if (ret == 0)
        ret = directory_fill(reply);
    /* ext4 finds nothing, once, from the beginning of what was first read at its end. */
    if (ret == 0 && reply->used == 0 && sought && offset == 0) {
        ret = directory_seek(handle, 0);
        if (ret == 0)
            ret = directory_fill(reply);
    }
    while (ret > 0)
        ret = directory_fill(reply);
    /* An error after some entries is for the next request to meet. */
    return ret < 0 && reply->used == 0 ? ret : (int)reply->used;
}

static int directory_read(struct fs_request *request, bool plus)
{
    struct fs_share *share = request->share;
    struct directory_reply reply = {.request = request, .room = request->args.read.size};
    int ret;

    if (reply.room > request->in.left)
        reply.room = (size_t)request->in.left;
    if (reply.room > INT_MAX)
        reply.room = INT_MAX;
    reply.handle =
        fs_directory_handle_get(share, request->header.nodeid, request->args.read.fh, &ret);
    if (!reply.handle)
        return ret;
    ret = -ESTALE;
    if (plus)
        reply.plus = fs_inode_get(share->inodes, reply.handle->nodeid);
    if (!plus || reply.plus) {
        VU_LOCK_SCOPE(fs_handle_lock(share->handles, reply.handle));

        ret = directory_read_locked(&reply, request->args.read.offset);
    }
    if (reply.plus)
        fs_inode_put(share->inodes, reply.plus);
    fs_handle_put(share->handles, reply.handle);
    if (ret == 0 && request->args.read.fh == 0)
        fs_directory_stream_end(share, request->header.nodeid);
    return ret;
}

int fs_do_readdir(struct fs_request *request)
{
    return directory_read(request, false);
}

int fs_do_readdirplus(struct fs_request *request)
{
    return directory_read(request, true);
}

int fs_do_releasedir(struct fs_request *request)
{
    return fs_handle_release(request->share->handles, request->args.release.fh,
                             FS_HANDLE_DIRECTORY);
}

int fs_do_fsyncdir(struct fs_request *request)
{
    struct fs_share *share = request->share;
    int ret;
    struct fs_handle *handle =
        fs_directory_handle_get(share, request->header.nodeid, request->args.fsync.fh, &ret);

    if (!handle)
        return ret;
    ret = fs_open_sync(request, handle);
    fs_handle_put(share->handles, handle);
    return ret;
}
