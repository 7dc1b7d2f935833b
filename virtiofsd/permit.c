/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See permit.h. Workers.
 */
#include "virtiofsd/permit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Whether the operation, or what it asks for, would change the share. */
static bool permit_changes(const struct fs_request *request)
{
    if (request->operation->flags & FS_OP_WRITES)
        return true;
    switch (request->header.opcode) {
    case FUSE_OPEN:
        return (request->args.open.flags & O_ACCMODE) != O_RDONLY ||
               request->args.open.flags & O_TRUNC;
    case FUSE_ACCESS:
        return request->args.access.mask & W_OK;
    case FUSE_IOCTL:
        return _IOC_DIR(request->args.ioctl.cmd) & _IOC_WRITE;
    default:
        return false;
    }
}

/* Guest's ids to the host's, in place. 0 or -EPERM. */
static int permit_translate(struct fs_request *request)
{
    const struct fs_idmap_ranges *uids = &request->share->options->translate_uid.to_host;
    const struct fs_idmap_ranges *gids = &request->share->options->translate_gid.to_host;
    struct fuse_in_header *header = &request->header;
    struct fuse_setattr_in *setattr = &request->args.setattr;
    int ret = fs_idmap_translate(uids, header->uid, &header->uid);

    if (ret == 0)
        ret = fs_idmap_translate(gids, header->gid, &header->gid);
    if (header->opcode != FUSE_SETATTR)
        return ret;
    if (ret == 0 && setattr->valid & FATTR_UID)
        ret = fs_idmap_translate(uids, setattr->uid, &setattr->uid);
    if (ret == 0 && setattr->valid & FATTR_GID)
        ret = fs_idmap_translate(gids, setattr->gid, &setattr->gid);
    return ret;
}

bool fs_permit_is_needed(const struct fs_options *options)
{
    return options->readonly || options->translate_uid.to_host.n > 0 ||
           options->translate_gid.to_host.n > 0;
}

int fs_permit_request(struct fs_request *request)
{
    if (request->share->options->readonly && permit_changes(request))
        return -EROFS;
    return request->operation->flags & FS_OP_AS_USER ? permit_translate(request) : 0;
}
