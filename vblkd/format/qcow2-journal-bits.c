/* SPDX-License-Identifier: Apache-2.0 */
/* Regions of bits in the journal's file: page after page behind what it begins with. */
#include "vblkd/format/qcow2-journal-bits.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhost-user/file-room.h"
#include "vhost-user/log.h"

#define JOURNAL_PAGE 65536u /* as large as pages are anywhere */

static uint64_t journal_pages(uint64_t len)
{
    return (len + JOURNAL_PAGE - 1) & ~(uint64_t)(JOURNAL_PAGE - 1);
}

static uint64_t journal_region_len(uint64_t n_bits)
{
    return journal_pages(n_bits / 8 + 16);
}

int qcow2_journal_lay_out(int fd, uint64_t offset, uint64_t len)
{
    uint64_t end = offset + len;
    struct stat st;
    int ret = vu_file_room_take(fd, (off_t)offset, len);

    if (ret < 0)
        return ret;
    if (fstat(fd, &st) < 0 || ((uint64_t)st.st_size < end && ftruncate(fd, (off_t)end) < 0))
        return -errno;
    return 0;
}

/* Bits in the file at an offset. NULL: they cannot be mapped. */
static struct qcow2_bits *journal_map_bits(const struct qcow2 *q, uint64_t n, uint64_t offset)
{
    size_t len = journal_region_len(n);
    void *words = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, q->journal_fd, (off_t)offset);

    return words == MAP_FAILED ? NULL : qcow2_bits_adopt(n, words, len);
}

struct qcow2_bits *qcow2_journal_create_bits(struct qcow2 *q, uint64_t n)
{
    uint64_t len = journal_region_len(n), offset = q->journal_bits_end;
    struct qcow2_bits *bits;

    if (!q->journal || q->journal->n_regions >= QCOW2_JOURNAL_REGIONS ||
        qcow2_journal_lay_out(q->journal_fd, offset, len) < 0)
        return NULL;
    bits = journal_map_bits(q, n, offset);
    if (!bits)
        return NULL;
    q->journal_bits_end = offset + len;
    return bits;
}

void qcow2_journal_publish_bits(struct qcow2 *q, uint64_t index, const char *name,
                                const struct qcow2_bits *bits)
{
    struct qcow2_journal *journal = q->journal;

    if (!journal || bits->map_len == 0 || journal->n_regions >= QCOW2_JOURNAL_REGIONS)
        return;
    /* The last that was made lies at the end. */
    journal->regions[journal->n_regions] = (struct qcow2_journal_region){
        .index = index,
        .name_hash = g_str_hash(name),
        .n = bits->n,
        .offset = q->journal_bits_end - bits->map_len,
    };
    __atomic_store_n(&journal->n_regions, journal->n_regions + 1, __ATOMIC_RELEASE);
}

void qcow2_journal_forget_bits(struct qcow2 *q)
{
    if (!q->journal)
        return;
    __atomic_store_n(&q->journal->n_regions, 0, __ATOMIC_RELEASE);
    /* What comes there next begins with zeros. */
    if (ftruncate(q->journal_fd, sizeof(struct qcow2_journal)) < 0)
        vu_warning("%s: the journal cannot be cut: %s", q->name, g_strerror(errno));
    q->journal_bits_end = journal_pages(sizeof(struct qcow2_journal));
}

bool qcow2_journal_read_bits(struct qcow2 *q, uint64_t index, const char *name,
                             struct qcow2_bits *bits)
{
    uint64_t n_regions = MIN(q->journal->n_regions, QCOW2_JOURNAL_REGIONS);
    bool has_all = false;
    struct stat st;

    if (fstat(q->journal_fd, &st) < 0)
        return false;
    for (uint64_t i = 0; i < n_regions; i++) {
        const struct qcow2_journal_region *region = &q->journal->regions[i];
        struct qcow2_bits *mapped;

        if (region->index != index || region->name_hash != g_str_hash(name))
            continue;
        if (region->offset % JOURNAL_PAGE != 0 || region->offset > (uint64_t)st.st_size ||
            region->n / 8 > (uint64_t)st.st_size ||
            journal_region_len(region->n) > (uint64_t)st.st_size - region->offset)
            return false;
        mapped = journal_map_bits(q, region->n, region->offset);
        if (!mapped)
            return false;
        qcow2_bits_merge(bits, mapped);
        qcow2_bits_destroy(mapped);
        has_all |= region->n >= bits->n;
    }
    return has_all;
}
