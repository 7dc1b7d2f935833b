/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A share with more files than the daemon may have descriptors, for the tests of inodes that are
 * remembered by file handles.
 */
#pragma once

#include "tests/unit/fs-client.h"

enum { FS_MANY_N_FDS = 256, FS_MANY_N_FILES = 600 };

extern struct fs_fixture fs_many_fixture;
/* Of the files f0, f1, ..., once they were looked up. */
extern uint64_t fs_many_nodeids[FS_MANY_N_FILES], fs_many_inos[FS_MANY_N_FILES];

/* Makes the files (their numbers are in them) and opens the share. False where this machine lets
 * nobody open handles: all is torn down then, and the test is skipped. */
bool fs_many_set_up(enum fs_inode_handles mode);
/* The same with --nfs-export. */
bool fs_many_set_up_export(enum fs_inode_handles mode);
/* Looks up all of the files, and asks for their attributes: what was known before has no descriptor
 * afterwards, unless it is pinned. */
void fs_many_look_up(void);
/* The nodeid of a name in the root, looked up. */
uint64_t fs_many_lookup(const char *name);
int fs_many_getattr(uint64_t nodeid, struct fuse_attr *ret_attr); /* 0 or -errno */
void fs_many_assert_has_fd(uint64_t nodeid, bool has);
