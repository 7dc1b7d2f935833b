/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The qcow2 format as it is on disk, after QEMU's docs/interop/qcow2.txt, whose headings are named
 * in brackets. All integers are big-endian.
 *
 *   [Header]                          cluster 0
 *   offset size  field                       offset size  field
 *        0    4  magic                           60    4  number of snapshots
 *        4    4  version, 2 or 3                 64    8  snapshot table
 *        8    8  backing file name               -- version 3 --
 *       16    4  its length                      72    8  incompatible features
 *       20    4  cluster_bits                    80    8  compatible features
 *       24    8  size of the virtual disk        88    8  autoclear features
 *       32    4  encryption method               96    4  refcount_order
 *       36    4  L1 entries                     100    4  header length
 *       40    8  L1 table                       -- present as far as the length says --
 *       48    8  refcount table                 104    1  compression type
 *       56    4  its clusters                   105    7  padding, 0
 *
 *   [Header extensions]               behind the header: u32 type, u32 length, data, padded to 8
 *   [Host cluster management]         refcount table -> refcount blocks (a cluster each)
 *   [Cluster mapping]                 L1 table -> L2 tables (a cluster each) -> clusters
 */
#pragma once

#include <assert.h>

#include "vblkd/format/big-endian.h"

#define QCOW2_MAGIC UINT32_C(0x514649fb) /* "QFI\xfb" */

struct qcow2_disk_header {
    be32_t magic;
    be32_t version;
    be64_t backing_file_offset;
    be32_t backing_file_size;
    be32_t cluster_bits;
    be64_t size;
    be32_t crypt_method;
    be32_t l1_size;
    be64_t l1_table_offset;
    be64_t refcount_table_offset;
    be32_t refcount_table_clusters;
    be32_t nb_snapshots;
    be64_t snapshots_offset;
    be64_t incompatible_features;
    be64_t compatible_features;
    be64_t autoclear_features;
    be32_t refcount_order;
    be32_t header_length;
    uint8_t compression_type;
    uint8_t padding[7];
};
static_assert(sizeof(struct qcow2_disk_header) == 112, "header");

#define QCOW2_HEADER_LEN_V2     72
#define QCOW2_HEADER_LEN_V3_MIN 104
#define QCOW2_HEADER_LEN        112 /* as we write it */

/* incompatible_features: an unknown one means that the image cannot be used */
#define QCOW2_INCOMPAT_DIRTY       (UINT64_C(1) << 0)
#define QCOW2_INCOMPAT_CORRUPT     (UINT64_C(1) << 1)
#define QCOW2_INCOMPAT_DATA_FILE   (UINT64_C(1) << 2)
#define QCOW2_INCOMPAT_COMPRESSION (UINT64_C(1) << 3)
#define QCOW2_INCOMPAT_EXTENDED_L2 (UINT64_C(1) << 4)
#define QCOW2_INCOMPAT_KNOWN       UINT64_C(0x1f)

/* compatible_features */
#define QCOW2_COMPAT_LAZY_REFCOUNTS (UINT64_C(1) << 0)

/* autoclear_features: an unknown one is cleared before the first write */
#define QCOW2_AUTOCLEAR_BITMAPS  (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_RAW_DATA (UINT64_C(1) << 1)
#define QCOW2_AUTOCLEAR_KNOWN    UINT64_C(0x3)

struct qcow2_disk_extension {
    be32_t type;
    be32_t length;
};
static_assert(sizeof(struct qcow2_disk_extension) == 8, "header extension");

#define QCOW2_EXT_END            UINT32_C(0)
#define QCOW2_EXT_BACKING_FORMAT UINT32_C(0xe2792aca)
#define QCOW2_EXT_FEATURE_NAMES  UINT32_C(0x6803f857)
#define QCOW2_EXT_BITMAPS        UINT32_C(0x23852875)
#define QCOW2_EXT_CRYPTO         UINT32_C(0x0537be77)
#define QCOW2_EXT_DATA_FILE      UINT32_C(0x44415441)

/* [Feature name table] */
struct qcow2_disk_feature_name {
    uint8_t type; /* 0 incompatible, 1 compatible, 2 autoclear */
    uint8_t bit;
    char name[46]; /* padded with zeros */
};
static_assert(sizeof(struct qcow2_disk_feature_name) == 48, "feature name");

/* [Bitmaps extension] */
struct qcow2_disk_bitmaps {
    be32_t nb_bitmaps;
    be32_t reserved;
    be64_t directory_size;
    be64_t directory_offset;
};
static_assert(sizeof(struct qcow2_disk_bitmaps) == 24, "bitmaps extension");

/* [Bitmap directory]: then extra data, name, padding to 8 */
struct qcow2_disk_bitmap {
    be64_t table_offset;
    be32_t table_size; /* entries of 8 bytes */
    be32_t flags;
    uint8_t type; /* 1: dirty tracking */
    uint8_t granularity_bits;
    be16_t name_size;
    be32_t extra_data_size;
};
static_assert(sizeof(struct qcow2_disk_bitmap) == 24, "bitmap directory entry");

#define QCOW2_BITMAP_IN_USE           (UINT32_C(1) << 0)
#define QCOW2_BITMAP_AUTO             (UINT32_C(1) << 1)
#define QCOW2_BITMAP_EXTRA_COMPATIBLE (UINT32_C(1) << 2)
#define QCOW2_BITMAP_FLAGS_KNOWN      UINT32_C(0x7)

/* [Snapshots]: then extra data, ID, name, padding to 8 */
struct qcow2_disk_snapshot {
    be64_t l1_table_offset;
    be32_t l1_size;
    be16_t id_size;
    be16_t name_size;
    be32_t date_sec;
    be32_t date_nsec;
    be64_t vm_clock_nsec;
    be32_t vm_state_size;
    be32_t extra_data_size;
};
static_assert(sizeof(struct qcow2_disk_snapshot) == 40, "snapshot table entry");

struct qcow2_disk_snapshot_extra {
    be64_t vm_state_size_large;
    be64_t disk_size;
    be64_t icount; /* all ones: none */
};
static_assert(sizeof(struct qcow2_disk_snapshot_extra) == 24, "extra data of a snapshot");

/*
 * Entries of the L1 table, of L2 tables and of the refcount table.
 *
 *   L1:        0-8 reserved   9-55 L2 table   56-62 reserved   63 COPIED
 *   L2:        0 ZERO (version 3, no subclusters)   1-8 reserved   9-55 cluster   56-61 reserved
 *              62 COMPRESSED   63 COPIED
 *   extended:  a second word: 0-31 allocated, 32-63 reads as zeros, a bit for each subcluster
 *   compressed (x = 62 - (cluster_bits - 8)):  0 to x-1 byte offset   x-61 further 512 B sectors
 *   refcount:  0-8 reserved   9-63 refcount block
 */
#define QCOW2_COPIED            (UINT64_C(1) << 63)
#define QCOW2_COMPRESSED        (UINT64_C(1) << 62)
#define QCOW2_ZERO              (UINT64_C(1) << 0)
#define QCOW2_OFFSET_MASK       UINT64_C(0x00fffffffffffe00)
#define QCOW2_L1_RESERVED       UINT64_C(0x7f000000000001ff)
#define QCOW2_L2_RESERVED       UINT64_C(0x3f000000000001fe)
#define QCOW2_REFTABLE_RESERVED UINT64_C(0x1ff)

#define QCOW2_SUBCLUSTERS       32

/* What the format or everybody's use of it allows. */
#define QCOW2_MIN_CLUSTER_BITS      9
#define QCOW2_MAX_CLUSTER_BITS      21
#define QCOW2_EXT_L2_MIN_BITS       14
#define QCOW2_MAX_REFCOUNT_ORDER    6
#define QCOW2_MAX_L1_SIZE           (UINT64_C(32) << 20) /* bytes */
#define QCOW2_MAX_REFTABLE_SIZE     (UINT64_C(8) << 20)  /* bytes */
#define QCOW2_MAX_BACKING_NAME      1023
#define QCOW2_MAX_SNAPSHOTS         65536
#define QCOW2_MAX_SNAPSHOTS_SIZE    (UINT64_C(64) << 20) /* bytes */
#define QCOW2_MAX_SNAPSHOT_EXTRA    1024
#define QCOW2_MAX_BITMAPS           65535
#define QCOW2_MAX_BITMAPS_SIZE      (UINT64_C(64) << 20) /* bytes of the directory */
#define QCOW2_MAX_BITMAP_TABLE_SIZE (UINT64_C(32) << 20) /* bytes */
#define QCOW2_MAX_OFFSET            (UINT64_C(1) << 56)  /* of what an L1 or L2 entry can name */
