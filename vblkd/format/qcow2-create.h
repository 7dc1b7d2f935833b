/* SPDX-License-Identifier: Apache-2.0 */
/* New qcow2 images, how large they will be, and space set aside in them. For tools. */
#pragma once

#include "vblkd/format/image.h"

enum qcow2_preallocation {
    QCOW2_PREALLOC_OFF,
    QCOW2_PREALLOC_METADATA, /* tables are there, the clusters are a hole in the file */
    QCOW2_PREALLOC_FALLOC,   /* space is reserved */
    QCOW2_PREALLOC_FULL,     /* zeros are written */
};
extern const char *const qcow2_preallocations[]; /* NULL ended, in the order above */

struct qcow2_create_options {
    uint64_t size;    /* of the disk, bytes; rounded up to 512 */
    unsigned version; /* 2 or 3; compat=0.10 or 1.1 */
    uint32_t cluster_size;
    unsigned refcount_bits; /* 1 to 64 */
    bool lazy_refcounts, extended_l2;
    uint8_t compression_type;                  /* QCOW2_COMPRESSION_... */
    const char *backing_name, *backing_format; /* as they will stand in the image, or NULL */
    const char *data_file;                     /* the name of an external data file, or NULL */
    bool data_file_raw;
    enum qcow2_preallocation preallocation;
    bool unflushed; /* need not be on the disk when done: whoever fills it sees to that */
};

/* What qemu-img takes where nothing is said: version 3, 64 KiB, 16 bits, zlib. */
#define QCOW2_CREATE_DEFAULTS                                    \
    {                                                            \
        .version = 3, .cluster_size = 65536, .refcount_bits = 16 \
    }

/* Whether the options can go together. False with *error. */
bool qcow2_create_check(const struct qcow2_create_options *options, GError **error);

/*
 * Writes an empty image (over a file that is there), and an external data file as large as the disk
 * beside it if there is none. False with *error; what was begun is left.
 */
bool qcow2_create(const char *path, const struct qcow2_create_options *options, GError **error);

/* How long a file will be with data_len bytes of data in it, and with all of the disk. */
void qcow2_measure(const struct qcow2_create_options *options, uint64_t data_len,
                   uint64_t *ret_required, uint64_t *ret_fully_allocated);

/* Sets aside what of the range is not there yet; it reads as before. -errno. */
int qcow2_preallocate(struct vblk_image *image, uint64_t offset, uint64_t len,
                      enum qcow2_preallocation how);
