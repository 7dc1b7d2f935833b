/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LOOKUP of "." and "..", which a guest asks for where it has a file handle but no path (NFS,
 * open_by_handle_at): an inode by itself, and the directory above one, never above the share.
 */
#pragma once

#include <stdbool.h>

#include "virtiofsd/request.h"

bool fs_lookup_is_dots(const char *name);
/* The entry of request->name, which is one of both, in request->reply. 0 or -errno. */
int fs_lookup_dots(struct fs_request *request, struct fs_inode *inode);
