/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User or group ids that stand for others on the host (--translate-uid, --translate-gid): two lists
 * of ranges, one for each direction, which need not mirror each other. An id in no range stands for
 * itself.
 *
 * Built while the command line is read, only looked at afterwards; any thread.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum fs_idmap_kind {
    FS_IDMAP_SHIFT,  /* base + i stands for target + i */
    FS_IDMAP_SQUASH, /* all stand for target */
    FS_IDMAP_FORBID, /* none may be used */
};

struct fs_idmap_range {
    uint32_t base, count, target;
    enum fs_idmap_kind kind;
};

/* One direction. Sorted by base; no two ranges share an id. */
struct fs_idmap_ranges {
    struct fs_idmap_range *ranges; /* g_free */
    unsigned n;
};

struct fs_idmap {
    struct fs_idmap_ranges to_host, to_guest;
};

/*
 * Adds a rule as it is written on the command line (the table is in idmap.c). False with *error,
 * which does not name the option: no such type, wrong numbers, ids for which a rule was given
 * before. The map is then unchanged.
 */
bool fs_idmap_add(struct fs_idmap *map, const char *text, GError **error);
void fs_idmap_clear(struct fs_idmap *map);

/* What stands for id on the other side. 0, or -EPERM for one that is forbidden. */
int fs_idmap_translate(const struct fs_idmap_ranges *ranges, uint32_t id, uint32_t *ret_id);

/* How the guest sees an id of the host. */
static inline uint32_t fs_idmap_to_guest(const struct fs_idmap *map, uint32_t id)
{
    if (map->to_guest.n > 0)
        fs_idmap_translate(&map->to_guest, id, &id);
    return id;
}
