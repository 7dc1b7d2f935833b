/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of --state: what a successor of this process has to know for the guest to go on with it.
 * It is written as the tables are, by stores into a shared mapping, so that it is whole whenever we
 * are killed; a lock on it keeps the successor out until then.
 *
 *   offset 0   what it is good for, and what INIT agreed on (struct state_header)
 *   65536      the table of inodes (inode.h)
 *   then, at a multiple of 65536, the table of open files (handle.h)
 *
 * It is good for the same directory, on the same boot of the host, and for a guest that is still
 * there. Only what file handles find again is good in it: what has no name any more is gone, as are
 * locks.
 */
#pragma once

#include <glib.h>

#include "virtiofsd/state-table.h"

struct fs_state_file;

/* Opens the file, or makes it, and waits a few seconds for a predecessor to end. NULL with *error;
 * so also where it is a file of anything else. */
struct fs_state_file *fs_state_file_open(const char *path, GError **error);
/* NULL is allowed in each of these. */
void fs_state_file_close(struct fs_state_file *file);
int fs_state_file_fd(const struct fs_state_file *file); /* -1: none */

/* What the tables are made for. */
struct fs_state_shape {
    uint32_t inode_len, handle_len; /* of a record */
    uint32_t max_inodes, max_handles;
    uint32_t root_dev, reserved;
    uint64_t root_ino;
};
/* Maps the file. True where a predecessor has left a guest in it that can go on here. Else it is
 * empty now (or a -errno in *ret_err). */
bool fs_state_file_begin(struct fs_state_file *file, const struct fs_state_shape *shape,
                         int *ret_err);
/* What was found is of no use after all: the file is emptied. 0 or -errno. */
int fs_state_file_begin_anew(struct fs_state_file *file, const struct fs_state_shape *shape);

/* Where the tables are. */
struct fs_state_place fs_state_file_inodes(const struct fs_state_file *file);
struct fs_state_place fs_state_file_handles(const struct fs_state_file *file);

/* INIT agreed on these flags; or (guest_is_there false) there is no guest any more. */
void fs_state_file_note_guest(struct fs_state_file *file, bool guest_is_there, uint64_t flags);
uint64_t fs_state_file_flags(const struct fs_state_file *file);
/* Nothing is noted any more. */
void fs_state_file_leave(struct fs_state_file *file);
