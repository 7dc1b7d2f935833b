/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest's kernel says of something new beside name and mode: extensions at the end of
 * CREATE, MKDIR, MKNOD and SYMLINK, as agreed on by SECURITY_CTX and CREATE_SUPP_GROUP.
 *
 *   each: u32 size (all of it), u32 type; then, filled up to 8 bytes,
 *
 *   type 0..31: the number of security labels
 *      offset size
 *           0    4  bytes of the label
 *           4    4  -
 *           8    -  name of its attribute, with NUL
 *           -    -  the label
 *   type 32: supplementary groups
 *      offset size
 *           0    4  number, 0 or 1
 *           4    4  the group
 */
#pragma once

#include <linux/limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "virtiofsd/request.h"

#define FS_LABEL_MAX 4096 /* SELinux takes a page */

struct fs_extensions {
    bool has_group;
    gid_t group; /* a group of the user's beside the first one: that of the directory */
    char label_name[XATTR_NAME_MAX + 1]; /* "security.selinux"; only where there is a label */
    size_t label_len;                    /* 0: none */
    char label[FS_LABEL_MAX];
};

/*
 * Copies them out of the request, once. 0; -EINVAL: lengths that disagree, more than one of a kind,
 * a kind that was not agreed on; -E2BIG: a label too long.
 */
int fs_extensions_read(const struct fs_request *request, struct fs_extensions *ret_extensions);
