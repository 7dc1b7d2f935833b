/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount itself, which libfuse3 makes (through fusermount3 for an ordinary user): a mounted
 * directory and the descriptors of /dev/fuse that belong to it. Nothing of libfuse looks at the
 * requests. Main thread, except fuse_mount_close, which may run on a helper.
 */
#pragma once

#include <glib.h>

struct fuse_mount;

/*
 * Mounts on dir with the options of `-o` (comma separated). The kernel's first request waits to be
 * read then. NULL with *error.
 */
struct fuse_mount *fuse_mount_open(const char *dir, const char *options, GError **error);
/* The descriptor that the mount came with. */
int fuse_mount_fd(const struct fuse_mount *mount);
/* Another non-blocking descriptor of the same mount, with an answer queue of its own where that can
 * be had: a reply goes through the descriptor that its request came from. -errno. */
int fuse_mount_clone_fd(const struct fuse_mount *mount);
/*
 * Unmounts, lazily where it is busy, unless somebody has already. May wait for requests that the
 * kernel sends while it does so; closing all clones ends such a wait.
 */
void fuse_mount_close(struct fuse_mount *mount);
void fuse_mount_free(struct fuse_mount *mount);
