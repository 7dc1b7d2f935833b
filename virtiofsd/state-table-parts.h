/* SPDX-License-Identifier: Apache-2.0 */
/* A state table as its two files see it: state-table.c has the records, state-place.c where they
 * lie. */
#pragma once

#include <glib.h>
#include <pthread.h>

#include "virtiofsd/state-table.h"

#define TABLE_CHUNK_SLOTS 1024 /* times a record_len that is a multiple of 8: whole pages */

struct table_chunk {
    uint32_t free_head; /* linked by fs_record.next, 0 ends */
    uint16_t n_touched; /* slots from the beginning of the chunk that were ever used; atomic for
                           fs_state_table_get */
    uint16_t n_used;    /* slots not free */
};

struct fs_state_table {
    /* fixed */
    uint8_t *base;
    size_t map_len;
    size_t record_len;
    uint32_t max_records;
    uint32_t n_chunks;
    int fd;       /* a memfd, or a copy of a descriptor of the file */
    off_t offset; /* of the table in it */
    bool is_kept; /* it is a file, which may be full */
    bool is_left; /* the file is not ours any more, and what is mapped a copy of it */
    void (*release)(void *opaque, struct fs_record *record, uint32_t slot);
    void *opaque;

    pthread_mutex_t lock;
    struct table_chunk *chunks; /* lock */
    uint32_t first_room;        /* lock; no chunk before this one has a free slot */

    uint32_t n_live; /* atomic */
};

/* Slots that a chunk has. */
static inline uint32_t fs_state_chunk_capacity(const struct fs_state_table *table, uint32_t chunk)
{
    uint32_t left = table->max_records + 1 - chunk * TABLE_CHUNK_SLOTS;

    return MIN(left, TABLE_CHUNK_SLOTS);
}

/* Where a chunk begins in the file. */
off_t fs_state_chunk_offset(const struct fs_state_table *table, uint32_t chunk);
/* Makes sure that stores into a chunk find room in the file. 0 or -errno, which is logged. */
int fs_state_chunk_reserve(const struct fs_state_table *table, uint32_t chunk);
