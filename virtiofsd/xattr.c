/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes: GETXATTR, LISTXATTR, SETXATTR, REMOVEXATTR. Names go through the map of
 * --xattrmap in both directions; values go straight between the guest's pages and the kernel where
 * they lie in one piece. Workers.
 *
 * Without --xattr each is answered ENOSYS, and the guest does not ask again.
 */
#include <errno.h>
#include <glib.h>
#include <linux/xattr.h>
#include <string.h>

#include "virtiofsd/acl-ids.h"
#include "virtiofsd/request.h"
#include "virtiofsd/xattr-fd.h"

#define XATTR_TRUSTED "trusted."

/* Room for a value or a list: a range of the guest's, or ours in between. */
struct xattr_room {
    void *data;
    size_t len;
    void *bounce; /* to be freed, NULL where data is the guest's own */
};

/* Access control lists that the guest does not obey are kept out of its sight. */
static bool xattr_is_blocked(const struct fs_share *share, const char *name)
{
    return (strcmp(name, XATTR_NAME_POSIX_ACL_ACCESS) == 0 ||
            strcmp(name, XATTR_NAME_POSIX_ACL_DEFAULT) == 0) &&
           !fs_share_negotiated(share, FUSE_POSIX_ACL);
}

/* Reads the request's name; the host's is in ret_name. */
static int xattr_read_name(struct fs_request *request, char ret_name[XATTR_NAME_MAX + 1])
{
    const struct fs_share *share = request->share;
    int ret = fs_request_read_xattr_name(request);

    if (ret < 0)
        return ret;
    if (xattr_is_blocked(share, request->name))
        return -EOPNOTSUPP;
    return fs_xattrmap_to_host(share->options->xattrmap, request->name, ret_name);
}

/* The room for a reply of at most `size` bytes, less where the guest has less. 0 or -ENOMEM. */
static int xattr_room_init(struct fs_request *request, size_t size, struct xattr_room *ret_room)
{
    struct xattr_room room = {.len = MIN(size, request->in.left)};
    struct iovec iov;
    uint64_t first_len;

    room.len = MIN(room.len, XATTR_SIZE_MAX);
    if (vu_iov_peek(&request->in, room.len, &iov, 1, &first_len) == 1 && first_len == room.len) {
        room.data = iov.iov_base;
    } else {
        room.data = room.bounce = g_try_malloc(MAX(room.len, 1));
        if (!room.bounce)
            return -ENOMEM;
    }
    *ret_room = room;
    return 0;
}

/* After `ret` bytes were put there, or an -errno: what the handler returns. */
static int xattr_room_finish(struct fs_request *request, struct xattr_room *room, ssize_t ret)
{
    if (room->bounce && ret > 0)
        vu_iov_write(&request->in, room->bounce, (size_t)ret);
    g_free(room->bounce);
    return (int)ret;
}

/* The answer to a question for a length. */
static int xattr_reply_len(struct fs_request *request, ssize_t len)
{
    struct fuse_getxattr_out out = {.size = (uint32_t)len};

    if (len < 0)
        return (int)len;
    if (request->in.left < sizeof(out))
        return -EINVAL;
    return (int)vu_iov_write(&request->in, &out, sizeof(out));
}

/* An access list, by the guest's ids. */
static int xattr_get_list(struct fs_request *request, int fd, const char *host_name)
{
    g_autofree void *value = g_try_malloc(XATTR_SIZE_MAX);
    size_t size = request->args.getxattr.size, len;
    ssize_t ret;

    if (!value)
        return -ENOMEM;
    ret = fs_xattr_get(request->share, fd, host_name, value, XATTR_SIZE_MAX);
    if (ret < 0)
        return (int)ret;
    len = fs_acl_ids_to_guest(request->share->options, value, (size_t)ret);
    if (size == 0)
        return xattr_reply_len(request, (ssize_t)len);
    if (len > size || len > request->in.left)
        return -ERANGE;
    return (int)vu_iov_write(&request->in, value, len);
}

static int xattr_get(struct fs_request *request, int fd, const char *host_name)
{
    const struct fs_share *share = request->share;
    size_t size = request->args.getxattr.size;
    struct xattr_room room;
    int ret;

    if (fs_acl_ids_matter(share->options, host_name))
        return xattr_get_list(request, fd, host_name);

    if (size == 0)
        return xattr_reply_len(request, fs_xattr_get(share, fd, host_name, NULL, 0));
    ret = xattr_room_init(request, size, &room);
    if (ret < 0)
        return ret;
    /* Without room the kernel would take this for a question, too. */
    if (room.len == 0)
        return xattr_room_finish(request, &room, -ERANGE);
    return xattr_room_finish(request, &room,
                             fs_xattr_get(share, fd, host_name, room.data, room.len));
}

/* `work` gets a descriptor of the request's inode. */
static int xattr_on_inode(struct fs_request *request, const char *host_name,
                          int (*work)(struct fs_request *request, int fd, const char *host_name))
{
    struct fs_inodes *inodes = request->share->inodes;
    struct fs_inode *inode;
    int fd, ret;

    fd = fs_inode_get_fd(inodes, request->header.nodeid, &inode);
    if (fd < 0)
        return fd;
    ret = work(request, fd, host_name);
    fs_inode_put(inodes, inode);
    return ret;
}

int fs_do_getxattr(struct fs_request *request)
{
    char host_name[XATTR_NAME_MAX + 1];
    int ret;

    if (!fs_options_xattr(request->share->options))
        return -ENOSYS;
    ret = xattr_read_name(request, host_name);
    /* What a rule hides, or what could never be set, is not there. */
    if (ret == -EPERM || (ret == -ERANGE && request->name[0] != '\0'))
        return -ENODATA;
    if (ret < 0)
        return ret;
    return xattr_on_inode(request, host_name, xattr_get);
}

/* Whether a listed name is for the user who asks: as the host's kernel would do it, trusted ones
 * are only shown to whom they could be of use. */
static bool xattr_is_shown(const struct fs_request *request, const char *guest_name)
{
    if (request->header.uid != 0 && g_str_has_prefix(guest_name, XATTR_TRUSTED))
        return false;
    return !xattr_is_blocked(request->share, guest_name);
}

/* Turns a list of the host's names, each with its NUL, into the guest's, in place. Returns its
 * length: names never get longer. */
static size_t xattr_filter(const struct fs_request *request, char *names, size_t len)
{
    const char *end = names + len;
    char *to = names;

    for (const char *name = names, *next; name < end; name = next) {
        const char *guest_name = fs_xattrmap_to_guest(request->share->options->xattrmap, name);
        size_t guest_len;

        next = name + strlen(name) + 1;
        if (!guest_name || !xattr_is_shown(request, guest_name))
            continue;
        guest_len = (size_t)(next - guest_name);
        memmove(to, guest_name, guest_len);
        to += guest_len;
    }
    return (size_t)(to - names);
}

static int xattr_list(struct fs_request *request, int fd)
{
    g_autofree char *names = g_try_malloc(XATTR_LIST_MAX);
    size_t size = request->args.getxattr.size, len;
    ssize_t ret;

    if (!names)
        return -ENOMEM;
    ret = fs_xattr_list(request->share, fd, names, XATTR_LIST_MAX);
    if (ret < 0)
        return (int)ret;
    len = xattr_filter(request, names, (size_t)ret);
    if (size == 0)
        return xattr_reply_len(request, (ssize_t)len);
    if (len > size || len > request->in.left)
        return -ERANGE;
    return (int)vu_iov_write(&request->in, names, len);
}

int fs_do_listxattr(struct fs_request *request)
{
    struct fs_share *share = request->share;
    struct fs_inode *inode;
    int fd, ret;

    if (!fs_options_xattr(share->options))
        return -ENOSYS;
    fd = fs_inode_get_fd(share->inodes, request->header.nodeid, &inode);
    if (fd < 0)
        return fd;
    ret = xattr_list(request, fd);
    fs_inode_put(share->inodes, inode);
    return ret;
}

/*
 * A new access list takes the setgid bit of a file away if who sets it is not of the file's group.
 * The guest knows that; the host's kernel does it for a user who is not, and has no CAP_FSETID.
 */
static int xattr_set_as_stranger(const struct fs_request *request, int fd, const void *value)
{
    const struct fuse_setxattr_in *in = &request->args.setxattr;
    struct fs_creds creds;
    int ret = fs_creds_switch(request->share->creds_policy, request->header.uid,
                              request->header.gid, 0, &creds);

    if (ret < 0)
        return ret;
    ret = fs_creds_drop_fsetid(&creds);
    if (ret == 0)
        ret = fs_xattr_set(request->share, fd, XATTR_NAME_POSIX_ACL_ACCESS, value, in->size,
                           (int)in->flags);
    fs_creds_restore(&creds);
    return ret;
}

/* Sets the value that is left in `out`. */
static int xattr_set(struct fs_request *request, int fd, const char *host_name)
{
    const struct fuse_setxattr_in *in = &request->args.setxattr;
    bool has_ids = fs_acl_ids_matter(request->share->options, host_name);
    g_autofree void *bounce = NULL;
    struct iovec iov = {0};
    uint64_t first_len;
    int ret;

    if (in->size != request->out.left)
        return -EINVAL;
    if (in->size > XATTR_SIZE_MAX)
        return -E2BIG;
    if (in->size > 0 &&
        (has_ids || vu_iov_peek(&request->out, in->size, &iov, 1, &first_len) != 1 ||
         first_len != in->size)) {
        iov.iov_base = bounce = g_try_malloc(in->size);
        if (!bounce)
            return -ENOMEM;
        vu_iov_read(&request->out, bounce, in->size);
        ret = has_ids ? fs_acl_ids_to_host(request->share->options, bounce, in->size) : 0;
        if (ret < 0)
            return ret;
    }
    if (in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID &&
        strcmp(host_name, XATTR_NAME_POSIX_ACL_ACCESS) == 0)
        return xattr_set_as_stranger(request, fd, iov.iov_base);
    return fs_xattr_set(request->share, fd, host_name, iov.iov_base, in->size, (int)in->flags);
}

/* The second half of the arguments, which only comes where it was agreed on. */
static int xattr_read_set_args(struct fs_request *request)
{
    struct fuse_setxattr_in *in = &request->args.setxattr;
    size_t len = sizeof(*in) - FUSE_COMPAT_SETXATTR_IN_SIZE;

    memset((char *)in + FUSE_COMPAT_SETXATTR_IN_SIZE, 0, len);
    if (!fs_share_negotiated(request->share, FUSE_SETXATTR_EXT))
        return 0;
    return vu_iov_read(&request->out, (char *)in + FUSE_COMPAT_SETXATTR_IN_SIZE, len) < len
               ? -EINVAL
               : 0;
}

int fs_do_setxattr(struct fs_request *request)
{
    char host_name[XATTR_NAME_MAX + 1];
    int ret;

    if (!fs_options_xattr(request->share->options))
        return -ENOSYS;
    ret = xattr_read_set_args(request);
    if (ret == 0)
        ret = xattr_read_name(request, host_name);
    if (ret < 0)
        return ret;
    return xattr_on_inode(request, host_name, xattr_set);
}

static int xattr_remove(struct fs_request *request, int fd, const char *host_name)
{
    return fs_xattr_remove(request->share, fd, host_name);
}

int fs_do_removexattr(struct fs_request *request)
{
    char host_name[XATTR_NAME_MAX + 1];
    int ret;

    if (!fs_options_xattr(request->share->options))
        return -ENOSYS;
    ret = xattr_read_name(request, host_name);
    if (ret == 0 && request->out.left > 0)
        ret = -EINVAL;
    if (ret < 0)
        return ret;
    return xattr_on_inode(request, host_name, xattr_remove);
}
