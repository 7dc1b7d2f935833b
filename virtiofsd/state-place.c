/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a state table lies: in a memfd, or in a file that outlives this process, of which another
 * one makes a table again. At start and at the end, on one thread; but for fs_state_chunk_reserve,
 * under the table's lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/file-room.h"
#include "vhost-user/log.h"
#include "virtiofsd/state-table-parts.h"

static uint32_t table_n_chunks(uint32_t max_records)
{
    return max_records / TABLE_CHUNK_SLOTS + 1;
}

size_t fs_state_table_len(size_t record_len, uint32_t max_records)
{
    return (size_t)table_n_chunks(max_records) * TABLE_CHUNK_SLOTS * record_len;
}

off_t fs_state_chunk_offset(const struct fs_state_table *table, uint32_t chunk)
{
    return table->offset + (off_t)(chunk * TABLE_CHUNK_SLOTS * table->record_len);
}

static size_t table_chunk_len(const struct fs_state_table *table)
{
    return TABLE_CHUNK_SLOTS * table->record_len;
}

int fs_state_chunk_reserve(const struct fs_state_table *table, uint32_t chunk)
{
    static uint64_t next_ns;
    int ret;

    if (!table->is_kept)
        return 0;
    ret = vu_file_room_take(table->fd, fs_state_chunk_offset(table, chunk), table_chunk_len(table));
    if (ret < 0 && vu_log_is_due(&next_ns))
        vu_error("virtiofsd: --state: no room in the file for more: %s", g_strerror(-ret));
    return ret;
}

/* The table in `fd`, which is taken over. */
static int table_map(struct fs_state_table *table, int fd)
{
    void *base;

    table->fd = fd;
    table->map_len = fs_state_table_len(table->record_len, table->max_records);
    base = mmap(NULL, table->map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
                table->offset);
    if (base == MAP_FAILED)
        return -errno;
    table->base = base;
    return fs_state_chunk_reserve(table, 0);
}

static int table_create(const struct fs_state_table *fixed, int fd,
                        struct fs_state_table **ret_table)
{
    struct fs_state_table *table = g_memdup2(fixed, sizeof(*fixed));
    int ret;

    g_assert(fixed->record_len >= sizeof(struct fs_record) && fixed->record_len % 8 == 0);
    g_assert(fixed->max_records > 0 && fixed->max_records < UINT32_MAX - TABLE_CHUNK_SLOTS);
    table->n_chunks = table_n_chunks(fixed->max_records);
    table->chunks = g_new0(struct table_chunk, table->n_chunks);
    pthread_mutex_init(&table->lock, NULL);
    ret = table_map(table, fd);
    if (ret < 0) {
        fs_state_table_destroy(table);
        return ret;
    }
    table->chunks[0] = (struct table_chunk){.n_touched = 1, .n_used = 1}; /* slot 0 */
    *ret_table = table;
    return 0;
}

static void table_begin_ids(struct fs_state_table *table)
{
    fs_state_table_at(table, 0)->generation = UINT32_MAX; /* the first gets 0 */
}

int fs_state_table_create(const char *name, size_t record_len, uint32_t max_records,
                          void (*release)(void *opaque, struct fs_record *record, uint32_t slot),
                          void *opaque, struct fs_state_table **ret_table)
{
    const struct fs_state_table fixed = {
        .record_len = record_len, .max_records = max_records, .release = release, .opaque = opaque};
    vu_autofd int fd = memfd_create(name, MFD_CLOEXEC);
    int ret;

    if (fd < 0 || ftruncate(fd, (off_t)fs_state_table_len(record_len, max_records)) < 0)
        return -errno;
    ret = table_create(&fixed, vu_steal_fd(&fd), ret_table);
    if (ret == 0)
        table_begin_ids(*ret_table);
    return ret;
}

int fs_state_table_create_at(const struct fs_state_place *place, size_t record_len,
                             uint32_t max_records,
                             void (*release)(void *opaque, struct fs_record *record, uint32_t slot),
                             void *opaque, struct fs_state_table **ret_table)
{
    const struct fs_state_table fixed = {.record_len = record_len,
                                         .max_records = max_records,
                                         .offset = place->offset,
                                         .is_kept = true,
                                         .release = release,
                                         .opaque = opaque};
    int fd = fcntl(place->fd, F_DUPFD_CLOEXEC, 0), ret;

    if (fd < 0)
        return -errno;
    ret = table_create(&fixed, fd, ret_table);
    if (ret == 0 && !place->is_adopted)
        table_begin_ids(*ret_table);
    return ret;
}

/* --- what a predecessor has left --- */

/* Whether a chunk has nothing but free records. By way of pread: to look at a hole in the mapping
 * may fill it. Or -errno. */
static int table_chunk_is_blank(const struct fs_state_table *table, uint32_t chunk)
{
    size_t len = table_chunk_len(table);
    g_autofree uint8_t *bytes = g_malloc(len);
    ssize_t n = pread(table->fd, bytes, len, fs_state_chunk_offset(table, chunk));

    if (n < 0)
        return -errno;
    if ((size_t)n < len)
        return -EBADMSG;
    for (size_t at = 0; at < len; at += table->record_len) {
        const struct fs_record *record = (const struct fs_record *)(const void *)(bytes + at);

        if (record->state != FS_RECORD_FREE || record->pins != 0)
            return false;
    }
    return true;
}

/* Those that stay, and the free list of the others. */
static void table_adopt_records(struct fs_state_table *table, uint32_t chunk,
                                bool (*keep)(void *opaque, struct fs_record *record), void *opaque)
{
    struct table_chunk *to = &table->chunks[chunk];
    uint32_t first = chunk * TABLE_CHUNK_SLOTS;

    *to = (struct table_chunk){0};
    for (uint32_t slot = first; slot < first + fs_state_chunk_capacity(table, chunk); slot++) {
        struct fs_record *record = fs_state_table_at(table, slot);
        bool is_kept = slot == 0 || (record->state == FS_RECORD_LIVE && keep(opaque, record));

        record->pins = is_kept && slot != 0;
        record->next = 0;
        if (!is_kept)
            record->state = FS_RECORD_FREE;
        to->n_used = (uint16_t)(to->n_used + is_kept);
        table->n_live += record->pins;
        if (is_kept)
            to->n_touched = (uint16_t)(slot - first + 1);
    }
    for (uint32_t slot = first + to->n_touched; slot > MAX(first, 1); slot--) {
        struct fs_record *record = fs_state_table_at(table, slot - 1);

        if (record->pins > 0)
            continue;
        record->next = to->free_head;
        to->free_head = slot - 1;
    }
}

static int table_adopt_chunk(struct fs_state_table *table, uint32_t chunk,
                             bool (*keep)(void *opaque, struct fs_record *record), void *opaque)
{
    int is_blank = chunk == 0 ? 0 : table_chunk_is_blank(table, chunk), ret;

    if (is_blank != 0)
        return MIN(is_blank, 0);
    ret = fs_state_chunk_reserve(table, chunk);
    if (ret == 0)
        table_adopt_records(table, chunk, keep, opaque);
    return ret;
}

int fs_state_table_adopt(struct fs_state_table *table,
                         bool (*keep)(void *opaque, struct fs_record *record), void *opaque)
{
    for (uint32_t chunk = 0; chunk < table->n_chunks; chunk++) {
        off_t data = lseek(table->fd, fs_state_chunk_offset(table, chunk), SEEK_DATA);
        int ret = 0;

        /* Most of the file is one hole. */
        if (chunk == 0 || (data >= 0 && data < fs_state_chunk_offset(table, chunk + 1)))
            ret = table_adopt_chunk(table, chunk, keep, opaque);
        if (ret < 0)
            return ret;
    }
    return 0;
}

int fs_state_table_leave(struct fs_state_table *table)
{
    if (!table->is_left &&
        mmap(table->base, table->map_len, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, table->fd, table->offset) == MAP_FAILED)
        return -errno;
    table->is_left = true;
    return 0;
}

void fs_state_table_destroy(struct fs_state_table *table)
{
    if (!table)
        return;
    if (table->base)
        munmap(table->base, table->map_len);
    close(table->fd);
    pthread_mutex_destroy(&table->lock);
    g_free(table->chunks);
    g_free(table);
}
