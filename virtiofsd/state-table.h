/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pointer-free table of fixed-size records in one memfd: what a successor process must be able to
 * take over (inodes with their lookup counts, open handles). Records are named by ids that carry a
 * generation, so that a stale or invented id is refused and never reaches another record. The table
 * grows in place: records never move.
 *
 * Any thread. Records are used between get and put (a pin); the last put of a record that was
 * retired frees it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Begins every record. */
struct fs_record {
    uint32_t generation; /* of this slot; changes each time it is freed */
    uint32_t pins;       /* atomic: users, plus one while the record is live */
    uint32_t next;       /* hash chain or free list: slot number, 0 ends */
    uint32_t state;      /* FS_RECORD_*: free, live or retired */
};

struct fs_state_table;

/*
 * record_len bytes each, a struct fs_record first; at most max_records. `release` is called (any
 * thread, no lock held) when a retired record has no pins left, before the slot is free again. 0 or
 * -errno.
 */
int fs_state_table_create(const char *name, size_t record_len, uint32_t max_records,
                          void (*release)(void *opaque, struct fs_record *record, uint32_t slot),
                          void *opaque, struct fs_state_table **ret_table);
void fs_state_table_destroy(struct fs_state_table *table);

/* A fresh record (zeroed behind struct fs_record), live, with one pin for being live and one for
 * the caller. NULL when full (ENFILE) or out of memory. */
struct fs_record *fs_state_table_alloc(struct fs_state_table *table, uint64_t *ret_id,
                                       uint32_t *ret_slot);
/* The live record of an id, pinned; NULL for any other id. Lock-free. */
struct fs_record *fs_state_table_get(struct fs_state_table *table, uint64_t id);
void fs_state_table_pin(struct fs_record *record);
void fs_state_table_put(struct fs_state_table *table, struct fs_record *record);
/* Live to retired: get no longer finds it; drops the pin of being live. Returns false where it was
 * retired already. */
bool fs_state_table_retire(struct fs_state_table *table, struct fs_record *record);

uint64_t fs_state_table_id(const struct fs_state_table *table, const struct fs_record *record);
uint32_t fs_state_table_slot(const struct fs_state_table *table, const struct fs_record *record);
struct fs_record *fs_state_table_at(struct fs_state_table *table, uint32_t slot);
uint32_t fs_state_table_n_live(const struct fs_state_table *table);
uint32_t fs_state_table_n_slots(
    const struct fs_state_table *table);                         /* slots ever used: walk 1..n */
size_t fs_state_table_bytes(const struct fs_state_table *table); /* memory in use */
