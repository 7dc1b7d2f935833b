/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids of a user namespace (user_namespaces(7)): ranges as they are written on the command line, and
 * how a process that has unshared its user namespace gets them.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define VU_ID_MAP_MAX_RANGES 340 /* the kernel's limit */

struct vu_id_range {
    uint32_t inside, outside, count;
};

struct vu_id_map {
    unsigned n_ranges;
    struct vu_id_range *ranges; /* g_free */
};

/* Adds a range given as ":INSIDE:OUTSIDE:COUNT:"; any character may take the place of the colon.
 * False with *error, which does not name the option. */
bool vu_id_map_add(struct vu_id_map *map, const char *text, GError **error);
void vu_id_map_clear(struct vu_id_map *map);
/* Whether an id is mapped inside. */
bool vu_id_map_has(const struct vu_id_map *map, uint32_t inside);

/*
 * Makes a new user namespace (and what else is in `flags` of unshare(2)) for this process, with the
 * ids of both maps; an empty one means this process's own id alone. Ranges take root, or
 * newuidmap(1) and newgidmap(1). The process must have one thread. False with *error.
 */
bool vu_id_map_unshare(int flags, const struct vu_id_map *uids, const struct vu_id_map *gids,
                       GError **error);
