/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's locks on image files: bytes of the file, locked by open file description, which say what a
 * user of the image does and what it does not let others do.
 *
 *   offset
 *      100 + permission  read-locked: we use that permission
 *      200 + permission  read-locked: we do not share that permission with others
 *
 * Permissions: 0 read consistently, 1 write, 2 write the same data again, 3 resize. Before an image
 * is used, 200 + what we use and 100 + what we do not share are tested against the locks of others.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "vblkd/storage/storage.h"

/*
 * Takes the locks that reading, or reading and writing, needs, on storage->fd; they go when it is
 * closed. False with *error where another user is in the way. A file system without such locks is
 * gone on without.
 */
bool vblk_image_lock_take(struct vblk_storage *storage, const struct vblk_storage_options *options,
                          GError **error);
/* From a writer's to a reader's, which nobody can be in the way of. */
void vblk_image_lock_downgrade(const struct vblk_storage *storage);
/* Gives them up. At once, that is: the kernel may hold a file that io_uring knows for a moment
 * longer than its descriptor. */
void vblk_image_lock_release(const struct vblk_storage *storage);
