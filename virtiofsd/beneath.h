/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a name of the guest's is opened: by openat2, which is told that the way may lead neither out
 * of the directory nor through a link of any kind. Names are single components when they get here
 * (request.c); this holds even if one should not be.
 *
 * Mounts below the share may be crossed: a submount is a part of it.
 */
#pragma once

#include <sys/types.h>

/* flags of open(2) and, with O_CREAT, a mode of permissions. O_CLOEXEC is added. A descriptor, or
 * -errno. */
int fs_open_beneath(int dir_fd, const char *name, int flags, mode_t mode);
