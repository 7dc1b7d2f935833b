/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding and answering FUSE requests. All that a handler decides on is copied out of guest memory
 * here, once, and checked: lengths against the chain, names against what a single directory entry
 * can be called, the room for the reply before anything is done that it would have to tell of.
 *
 * On the wire: struct fuse_in_header, the operation's fixed arguments, its names (each ended by
 * NUL), then data. Nothing is assumed of how that falls on descriptors.
 */
#include "virtiofsd/request.h"

#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "vhost-user/cpu.h"
#include "vhost-user/log.h"

#define REQUEST_LARGEST_ERRNO 511 /* beyond are the kernel's own; FUSE refuses them */

/* A line about what cannot even be answered. */
static void request_complain(const struct vu_elem *elem, const char *what, uint64_t len)
{
    static uint64_t next_ns;
    static unsigned n_dropped; /* atomic */

    if (!vu_log_is_due(&next_ns)) {
        __atomic_fetch_add(&n_dropped, 1, __ATOMIC_RELAXED);
        return;
    }
    vu_warning("%s: %s of %llu bytes, request not answered (%u lines like this dropped before)",
               elem->vring ? elem->vring->log_tag : "virtiofsd", what, (unsigned long long)len,
               __atomic_exchange_n(&n_dropped, 0, __ATOMIC_RELAXED));
}

static int request_read_args(struct fs_request *request)
{
    const struct fs_operation *operation = request->operation;
    size_t min_len = operation->args_min_len ? operation->args_min_len : operation->args_len;
    size_t len = vu_iov_read(&request->out, &request->args, operation->args_len);

    if (len < min_len)
        return -EINVAL;
    memset((char *)&request->args + len, 0, operation->args_len - len);
    return 0;
}

/* What a single entry of a directory can be called, and nothing that leads elsewhere. */
static bool request_name_is_valid(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

/* The directory itself and the one above it: what the guest makes of a file handle. */
static bool request_name_is_dots(const struct fs_request *request, const char *name)
{
    return request->operation->flags & FS_OP_DOTS &&
           fs_share_negotiated(request->share, FUSE_EXPORT_SUPPORT) &&
           (strcmp(name, ".") == 0 || strcmp(name, "..") == 0);
}

/* Reads a string of at most NAME_MAX bytes and leaves the cursor behind its NUL. */
static int request_read_string(struct fs_request *request, char *ret_name)
{
    struct vu_iov_cursor ahead = request->out;
    size_t len = vu_iov_read(&ahead, ret_name, NAME_MAX + 1);
    const char *end = memchr(ret_name, '\0', len);

    if (!end) {
        ret_name[0] = '\0';
        return len > NAME_MAX ? -ENAMETOOLONG : -EINVAL;
    }
    vu_iov_skip(&request->out, (size_t)(end - ret_name) + 1);
    return 0;
}

static int request_read_name(struct fs_request *request, char *ret_name)
{
    int ret = request_read_string(request, ret_name);

    if (ret == 0 && !request_name_is_valid(ret_name) && !request_name_is_dots(request, ret_name))
        ret = -EINVAL;
    return ret;
}

/*
 * Nothing follows the last name but extensions: that would be a NUL inside it. Linux before 6.3
 * does not count in the header what it appends where SECURITY_CTX was agreed on.
 */
static int request_end(struct fs_request *request)
{
    if (request->operation->flags & FS_OP_CREATES && request->header.total_extlen == 0 &&
        fs_share_negotiated(request->share, FUSE_SECURITY_CTX)) {
        request->extensions = request->out;
        request->out.left = 0;
    }
    return request->out.left > 0 ? -EINVAL : 0;
}

static int request_read_names(struct fs_request *request)
{
    const struct fs_operation *operation = request->operation;
    int ret = 0;

    if (operation->n_names > 0)
        ret = request_read_name(request, request->name);
    else if (operation->flags & FS_OP_CREATES)
        ret = request_read_string(request, request->name); /* TMPFILE: "/" stands for none */
    else
        return 0;
    if (ret == 0 && operation->n_names > 1)
        ret = request_read_name(request, request->name2);
    if (ret < 0)
        return ret;
    return operation->flags & FS_OP_TARGET ? 0 : request_end(request);
}

int fs_request_decode(struct fs_share *share, struct vu_elem *elem, struct fs_request *request)
{
    struct fuse_in_header *header = &request->header;
    const struct fs_operation *operation;
    size_t extension_len;
    int ret;

    request->share = share;
    request->elem = elem;
    request->operation = NULL;
    request->done = 0;
    vu_iov_cursor_init(&request->out, elem->iov, elem->n_out, 0);
    if (vu_iov_read(&request->out, header, sizeof(*header)) < sizeof(*header)) {
        request_complain(elem, "a FUSE header", elem->out_len);
        return FS_NO_ANSWER;
    }
    request->operation = operation = fs_operation_find(header->opcode);
    vu_iov_cursor_init(&request->in, elem->iov + elem->n_out, elem->n_in,
                       sizeof(struct fuse_out_header));
    if (elem->in_len < sizeof(struct fuse_out_header) &&
        !(operation && operation->flags & FS_OP_NO_REPLY)) {
        request_complain(elem, "room for a reply", elem->in_len);
        return FS_NO_ANSWER;
    }

    /* Only what the header counts belongs to the request, extensions at its end. */
    extension_len = header->total_extlen * (size_t)8;
    if (header->len < sizeof(*header) + extension_len ||
        header->len - sizeof(*header) > request->out.left)
        return -EINVAL;
    request->out.left = header->len - sizeof(*header) - extension_len;
    request->extensions = request->out;
    if (extension_len > 0)
        vu_iov_skip(&request->extensions, request->out.left);
    request->extensions.left = extension_len;

    if (!operation)
        return -ENOSYS;
    if (request->in.left < operation->reply_len)
        return -EINVAL;
    ret = request_read_args(request);
    return ret < 0 ? ret : request_read_names(request);
}

int fs_request_read_target(struct fs_request *request, char *ret_path)
{
    struct vu_iov_cursor ahead = request->out;
    size_t len = vu_iov_read(&ahead, ret_path, PATH_MAX);
    const char *end = memchr(ret_path, '\0', len);

    if (!end)
        return request->out.left > PATH_MAX ? -ENAMETOOLONG : -EINVAL;
    if (end == ret_path)
        return -EINVAL;
    vu_iov_skip(&request->out, (size_t)(end - ret_path) + 1);
    return request_end(request);
}

int fs_request_read_xattr_name(struct fs_request *request)
{
    int ret;

    static_assert(NAME_MAX == XATTR_NAME_MAX, "one buffer for both kinds of names");
    ret = request_read_string(request, request->name);
    if (ret == -ENAMETOOLONG || (ret == 0 && request->name[0] == '\0'))
        ret = -ERANGE;
    return ret;
}

void fs_request_finish(struct fs_request *request, int result)
{
    const struct fs_operation *operation = request->operation;
    struct vu_elem *elem = request->elem;
    struct fuse_out_header header = {.len = sizeof(header), .unique = request->header.unique};
    struct vu_iov_cursor in;

    if (result == FS_NO_ANSWER || (operation && operation->flags & FS_OP_NO_REPLY)) {
        elem->written = 0;
        return;
    }
    if (result < 0) {
        header.error = result < -REQUEST_LARGEST_ERRNO ? -EIO : result;
    } else {
        g_assert((uint64_t)result + sizeof(header) <= elem->in_len);
        header.len += (uint32_t)result;
    }
    vu_iov_cursor_init(&in, elem->iov + elem->n_out, elem->n_in, 0);
    vu_iov_write(&in, &header, sizeof(header));
    if (result > 0 && operation->reply_len > 0)
        vu_iov_write(&in, &request->reply, (size_t)result);
    elem->written = header.len;
}

void fs_request_complete(struct fs_request *request, int result)
{
    struct vu_counted counted = fs_counters_describe(request, result);
    struct vu_elem *elem = request->elem;

    fs_request_finish(request, result);
    counted.ns = (request->clock_ns ? request->clock_ns : vu_now_ns()) - request->popped_ns;
    vu_counters_end(fs_counters_of_queue(&request->share->counters, elem->vring->index), &counted,
                    false);
    vu_elem_complete(elem, elem->written);
}
