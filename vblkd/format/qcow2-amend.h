/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing what the header of an image says. All of these wait, and need an image that is open for
 * writing and that nobody else uses meanwhile. Each is done as a whole or not at all, whenever it
 * ends. False with *error, which does not name the image.
 */
#pragma once

#include "vblkd/format/qcow2-image.h"

/* Another file lies behind the image (NULL: none does). Nothing is copied, and what is behind the
 * open image stays as it was. */
bool qcow2_amend_backing(struct vblk_image *image, const char *name, const char *format,
                         GError **error);
/* Another image is going to lie behind: zeros that are written from now on are said explicitly. */
void qcow2_expect_backing(struct vblk_image *image);

bool qcow2_amend_lazy_refcounts(struct vblk_image *image, bool is_lazy, GError **error);
/* The name of the external data file, of an image that has one. */
bool qcow2_amend_data_file(struct vblk_image *image, const char *name, GError **error);
/* Whether that file alone can be read as a raw image; it can stop to be, and never begin. */
bool qcow2_amend_data_file_raw(struct vblk_image *image, bool is_raw, GError **error);

/* To version 3. */
bool qcow2_upgrade(struct vblk_image *image, GError **error);
/* To version 2. What that version cannot say is refused first; zero clusters are written out. */
bool qcow2_downgrade(struct vblk_image *image, GError **error);

/* The width of refcounts, 1 to 64 bits; all of them are written anew. */
bool qcow2_amend_refcount_bits(struct vblk_image *image, unsigned n_bits, GError **error);

/* --- between the files of changes, by who holds flush_lock --- */

/* False, with *error. */
bool qcow2_amend_refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* All that was written is on the disk. False with *error for an image that cannot be changed. */
bool qcow2_amend_begin(struct qcow2 *q, GError **error);
/* The header as it is in memory; where it cannot be written, it becomes what it was, but for the
 * strings. */
bool qcow2_amend_write(struct qcow2 *q, const struct qcow2_header *old, GError **error);
