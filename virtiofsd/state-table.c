/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fixed-size records in a sparse memfd, or file, that is mapped once at its greatest length.
 *
 * Slots are managed in chunks of 1,024, so that a chunk whose records are all gone can be punched
 * out of the file. Generations come from one counter of the table, not from the slot, so nothing
 * has to be remembered of a slot that is free. A reader needs no lock: it raises `pins` unless that
 * is 0, which keeps the slot from being freed, and only then looks at the generation.
 *
 * Any thread. The lock guards chunks and the generation counter; it is held for no system call but
 * the punch, and its opposite.
 */
#include "virtiofsd/state-table.h"

#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/state-table-parts.h"

static bool table_chunk_is_full(const struct fs_state_table *table, uint32_t chunk)
{
    return table->chunks[chunk].n_used == fs_state_chunk_capacity(table, chunk);
}

void fs_state_table_scatter(struct fs_state_table *table)
{
    VU_LOCK_SCOPE(&table->lock);

    fs_state_table_at(table, 0)->generation = g_random_int();
}

static void table_set_touched_locked(struct table_chunk *chunk, uint16_t n_touched)
{
    __atomic_store_n(&chunk->n_touched, n_touched, __ATOMIC_RELAXED);
}

/* Gives the memory of a chunk back that has no records any more. */
static void table_punch_locked(struct fs_state_table *table, uint32_t chunk)
{
    size_t chunk_len = TABLE_CHUNK_SLOTS * table->record_len;

    if (table->chunks[chunk].n_used > 0 || table->chunks[chunk].n_touched == 0 || table->is_left)
        return;
    /* Where it fails the memory stays, and its slots are zeroed again when they are allocated. */
    table_set_touched_locked(&table->chunks[chunk], 0);
    table->chunks[chunk].free_head = 0;
    (void)fallocate(table->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    fs_state_chunk_offset(table, chunk), (off_t)chunk_len);
}

static uint32_t table_take_slot_locked(struct fs_state_table *table)
{
    uint32_t first = table->first_room, slot;
    struct table_chunk *chunk;

    while (first < table->n_chunks && table_chunk_is_full(table, first))
        first++;
    table->first_room = first;
    if (first == table->n_chunks)
        return 0;
    chunk = &table->chunks[first];
    if (chunk->n_touched == 0 && fs_state_chunk_reserve(table, first) < 0)
        return 0;
    slot = chunk->free_head;
    if (slot) {
        chunk->free_head = fs_state_table_at(table, slot)->next;
    } else {
        slot = first * TABLE_CHUNK_SLOTS + chunk->n_touched;
        table_set_touched_locked(chunk, (uint16_t)(chunk->n_touched + 1));
    }
    chunk->n_used++;
    return slot;
}

static void table_give_slot(struct fs_state_table *table, struct fs_record *record)
{
    uint32_t slot = fs_state_table_slot(table, record);
    uint32_t chunk = slot / TABLE_CHUNK_SLOTS;
    VU_LOCK_SCOPE(&table->lock);

    record->next = table->chunks[chunk].free_head;
    table->chunks[chunk].free_head = slot;
    table->chunks[chunk].n_used--;
    /* The lowest chunk with room is kept even if empty: the next record goes there. */
    if (chunk < table->first_room) {
        uint32_t before = table->first_room;

        table->first_room = chunk;
        if (before < table->n_chunks)
            table_punch_locked(table, before);
    } else if (chunk > table->first_room) {
        table_punch_locked(table, chunk);
    }
}

struct fs_record *fs_state_table_alloc(struct fs_state_table *table)
{
    struct fs_record *record;
    uint32_t generation;

    {
        VU_LOCK_SCOPE(&table->lock);
        uint32_t slot = table_take_slot_locked(table);

        if (!slot)
            return NULL;
        record = fs_state_table_at(table, slot);
        generation = ++fs_state_table_at(table, 0)->generation;
    }
    memset(record + 1, 0, table->record_len - sizeof(*record));
    record->generation = generation;
    record->next = 0;
    __atomic_store_n(&record->state, FS_RECORD_NEW, __ATOMIC_RELAXED);
    __atomic_fetch_add(&table->n_live, 1, __ATOMIC_RELAXED);
    /* Pairs with the acquire in table_pin_unless_free: whoever pins sees the generation. */
    __atomic_store_n(&record->pins, 2, __ATOMIC_RELEASE);
    return record;
}

void fs_state_table_publish(struct fs_record *record)
{
    g_assert(__atomic_load_n(&record->state, __ATOMIC_RELAXED) == FS_RECORD_NEW);
    /* Pairs with the acquire in fs_state_table_get: whoever finds it sees it whole. */
    __atomic_store_n(&record->state, FS_RECORD_LIVE, __ATOMIC_RELEASE);
}

static bool table_pin_unless_free(struct fs_record *record)
{
    uint32_t pins = __atomic_load_n(&record->pins, __ATOMIC_RELAXED);

    do {
        if (pins == 0)
            return false;
    } while (!__atomic_compare_exchange_n(&record->pins, &pins, pins + 1, true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
    return true;
}

/* Whether a slot may be looked at: where there is nothing yet, that would make a page of it, and
 * might find no room for one. Who has an id has it from behind the store. */
static bool table_has_slot(const struct fs_state_table *table, uint32_t slot)
{
    const struct table_chunk *chunk;

    if (slot == 0 || slot > table->max_records)
        return false;
    chunk = &table->chunks[slot / TABLE_CHUNK_SLOTS];
    return slot % TABLE_CHUNK_SLOTS < __atomic_load_n(&chunk->n_touched, __ATOMIC_RELAXED);
}

struct fs_record *fs_state_table_get(struct fs_state_table *table, uint64_t id)
{
    uint32_t slot = (uint32_t)id, generation = (uint32_t)(id >> 32);
    struct fs_record *record;

    if (!table_has_slot(table, slot))
        return NULL;
    record = fs_state_table_at(table, slot);
    if (!table_pin_unless_free(record))
        return NULL;
    if (record->generation == generation &&
        __atomic_load_n(&record->state, __ATOMIC_ACQUIRE) == FS_RECORD_LIVE)
        return record;
    fs_state_table_put(table, record);
    return NULL;
}

void fs_state_table_pin(struct fs_record *record)
{
    uint32_t before = __atomic_fetch_add(&record->pins, 1, __ATOMIC_SEQ_CST);

    g_assert(before > 0);
}

void fs_state_table_put(struct fs_state_table *table, struct fs_record *record)
{
    uint32_t left = __atomic_sub_fetch(&record->pins, 1, __ATOMIC_ACQ_REL);

    g_assert(left != UINT32_MAX);
    if (left > 0)
        return;
    if (table->release)
        table->release(table->opaque, record, fs_state_table_slot(table, record));
    __atomic_store_n(&record->state, FS_RECORD_FREE, __ATOMIC_RELAXED);
    table_give_slot(table, record);
}

bool fs_state_table_is_sole_pin(const struct fs_record *record)
{
    /* State behind pins: while it is live, one of the two is that of being live. */
    return __atomic_load_n(&record->pins, __ATOMIC_SEQ_CST) == 2 &&
           __atomic_load_n(&record->state, __ATOMIC_SEQ_CST) == FS_RECORD_LIVE;
}

bool fs_state_table_pin_if_idle(struct fs_record *record)
{
    uint32_t pins = 1;

    return __atomic_compare_exchange_n(&record->pins, &pins, 2, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}

bool fs_state_table_retire(struct fs_state_table *table, struct fs_record *record)
{
    if (__atomic_exchange_n(&record->state, FS_RECORD_RETIRED, __ATOMIC_SEQ_CST) ==
        FS_RECORD_RETIRED)
        return false;
    __atomic_fetch_sub(&table->n_live, 1, __ATOMIC_RELAXED);
    fs_state_table_put(table, record);
    return true;
}

uint64_t fs_state_table_id(const struct fs_state_table *table, const struct fs_record *record)
{
    return (uint64_t)record->generation << 32 | fs_state_table_slot(table, record);
}

uint32_t fs_state_table_slot(const struct fs_state_table *table, const struct fs_record *record)
{
    return (uint32_t)((size_t)((const uint8_t *)record - table->base) / table->record_len);
}

struct fs_record *fs_state_table_at(const struct fs_state_table *table, uint32_t slot)
{
    return (struct fs_record *)(void *)(table->base + slot * table->record_len);
}

/* The first slot behind `after` that is in use, 0 at the end. Chunks without records, whose memory
 * is given back, are not touched. */
static uint32_t table_next_slot(struct fs_state_table *table, uint32_t after)
{
    VU_LOCK_SCOPE(&table->lock);

    for (uint32_t slot = after + 1; slot <= table->max_records; slot++) {
        const struct table_chunk *chunk = &table->chunks[slot / TABLE_CHUNK_SLOTS];

        if (slot % TABLE_CHUNK_SLOTS >= chunk->n_touched || chunk->n_used == 0)
            slot |= TABLE_CHUNK_SLOTS - 1; /* on to the next chunk */
        else if (__atomic_load_n(&fs_state_table_at(table, slot)->pins, __ATOMIC_RELAXED))
            return slot;
    }
    return 0;
}

struct fs_record *fs_state_table_next(struct fs_state_table *table, uint32_t after)
{
    uint32_t slot = after;

    while ((slot = table_next_slot(table, slot))) {
        struct fs_record *record = fs_state_table_at(table, slot);

        if (!table_pin_unless_free(record))
            continue;
        if (__atomic_load_n(&record->state, __ATOMIC_ACQUIRE) == FS_RECORD_LIVE)
            return record;
        fs_state_table_put(table, record);
    }
    return NULL;
}

bool fs_state_table_is_full(const struct fs_state_table *table)
{
    return __atomic_load_n(&table->n_live, __ATOMIC_RELAXED) >= table->max_records;
}

bool fs_state_table_is_crowded(const struct fs_state_table *table, uint32_t n_spare)
{
    uint32_t n = __atomic_load_n(&table->n_live, __ATOMIC_RELAXED);

    return (n - MIN(n, n_spare)) / 3 >= table->max_records / 4;
}

uint32_t fs_state_table_n_live(const struct fs_state_table *table)
{
    return __atomic_load_n(&table->n_live, __ATOMIC_RELAXED);
}

size_t fs_state_table_bytes(const struct fs_state_table *table)
{
    size_t own = sizeof(*table) + table->n_chunks * sizeof(*table->chunks);
    struct stat st;

    if (fstat(table->fd, &st) < 0)
        return own;
    return own + (size_t)st.st_blocks * 512;
}
