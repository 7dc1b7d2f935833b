/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pointer-free table of fixed-size records in one memfd, or in a part of a file, from which a
 * successor process takes them over (inodes with their lookup counts, open handles; state-file.h).
 * Records are named by ids that carry a generation, so that a stale or invented id is refused and
 * never reaches another record. The table grows in place, records never move, and memory of records
 * that are gone is given back; an id of a slot that was not used yet takes none.
 *
 *   slot 0          no record; its generation is the last one given out
 *   slot 1..max     records; id = generation << 32 | slot, so that the first one ever is id 1
 *
 * Any thread. Records are used between get and put (a pin); the last put of a record that was
 * retired frees it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Begins every record. */
struct fs_record {
    uint32_t generation; /* of this slot; changes each time it is freed */
    uint32_t pins;       /* atomic: users, plus one while the record is live */
    uint32_t next;       /* hash chain or free list: slot number, 0 ends */
    uint32_t state;      /* atomic: enum fs_record_state */
};

enum fs_record_state {
    FS_RECORD_FREE,
    FS_RECORD_NEW,     /* allocated, not yet published: its id finds nothing */
    FS_RECORD_LIVE,    /* found by its id */
    FS_RECORD_RETIRED, /* no longer found; freed with its last pin */
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
/* Where a table lies in a file that outlives us. Its descriptor stays the caller's. */
struct fs_state_place {
    int fd;
    off_t offset;
    bool is_adopted; /* a predecessor's table is there; else zeros */
};
int fs_state_table_create_at(const struct fs_state_place *place, size_t record_len,
                             uint32_t max_records,
                             void (*release)(void *opaque, struct fs_record *record, uint32_t slot),
                             void *opaque, struct fs_state_table **ret_table);
/* Bytes of address space, and of a file, that it takes. */
size_t fs_state_table_len(size_t record_len, uint32_t max_records);
/*
 * Right after the creation at a place that is_adopted: those of its live records stay that `keep`
 * wants, which may change them behind struct fs_record. Ids go on where they were. 0 or -errno; who
 * is killed in between, or gives up, leaves what another one can adopt.
 */
int fs_state_table_adopt(struct fs_state_table *table,
                         bool (*keep)(void *opaque, struct fs_record *record), void *opaque);
/* The file stays as it is now: what happens to the records from now on does not show in it. No
 * other thread uses the table. 0 or -errno. */
int fs_state_table_leave(struct fs_state_table *table);
void fs_state_table_destroy(struct fs_state_table *table);
/*
 * Further ids begin at a generation that no other process is likely to have reached, so that an id
 * of a predecessor, which somebody still holds, is refused and does not name another record.
 */
void fs_state_table_scatter(struct fs_state_table *table);

/*
 * A fresh record (zeroed behind struct fs_record) in state FS_RECORD_NEW, with one pin for being
 * live and one for the caller, who fills it and then publishes or retires it. NULL when full
 * (ENFILE), or when the file finds no more room, which is logged.
 */
struct fs_record *fs_state_table_alloc(struct fs_state_table *table);
/* NEW to LIVE: from now on its id finds it, so that a guessed id never meets a half-made record. */
void fs_state_table_publish(struct fs_record *record);
/* The live record of an id, pinned; NULL for any other id. Lock-free. */
struct fs_record *fs_state_table_get(struct fs_state_table *table, uint64_t id);
void fs_state_table_pin(struct fs_record *record);
void fs_state_table_put(struct fs_state_table *table, struct fs_record *record);
/* Pins a record that has one pin: a live one that nobody uses, or a retired one that one user has
 * still got. False for any other. */
bool fs_state_table_pin_if_idle(struct fs_record *record);
/* Whether a record is live and the caller's pin its only one. Like every pin, sequentially
 * consistent. */
bool fs_state_table_is_sole_pin(const struct fs_record *record);
/* NEW or LIVE to RETIRED: get no longer finds it; drops the pin of being live. Returns false where
 * it was retired already. */
bool fs_state_table_retire(struct fs_state_table *table, struct fs_record *record);

uint64_t fs_state_table_id(const struct fs_state_table *table, const struct fs_record *record);
uint32_t fs_state_table_slot(const struct fs_state_table *table, const struct fs_record *record);
/* The record in a slot that is known to be in use, as a link names it. */
struct fs_record *fs_state_table_at(const struct fs_state_table *table, uint32_t slot);
/*
 * Walks: the first live record behind slot `after` (0 to begin), pinned; NULL at the end. Records
 * that come or go during the walk may be met or missed.
 */
struct fs_record *fs_state_table_next(struct fs_state_table *table, uint32_t after);
uint32_t fs_state_table_n_live(const struct fs_state_table *table); /* new and live ones */
/* Whether the next alloc would fail for want of a record. A hint: others come and go. */
bool fs_state_table_is_full(const struct fs_state_table *table);
/* Whether three of four records are in use, beyond n_spare that could be had back. */
bool fs_state_table_is_crowded(const struct fs_state_table *table, uint32_t n_spare);
/* Memory in use, that of the memfd's pages included. */
size_t fs_state_table_bytes(const struct fs_state_table *table);
