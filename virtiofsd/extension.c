/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing the extensions of a request. They are the guest's: each length is checked against what is
 * there before it is used.
 */
#include "virtiofsd/extension.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define EXTENSION_ALIGN        8u
#define EXTENSION_LABEL_PREFIX "security."

/* One attribute name with its NUL. */
static int extension_read_name(struct vu_iov_cursor *cursor, char ret_name[XATTR_NAME_MAX + 1])
{
    struct vu_iov_cursor ahead = *cursor;
    size_t len = vu_iov_read(&ahead, ret_name, XATTR_NAME_MAX + 1);
    const char *end = memchr(ret_name, '\0', len);

    if (!end)
        return -EINVAL;
    vu_iov_skip(cursor, (size_t)(end - ret_name) + 1);
    return g_str_has_prefix(ret_name, EXTENSION_LABEL_PREFIX) ? 0 : -EINVAL;
}

static int extension_read_label(struct vu_iov_cursor *body, uint32_t n_labels,
                                struct fs_extensions *extensions)
{
    struct fuse_secctx context;
    int ret;

    if (n_labels == 0)
        return 0;
    if (n_labels > 1 || extensions->label_len > 0 ||
        vu_iov_read(body, &context, sizeof(context)) < sizeof(context))
        return -EINVAL;
    ret = extension_read_name(body, extensions->label_name);
    if (ret < 0)
        return ret;
    if (context.size == 0 || context.size > body->left)
        return -EINVAL;
    if (context.size > FS_LABEL_MAX)
        return -E2BIG;
    vu_iov_read(body, extensions->label, context.size);
    extensions->label_len = context.size;
    return 0;
}

static int extension_read_groups(struct vu_iov_cursor *body, struct fs_extensions *extensions)
{
    uint32_t n_groups, group;

    if (vu_iov_read(body, &n_groups, sizeof(n_groups)) < sizeof(n_groups))
        return -EINVAL;
    if (n_groups == 0)
        return 0;
    if (n_groups > 1 || extensions->has_group ||
        vu_iov_read(body, &group, sizeof(group)) < sizeof(group) || group == (uint32_t)-1)
        return -EINVAL;
    extensions->has_group = true;
    extensions->group = group;
    return 0;
}

/* The body of one extension, which `body` is cut to. */
static int extension_read_one(const struct fs_share *share, uint32_t type,
                              struct vu_iov_cursor *body, struct fs_extensions *extensions)
{
    int ret = -EINVAL;

    if (type <= FUSE_MAX_NR_SECCTX && fs_share_negotiated(share, FUSE_SECURITY_CTX))
        ret = extension_read_label(body, type, extensions);
    else if (type == FS_EXT_GROUPS && fs_share_negotiated(share, FUSE_CREATE_SUPP_GROUP))
        ret = extension_read_groups(body, extensions);
    /* Nothing may follow but what fills it up. */
    return ret == 0 && body->left >= EXTENSION_ALIGN ? -EINVAL : ret;
}

int fs_extensions_read(const struct fs_request *request, struct fs_extensions *ret_extensions)
{
    struct vu_iov_cursor all = request->extensions;

    ret_extensions->has_group = false;
    ret_extensions->label_len = 0;
    while (all.left > 0) {
        struct fuse_ext_header header;
        struct vu_iov_cursor body;
        int ret;

        if (vu_iov_read(&all, &header, sizeof(header)) < sizeof(header) ||
            header.size < sizeof(header) || header.size - sizeof(header) > all.left)
            return -EINVAL;
        body = all;
        body.left = header.size - sizeof(header);
        vu_iov_skip(&all, header.size - sizeof(header));
        vu_iov_skip(&all, -header.size % EXTENSION_ALIGN);
        ret = extension_read_one(request->share, header.type, &body, ret_extensions);
        if (ret < 0)
            return ret;
    }
    return 0;
}
