/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holders in a list for each inode, waits in one list. Who waits for whom is worked out from both
 * whenever a wait is entered, since holders come and go while others wait. That is the only moment
 * to look: a process that is granted a lock does not wait at that time. (Its threads may; a cycle
 * that one of them closes by a lock it gets is not found. It runs, and may undo it.)
 */
#include "virtiofsd/lock-book.h"

#include <errno.h>

#include "vhost-user/cleanup.h"

#define BOOK_MAX_STEPS 200000 /* of a search: about a millisecond */

struct fs_lock_book {
    pthread_mutex_t lock;  /* guards everything below */
    GHashTable *by_nodeid; /* first holder of each list; the key is that holder's */
    struct fs_lock_want *wants;
    unsigned n_ranges, max_ranges;
};

int fs_lock_book_create(unsigned max_ranges, struct fs_lock_book **ret_book)
{
    struct fs_lock_book *book = g_try_new0(struct fs_lock_book, 1);

    if (!book)
        return -ENOMEM;
    pthread_mutex_init(&book->lock, NULL);
    book->by_nodeid = g_hash_table_new(g_int64_hash, g_int64_equal);
    book->max_ranges = max_ranges;
    *ret_book = book;
    return 0;
}

void fs_lock_book_destroy(struct fs_lock_book *book)
{
    if (!book)
        return;
    g_hash_table_destroy(book->by_nodeid);
    pthread_mutex_destroy(&book->lock);
    g_free(book);
}

/* --- holders --- */

static struct fs_lock_holder *book_list_locked(struct fs_lock_book *book, uint64_t nodeid)
{
    return g_hash_table_lookup(book->by_nodeid, &nodeid);
}

void fs_lock_book_add(struct fs_lock_book *book, struct fs_lock_holder *holder)
{
    VU_LOCK_SCOPE(&book->lock);

    holder->ranges = fs_lock_ranges_new();
    holder->next = book_list_locked(book, holder->nodeid);
    holder->link = NULL; /* the first */
    if (holder->next)
        holder->next->link = &holder->next;
    g_hash_table_replace(book->by_nodeid, &holder->nodeid, holder);
}

void fs_lock_book_remove(struct fs_lock_book *book, struct fs_lock_holder *holder)
{
    VU_LOCK_SCOPE(&book->lock);

    if (holder->next)
        holder->next->link = holder->link;
    if (holder->link)
        *holder->link = holder->next;
    else if (holder->next)
        g_hash_table_replace(book->by_nodeid, &holder->next->nodeid, holder->next);
    else
        g_hash_table_remove(book->by_nodeid, &holder->nodeid);
    book->n_ranges -= holder->ranges->len;
    g_clear_pointer(&holder->ranges, g_array_unref);
}

bool fs_lock_book_has_room(struct fs_lock_book *book, const struct fs_lock_holder *holder,
                           const struct fs_lock_range *range)
{
    unsigned growth;
    VU_LOCK_SCOPE(&book->lock);

    growth = fs_lock_ranges_growth(holder->ranges, range);
    return growth == 0 || book->n_ranges + growth <= book->max_ranges;
}

void fs_lock_book_set(struct fs_lock_book *book, struct fs_lock_holder *holder,
                      const struct fs_lock_range *range)
{
    VU_LOCK_SCOPE(&book->lock);

    book->n_ranges -= holder->ranges->len;
    fs_lock_ranges_set(holder->ranges, range);
    book->n_ranges += holder->ranges->len;
}

uint32_t fs_lock_book_find_holder(struct fs_lock_book *book, uint64_t nodeid, uint64_t id,
                                  const struct fs_lock_range *range)
{
    VU_LOCK_SCOPE(&book->lock);

    for (struct fs_lock_holder *holder = book_list_locked(book, nodeid); holder;
         holder = holder->next) {
        guint index = 0;
        const struct fs_lock_range *held =
            holder->id == id ? NULL : fs_lock_ranges_next_conflict(holder->ranges, range, &index);

        if (held)
            return held->pid;
    }
    return 0;
}

/* --- waits --- */

/* Whether the one who waits by `other` has locked what `want` is for, on the holder's inode. */
static bool book_blocks(const struct fs_lock_holder *holder, const struct fs_lock_want *other,
                        const struct fs_lock_want *want, unsigned *steps)
{
    const struct fs_lock_range *held = NULL;
    guint index = 0;

    if (holder->id != other->id)
        return false;
    do {
        held = fs_lock_ranges_next_conflict(holder->ranges, &want->range, &index);
        *steps += 1;
    } while (held && held->pid != other->range.pid && *steps < BOOK_MAX_STEPS);
    return held && held->pid == other->range.pid;
}

/* Adds to `todo` those waits whose owners stand in the way of `want`, each once. */
static struct fs_lock_want *book_reach_locked(struct fs_lock_book *book,
                                              const struct fs_lock_want *want,
                                              struct fs_lock_want *todo, unsigned *steps)
{
    for (const struct fs_lock_holder *holder = book_list_locked(book, want->nodeid); holder;
         holder = holder->next) {
        if (holder->id == want->id)
            continue; /* no one is in his own way */
        for (struct fs_lock_want *other = book->wants; other && *steps < BOOK_MAX_STEPS;
             other = other->next) {
            *steps += 1;
            if (other->reached || !book_blocks(holder, other, want, steps))
                continue;
            other->reached = true;
            other->next_reached = todo;
            todo = other;
        }
    }
    return todo;
}

/* Whether the wait, entered already, waits for itself in the end. */
static bool book_is_cycle_locked(struct fs_lock_book *book, struct fs_lock_want *asking)
{
    struct fs_lock_want *todo, *want;
    unsigned steps = 0;

    for (want = book->wants; want; want = want->next)
        want->reached = false;
    todo = book_reach_locked(book, asking, NULL, &steps);
    while (todo && !asking->reached) {
        want = todo;
        todo = book_reach_locked(book, want, todo->next_reached, &steps);
    }
    return asking->reached;
}

static void book_unlink_locked(struct fs_lock_want *want)
{
    *want->link = want->next;
    if (want->next)
        want->next->link = want->link;
}

int fs_lock_book_want(struct fs_lock_book *book, struct fs_lock_want *want)
{
    VU_LOCK_SCOPE(&book->lock);

    want->next = book->wants;
    want->link = &book->wants;
    if (want->next)
        want->next->link = &want->next;
    book->wants = want;
    if (!book_is_cycle_locked(book, want))
        return 0;
    book_unlink_locked(want);
    return -EDEADLK;
}

void fs_lock_book_unwant(struct fs_lock_book *book, struct fs_lock_want *want)
{
    VU_LOCK_SCOPE(&book->lock);

    book_unlink_locked(want);
}
