/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a regular file loses when its data changes or when it is given away: setuid and setgid bits,
 * and capabilities. The host's kernel sees to that for its own users, but we keep setuid bits as
 * root does, and it does not know a capability that --xattrmap gives another name.
 */
#pragma once

#include <stdbool.h>

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

/* Before the owner of fd (O_PATH will do) changes; the setuid bits go with chown. 0 or -errno. */
int fs_kill_capability(const struct fs_share *share, int fd);
