/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio block device as guests see it: feature bits, configuration space, requests. virtio 1.3
 * section 5.2. A sector is always 512 bytes.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost-user/wire.h"

#define BLK_SECTOR 512u

enum blk_feature {
    BLK_F_SIZE_MAX = 1,
    BLK_F_SEG_MAX = 2,
    BLK_F_RO = 5,
    BLK_F_BLK_SIZE = 6,
    BLK_F_FLUSH = 9,
    BLK_F_TOPOLOGY = 10,
    BLK_F_CONFIG_WCE = 11,
    BLK_F_MQ = 12,
    BLK_F_DISCARD = 13,
    BLK_F_WRITE_ZEROES = 14,
};

/*
 *   offset size
 *        0    8  capacity                  sectors
 *        8    4  size_max                  bytes of one segment
 *       12    4  seg_max                   segments of one request
 *       16    4  geometry                  (not offered)
 *       20    4  blk_size                  bytes of a logical block
 *       24    1  physical_block_exp        a physical block is 2^n logical ones
 *       25    1  alignment_offset          logical blocks to the first aligned one
 *       26    2  min_io_size               logical blocks
 *       28    4  opt_io_size               logical blocks
 *       32    1  writeback                 1: a flush makes durable; 0: each write is
 *       33    1
 *       34    2  num_queues
 *       36    4  max_discard_sectors       of one range
 *       40    4  max_discard_seg           ranges of one request
 *       44    4  discard_sector_alignment
 *       48    4  max_write_zeroes_sectors
 *       52    4  max_write_zeroes_seg
 *       56    1  write_zeroes_may_unmap
 *       57    3
 */
struct blk_config {
    le64_t capacity;
    le32_t size_max;
    le32_t seg_max;
    uint8_t geometry[4];
    le32_t blk_size;
    uint8_t physical_block_exp;
    uint8_t alignment_offset;
    le16_t min_io_size;
    le32_t opt_io_size;
    uint8_t writeback;
    uint8_t unused_0;
    le16_t num_queues;
    le32_t max_discard_sectors;
    le32_t max_discard_seg;
    le32_t discard_sector_alignment;
    le32_t max_write_zeroes_sectors;
    le32_t max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap;
    uint8_t unused_1[3];
} __attribute__((packed));
static_assert(sizeof(struct blk_config) == 60, "configuration");
static_assert(offsetof(struct blk_config, writeback) == 32, "configuration");
static_assert(offsetof(struct blk_config, write_zeroes_may_unmap) == 56, "configuration");

enum blk_type {
    BLK_T_IN = 0,
    BLK_T_OUT = 1,
    BLK_T_FLUSH = 4,
    BLK_T_GET_ID = 8,
    BLK_T_DISCARD = 11,
    BLK_T_WRITE_ZEROES = 13,
};

/*
 * A request: the header, data of OUT, DISCARD and WRITE_ZEROES (all device-readable), data of IN
 * and GET_ID, and the status byte (device-writable), framed in any way.
 *
 *   offset size
 *        0    4  type      enum blk_type
 *        4    4  reserved
 *        8    8  sector    of IN and OUT
 */
struct blk_header {
    le32_t type;
    le32_t reserved;
    le64_t sector;
};
static_assert(sizeof(struct blk_header) == 16, "request header");

/*
 * Data of DISCARD and WRITE_ZEROES: one or more of these.
 *
 *   offset size
 *        0    8  sector
 *        8    4  num_sectors
 *       12    4  flags     bit 0 unmap, of WRITE_ZEROES only
 */
struct blk_range {
    le64_t sector;
    le32_t num_sectors;
    le32_t flags;
};
static_assert(sizeof(struct blk_range) == 16, "range");
#define BLK_RANGE_UNMAP 0x1u

enum blk_status {
    BLK_S_OK = 0,
    BLK_S_IOERR = 1,
    BLK_S_UNSUPP = 2,
};

#define BLK_ID_LEN 20 /* bytes of GET_ID, filled up with NULs */
