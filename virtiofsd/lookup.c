/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LOOKUP, FORGET and BATCH_FORGET: how the guest comes to know inodes, and gives them back.
 * Workers; forgets come on the high-priority queue and on the others alike.
 */
#include <errno.h>
#include <string.h>

#include "virtiofsd/entry.h"
#include "virtiofsd/lookup-dots.h"

/* A name that is not there is an answer too, which the guest may keep for a while. */
static int lookup_answer_missing(struct fs_request *request)
{
    const struct timespec *timeout = &request->share->negative_timeout;
    struct fuse_entry_out *entry = &request->reply.entry;

    if (timeout->tv_sec == 0 && timeout->tv_nsec == 0)
        return -ENOENT;
    memset(entry, 0, sizeof(*entry));
    entry->entry_valid = (uint64_t)timeout->tv_sec;
    entry->entry_valid_nsec = (uint32_t)timeout->tv_nsec;
    return sizeof(*entry);
}

int fs_do_lookup(struct fs_request *request)
{
    struct fs_share *share = request->share;
    bool is_dots = fs_lookup_is_dots(request->name);
    struct fs_inode *parent = NULL;
    int ret = 0;

    if (is_dots)
        ret = fs_inode_recall(share->inodes, request->header.nodeid, &parent);
    else
        parent = fs_inode_get(share->inodes, request->header.nodeid);
    if (!parent)
        return ret < 0 ? ret : -ESTALE;
    if (is_dots)
        ret = fs_lookup_dots(request, parent);
    else
        ret = fs_entry_lookup(share, parent, request->name, &request->reply.entry);
    fs_inode_put(share->inodes, parent);
    if (ret == -ENOENT)
        return lookup_answer_missing(request);
    return ret < 0 ? ret : (int)sizeof(request->reply.entry);
}

/* What a predecessor may have done already is better not done at all than twice: to take back a
 * lookup that the guest has would take the inode away from it. */
static bool lookup_may_forget(const struct fs_request *request)
{
    return !request->elem->is_again;
}

int fs_do_forget(struct fs_request *request)
{
    if (!lookup_may_forget(request))
        return 0;
    fs_inode_forget(request->share->inodes, request->header.nodeid, request->args.forget.nlookup);
    return 0;
}

int fs_do_batch_forget(struct fs_request *request)
{
    struct fuse_forget_one one;

    if (!lookup_may_forget(request))
        return 0;
    for (uint32_t i = 0; i < request->args.batch_forget.count; i++) {
        if (vu_iov_read(&request->out, &one, sizeof(one)) < sizeof(one))
            break;
        fs_inode_forget(request->share->inodes, one.nodeid, one.nlookup);
    }
    return 0;
}
