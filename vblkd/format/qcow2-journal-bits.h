/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bits of tracked bitmaps in the file of the journal, so that a successor has them too: regions
 * behind the records, each for one bitmap. What is in any region of a bitmap counts.
 */
#pragma once

#include "vblkd/format/qcow2-bits.h"
#include "vblkd/format/qcow2-journal.h"

#define QCOW2_JOURNAL_MAGIC   UINT64_C(0x6f62716a6f757235) /* "obqjour5" */
#define QCOW2_JOURNAL_NONE    UINT64_C(0x6f62716a6f757230) /* "obqjour0": what follows is no good */
#define QCOW2_JOURNAL_KIND    UINT64_C(0xffffffffffffff00) /* what all of them have in common */
#define QCOW2_JOURNAL_REGIONS 256

struct qcow2_journal_record {
    uint64_t guest_cluster, cluster, bitmap;
};

struct qcow2_journal_region {
    uint64_t index;     /* of the bitmap in the directory */
    uint64_t name_hash; /* and what it is called */
    uint64_t n, offset; /* bits; in the file */
};

/* The file begins like this. */
struct qcow2_journal {
    uint64_t magic, device, inode; /* of the image */
    /* Of one that lies behind it since it is the disk; 0: none. */
    uint64_t behind_device, behind_inode;
    uint64_t claim;     /* the image's autoclear bits of QCOW2_AUTOCLEAR_CLAIM */
    char path[1024];    /* of the image; empty: not known, as of an overlay that came later */
    char boot_id[40];   /* what a power cut leaves of the records is anything */
    uint64_t head;      /* records ever noted; atomic, after the record */
    uint64_t tail;      /* of them durable */
    uint64_t n_regions; /* atomic, after the region */
    struct qcow2_journal_region regions[QCOW2_JOURNAL_REGIONS];
    struct qcow2_journal_record records[QCOW2_JOURNAL_RECORDS];
};

/*
 * Space for a range of the file, whose contents stay (zeros behind its end): what is missing is
 * better missed now than when a page is written that is mapped. 0 or -errno.
 */
int qcow2_journal_lay_out(int fd, uint64_t offset, uint64_t len);

/* --- by who holds flush_lock --- */

/* Bits, all 0, in a new region, which does not count yet. NULL: no journal, or no room. */
struct qcow2_bits *qcow2_journal_create_bits(struct qcow2 *q, uint64_t n);
/* From now on they count, for the bitmap of that index and name, and stay where they are. */
void qcow2_journal_publish_bits(struct qcow2 *q, uint64_t index, const char *name,
                                const struct qcow2_bits *bits);
/* Nothing of all of that counts, and its place is free. */
void qcow2_journal_forget_bits(struct qcow2 *q);
/* Sets what a predecessor's regions have for a bitmap. False: they have not all of it. */
bool qcow2_journal_read_bits(struct qcow2 *q, uint64_t index, const char *name,
                             struct qcow2_bits *bits);
