/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The byte ranges that one owner has locked, as fcntl counts them: a range that is set replaces
 * what it covers of others, neighbours of one kind are one. Under the caller's lock.
 */
#pragma once

#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct fs_lock_range {
    int64_t start, end; /* bytes, both of them in it */
    short type;         /* F_RDLCK, F_WRLCK; F_UNLCK where a range is to be removed */
    uint32_t pid;       /* the guest's process that locked it */
};

#define FS_LOCK_RANGE_WHOLE INT64_MAX /* an end: no range is beyond it */

/* What fcntl means by `lock`, whose l_whence is SEEK_SET and whose l_len is not negative. */
struct fs_lock_range fs_lock_range_from(const struct flock *lock, uint32_t pid);

/* An array of ranges, sorted, none of which overlap; g_array_unref. */
GArray *fs_lock_ranges_new(void);
void fs_lock_ranges_set(GArray *ranges, const struct fs_lock_range *range);
/* The most ranges that setting this one could add. */
unsigned fs_lock_ranges_growth(const GArray *ranges, const struct fs_lock_range *range);
/* The next range from *index on that overlaps with `range` and is not shared with it, NULL where
 * there is none. Leaves *index behind it; start with 0. */
const struct fs_lock_range *fs_lock_ranges_next_conflict(const GArray *ranges,
                                                         const struct fs_lock_range *range,
                                                         guint *index);
