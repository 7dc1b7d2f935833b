/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a regular file loses when its data changes or when it is given away: setuid and setgid bits,
 * and capabilities. The host's kernel sees to that for its own users, but we keep setuid bits as
 * root does, and it does not know a capability that --xattrmap gives another name.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "virtiofsd/share.h"

/*
 * Before (or, where opening does it, right after) the data of fd changes, which is open for
 * writing. `by_user`: the guest, who knows its users' capabilities, says that this one has no
 * CAP_FSETID, so that the setuid bit goes, and the setgid bit of what the group may execute. 0 or
 * -errno.
 */
int fs_kill_privileges(const struct fs_share *share, int fd, bool by_user);

/* Whether fs_kill_privileges has anything to look at. */
static inline bool fs_kill_is_needed(const struct fs_share *share, bool by_user)
{
    return by_user || share->capability_name;
}

/*
 * chown of a regular file; fd may be O_PATH. Setuid bits and capabilities go, but not with a guest
 * that takes them away by itself (no HANDLE_KILLPRIV_V2), and not those of a file without a name:
 * so an overlayfs in the guest copies a file up, attributes first, owner after. 0 or -errno.
 */
int fs_kill_by_owner(const struct fs_share *share, int fd, uid_t uid, gid_t gid);
