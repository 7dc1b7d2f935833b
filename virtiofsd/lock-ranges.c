/* SPDX-License-Identifier: Apache-2.0 */
/* Locked ranges in an array, searched by halves. Any thread, under the caller's lock. */
#include "virtiofsd/lock-ranges.h"

struct fs_lock_range fs_lock_range_from(const struct flock *lock, uint32_t pid)
{
    return (struct fs_lock_range){
        .start = lock->l_start,
        .end = lock->l_len == 0 ? FS_LOCK_RANGE_WHOLE : lock->l_start + (lock->l_len - 1),
        .type = lock->l_type,
        .pid = pid,
    };
}

GArray *fs_lock_ranges_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(struct fs_lock_range));
}

static struct fs_lock_range *ranges_at(const GArray *ranges, guint index)
{
    return &g_array_index(ranges, struct fs_lock_range, index);
}

/* The first that ends at `start` or beyond; their number where none does. */
static guint ranges_search(const GArray *ranges, int64_t start)
{
    guint low = 0, high = ranges->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;

        if (ranges_at(ranges, middle)->end < start)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Makes one of those at `index` and behind it, if they are of one kind and without a gap. */
static bool ranges_join(GArray *ranges, guint index)
{
    struct fs_lock_range *range = ranges_at(ranges, index), *next = range + 1;

    if (index + 1 >= ranges->len || range->end + 1 != next->start || range->type != next->type ||
        range->pid != next->pid)
        return false;
    range->end = next->end;
    g_array_remove_index(ranges, index + 1);
    return true;
}

void fs_lock_ranges_set(GArray *ranges, const struct fs_lock_range *range)
{
    struct fs_lock_range parts[3];
    guint first = ranges_search(ranges, range->start), end = first, n = 0;

    while (end < ranges->len && ranges_at(ranges, end)->start <= range->end)
        end++;
    /* What the first and the last of them have outside the new range stays. */
    if (end > first && ranges_at(ranges, first)->start < range->start) {
        parts[n] = *ranges_at(ranges, first);
        parts[n++].end = range->start - 1;
    }
    if (range->type != F_UNLCK)
        parts[n++] = *range;
    if (end > first && ranges_at(ranges, end - 1)->end > range->end) {
        parts[n] = *ranges_at(ranges, end - 1);
        parts[n++].start = range->end + 1;
    }
    if (end > first)
        g_array_remove_range(ranges, first, end - first);
    if (n > 0)
        g_array_insert_vals(ranges, first, parts, n);

    for (guint i = first > 0 ? first - 1 : 0; i < first + n && i < ranges->len;)
        i += ranges_join(ranges, i) ? 0 : 1;
}

unsigned fs_lock_ranges_growth(const GArray *ranges, const struct fs_lock_range *range)
{
    guint first = ranges_search(ranges, range->start);
    bool splits = first < ranges->len && ranges_at(ranges, first)->start < range->start &&
                  ranges_at(ranges, first)->end > range->end;

    return (range->type != F_UNLCK ? 1u : 0u) + (splits ? 1u : 0u);
}

const struct fs_lock_range *fs_lock_ranges_next_conflict(const GArray *ranges,
                                                         const struct fs_lock_range *range,
                                                         guint *index)
{
    *index = MAX(*index, ranges_search(ranges, range->start));
    while (*index < ranges->len) {
        const struct fs_lock_range *held = ranges_at(ranges, (*index)++);

        if (held->start > range->end)
            break;
        if (held->type == F_WRLCK || range->type == F_WRLCK)
            return held;
    }
    return NULL;
}
