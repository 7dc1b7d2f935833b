/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The book of a guest's record locks: who holds which range, and who waits for one. The kernel
 * finds no deadlock between open file descriptions, so we do: a wait is refused where the owners
 * that stand in its way wait, by way of others, for the one who asks. Locks of the host and of
 * other guests are not in the book; for those one waits as long as it takes.
 *
 * Owners are known by the guest's number and process together: children that share an open file
 * with their parent (whose lock it may release) do not wait in its place.
 *
 * Any thread. No system call is made under the book's lock.
 */
#pragma once

#include "virtiofsd/lock-ranges.h"

struct fs_lock_book;

/* An owner's locks on one inode. */
struct fs_lock_holder {
    uint64_t nodeid, id; /* fixed */

    /* the book's own */
    struct fs_lock_holder *next, **link; /* of the same inode */
    GArray *ranges;
};

/* A wait for a range. */
struct fs_lock_want {
    uint64_t nodeid, id;
    struct fs_lock_range range;

    /* the book's own */
    struct fs_lock_want *next, **link;
    struct fs_lock_want *next_reached;
    bool reached;
};

/* With room for so many ranges. 0 or -ENOMEM. */
int fs_lock_book_create(unsigned max_ranges, struct fs_lock_book **ret_book);
/* All holders and wants must be gone. */
void fs_lock_book_destroy(struct fs_lock_book *book);

/* A holder (nodeid and id set by the caller) of nothing yet. */
void fs_lock_book_add(struct fs_lock_book *book, struct fs_lock_holder *holder);
/* The holder goes, and what it holds. */
void fs_lock_book_remove(struct fs_lock_book *book, struct fs_lock_holder *holder);

/* Whether this may be set: asked before the lock is taken. A bound on what a guest can make the
 * host's kernel keep; off by as many as ask at once. */
bool fs_lock_book_has_room(struct fs_lock_book *book, const struct fs_lock_holder *holder,
                           const struct fs_lock_range *range);
/* The holder has set the range by fcntl. */
void fs_lock_book_set(struct fs_lock_book *book, struct fs_lock_holder *holder,
                      const struct fs_lock_range *range);
/* The guest's process that is in the way of this range, other than its owner `id`; 0: none. */
uint32_t fs_lock_book_find_holder(struct fs_lock_book *book, uint64_t nodeid, uint64_t id,
                                  const struct fs_lock_range *range);

/*
 * Enters a wait, which stays the caller's and must be taken back. -EDEADLK: it would never end;
 * it is not entered then. The search is bounded; beyond the bound one waits.
 */
int fs_lock_book_want(struct fs_lock_book *book, struct fs_lock_want *want);
void fs_lock_book_unwant(struct fs_lock_book *book, struct fs_lock_want *want);
