/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a qcow2 image with its extensions: parsed and checked, kept, written back.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vblkd/format/qcow2-layout.h"
#include "vblkd/storage/storage.h"

/* An extension that we do not know, kept as it was. */
struct qcow2_unknown_extension {
    uint32_t type, len;
    uint8_t *data;
};

struct qcow2_header {
    uint32_t version;
    unsigned cluster_bits, refcount_order;
    uint64_t size; /* of the virtual disk, bytes */
    uint32_t l1_size;
    uint64_t l1_offset;
    uint64_t reftable_offset;
    uint32_t reftable_clusters;
    uint32_t n_snapshots;
    uint64_t snapshots_offset;
    uint64_t incompatible, compatible, autoclear;
    uint8_t compression_type;
    uint8_t *extra; /* of a header longer than ours: what follows our part */
    uint32_t extra_len;

    char *backing_name;   /* NULL: none */
    char *backing_format; /* NULL: not said */
    char *data_file_name; /* NULL: not said */
    bool has_bitmaps;
    uint32_t n_bitmaps;
    uint64_t bitmaps_size, bitmaps_offset; /* of the directory */
    GArray *unknown_extensions;            /* struct qcow2_unknown_extension */
    bool is_for_repair;        /* what makes no sense is taken for none, where it can be */
    unsigned n_mended, n_lost; /* such fields; of them, those that named something */
};

#define QCOW2_COMPRESSION_ZLIB 0
#define QCOW2_COMPRESSION_ZSTD 1

static inline uint64_t qcow2_header_cluster_size(const struct qcow2_header *header)
{
    return UINT64_C(1) << header->cluster_bits;
}

static inline bool qcow2_header_has_extended_l2(const struct qcow2_header *header)
{
    return (header->incompatible & QCOW2_INCOMPAT_EXTENDED_L2) != 0;
}

/* L1 entries that a disk of `size` takes. */
uint64_t qcow2_header_l1_entries(const struct qcow2_header *header, uint64_t size);

/*
 * Reads and checks everything that the header says on its own. False with *error. Clear what it
 * filled in with qcow2_header_clear, in either case. With `repair`, a bad place of refcounts, of
 * snapshots or of bitmaps is no error: the header is as if there were none.
 */
bool qcow2_header_read(struct vblk_storage *storage, bool repair, struct qcow2_header *ret_header,
                       GError **error);
void qcow2_header_clear(struct qcow2_header *header);

/*
 * The first cluster as it is to be written: header, extensions, backing file name; rounded up to
 * 512 bytes. 0 with *ret_buf (g_free it), or -ENOSPC where it does not fit in a cluster.
 */
int qcow2_header_encode(const struct qcow2_header *header, uint8_t **ret_buf, size_t *ret_len);
/* Writes it; no flush. -errno. */
int qcow2_header_write(const struct qcow2_header *header, struct vblk_storage *storage);
