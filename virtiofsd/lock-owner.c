/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owners of record locks, in one list for each inode. The lists are short: the processes of one
 * guest that have locked one file.
 *
 * Any thread. The lock is held over no system call on the share. An owner's own is held while a
 * lock is set by a call that does not wait, so that the book (lock-book.h) tells what the kernel
 * has.
 */
#include "virtiofsd/lock-owner.h"

#include <errno.h>
#include <glib.h>
#include <stdbool.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/lock-book.h"

#define OWNERS_MAX_RANGES 65536

struct fs_lock_owner {
    /* fixed */
    uint64_t nodeid, id;
    int fd;

    pthread_mutex_t setting; /* before the lock of the owners */
    struct fs_lock_holder holder;

    /* under the lock of the owners */
    struct fs_lock_owner *next; /* of the same inode */
    uint64_t fh;                /* through which it locked last */
    unsigned n_users;
    uint64_t n_locks; /* ever asked for: shows that one came between */
    bool unlisted;    /* to be closed by the last user */
};

struct fs_lock_owners {
    struct fs_lock_book *book; /* fixed */
    pthread_mutex_t lock;
    GHashTable *by_nodeid; /* lock; of a list each; the key is that of its first owner */
    uint32_t n_owners;     /* lock for changes; atomic */
    uint32_t max_owners;
};

static struct fs_lock_owner *owner_list_locked(struct fs_lock_owners *owners, uint64_t nodeid)
{
    return g_hash_table_lookup(owners->by_nodeid, &nodeid);
}

static void owner_set_list_locked(struct fs_lock_owners *owners, uint64_t nodeid,
                                  struct fs_lock_owner *first)
{
    if (first)
        g_hash_table_replace(owners->by_nodeid, &first->nodeid, first);
    else
        g_hash_table_remove(owners->by_nodeid, &nodeid);
}

static struct fs_lock_owner *owner_find_locked(struct fs_lock_owners *owners, uint64_t nodeid,
                                               uint64_t id)
{
    struct fs_lock_owner *owner = owner_list_locked(owners, nodeid);

    while (owner && owner->id != id)
        owner = owner->next;
    if (owner)
        owner->n_users++;
    return owner;
}

static void owner_unlist_locked(struct fs_lock_owners *owners, struct fs_lock_owner *owner)
{
    struct fs_lock_owner *first = owner_list_locked(owners, owner->nodeid), **link = &first;

    while (*link != owner)
        link = &(*link)->next;
    *link = owner->next;
    owner_set_list_locked(owners, owner->nodeid, first);
    owner->unlisted = true;
    __atomic_fetch_sub(&owners->n_owners, 1, __ATOMIC_RELAXED);
}

static void owner_free(struct fs_lock_owners *owners, struct fs_lock_owner *owner)
{
    close(owner->fd);
    fs_lock_book_remove(owners->book, &owner->holder);
    pthread_mutex_destroy(&owner->setting);
    g_free(owner);
}

int fs_lock_owners_create(uint32_t max_owners, struct fs_lock_owners **ret_owners)
{
    struct fs_lock_owners *owners = g_try_new0(struct fs_lock_owners, 1);
    int ret = owners ? fs_lock_book_create(OWNERS_MAX_RANGES, &owners->book) : -ENOMEM;

    if (ret < 0) {
        g_free(owners);
        return ret;
    }
    pthread_mutex_init(&owners->lock, NULL);
    owners->by_nodeid = g_hash_table_new(g_int64_hash, g_int64_equal);
    owners->max_owners = max_owners;
    *ret_owners = owners;
    return 0;
}

void fs_lock_owners_destroy(struct fs_lock_owners *owners)
{
    if (!owners)
        return;
    fs_lock_owners_clear(owners);
    g_hash_table_destroy(owners->by_nodeid);
    fs_lock_book_destroy(owners->book);
    pthread_mutex_destroy(&owners->lock);
    g_free(owners);
}

struct fs_lock_owner *fs_lock_owner_find(struct fs_lock_owners *owners, uint64_t nodeid,
                                         uint64_t id)
{
    VU_LOCK_SCOPE(&owners->lock);

    return owner_find_locked(owners, nodeid, id);
}

int fs_lock_owner_add(struct fs_lock_owners *owners, uint64_t nodeid, uint64_t id, int *fd,
                      struct fs_lock_owner **ret_owner)
{
    struct fs_lock_owner *owner;
    VU_LOCK_SCOPE(&owners->lock);

    owner = owner_find_locked(owners, nodeid, id);
    if (!owner) {
        if (owners->n_owners >= owners->max_owners)
            return -ENOLCK;
        owner = g_try_new0(struct fs_lock_owner, 1);
        if (!owner)
            return -ENOLCK;
        owner->nodeid = nodeid;
        owner->id = id;
        owner->fd = vu_steal_fd(fd);
        owner->n_users = 1;
        pthread_mutex_init(&owner->setting, NULL);
        owner->holder = (struct fs_lock_holder){.nodeid = nodeid, .id = id};
        fs_lock_book_add(owners->book, &owner->holder);
        owner->next = owner_list_locked(owners, nodeid);
        owner_set_list_locked(owners, nodeid, owner);
        __atomic_fetch_add(&owners->n_owners, 1, __ATOMIC_RELAXED);
    }
    *ret_owner = owner;
    return 0;
}

void fs_lock_owner_put(struct fs_lock_owners *owners, struct fs_lock_owner *owner)
{
    bool gone;

    {
        VU_LOCK_SCOPE(&owners->lock);
        gone = --owner->n_users == 0 && owner->unlisted;
    }
    if (gone)
        owner_free(owners, owner);
}

/* What came to its end is noted: a lock that is asked for in between is not to be lost. */
static void owner_note_use(struct fs_lock_owners *owners, struct fs_lock_owner *owner, uint64_t fh)
{
    VU_LOCK_SCOPE(&owners->lock);

    owner->fh = fh;
    owner->n_locks++;
}

/* Sets it in the kernel and in the book, as one. */
static int owner_set(struct fs_lock_owners *owners, struct fs_lock_owner *owner,
                     const struct fs_lock_range *range, struct flock *lock)
{
    VU_LOCK_SCOPE(&owner->setting);

    if (fcntl(owner->fd, F_OFD_SETLK, lock) < 0)
        return errno == EACCES ? -EAGAIN : -errno;
    fs_lock_book_set(owners->book, &owner->holder, range);
    return 0;
}

int fs_lock_owner_set(struct fs_lock_owners *owners, struct fs_lock_owner *owner, uint64_t fh,
                      uint32_t pid, struct flock *lock)
{
    struct fs_lock_range range = fs_lock_range_from(lock, pid);

    if (!fs_lock_book_has_room(owners->book, &owner->holder, &range))
        return -ENOLCK;
    owner_note_use(owners, owner, fh);
    return owner_set(owners, owner, &range, lock);
}

int fs_lock_owner_wait(struct fs_lock_owners *owners, struct fs_lock_owner *owner, uint64_t fh,
                       uint32_t pid, struct flock *lock)
{
    struct fs_lock_want want = {
        .nodeid = owner->nodeid,
        .id = owner->id,
        .range = fs_lock_range_from(lock, pid),
    };
    int ret;

    if (!fs_lock_book_has_room(owners->book, &owner->holder, &want.range))
        return -ENOLCK;
    owner_note_use(owners, owner, fh);
    ret = fs_lock_book_want(owners->book, &want);
    if (ret < 0)
        return ret;
    /* What the wait got another thread may have dropped before the book knew: so it is set again,
     * which costs nothing where it is still there, and waited for where it is not. */
    do {
        ret = fcntl(owner->fd, F_OFD_SETLKW, lock) < 0 ? -errno : 0;
        if (ret == 0)
            ret = owner_set(owners, owner, &want.range, lock);
    } while (ret == -EAGAIN);
    fs_lock_book_unwant(owners->book, &want);
    return ret;
}

int fs_lock_owner_test(struct fs_lock_owner *owner, struct flock *lock)
{
    return fcntl(owner->fd, F_OFD_GETLK, lock) < 0 ? -errno : 0;
}

/* Unlocks all that an owner has, and puts it. It stays listed where others use it, since a lock
 * that one of them waits for is to be held under this name. */
static void owner_unlock_and_put(struct fs_lock_owners *owners, struct fs_lock_owner *owner,
                                 uint64_t n_locks)
{
    static const struct fs_lock_range whole = {.end = FS_LOCK_RANGE_WHOLE, .type = F_UNLCK};
    struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    bool gone;

    owner_set(owners, owner, &whole, &all);
    {
        VU_LOCK_SCOPE(&owners->lock);
        gone = --owner->n_users == 0 && (owner->unlisted || owner->n_locks == n_locks);
        if (gone && !owner->unlisted)
            owner_unlist_locked(owners, owner);
    }
    if (gone)
        owner_free(owners, owner);
}

void fs_lock_owner_drop(struct fs_lock_owners *owners, uint64_t nodeid, uint64_t id)
{
    struct fs_lock_owner *owner;
    uint64_t n_locks = 0;

    if (__atomic_load_n(&owners->n_owners, __ATOMIC_RELAXED) == 0)
        return;
    {
        VU_LOCK_SCOPE(&owners->lock);
        owner = owner_find_locked(owners, nodeid, id);
        if (owner)
            n_locks = owner->n_locks;
    }
    if (owner)
        owner_unlock_and_put(owners, owner, n_locks);
}

void fs_lock_owners_release(struct fs_lock_owners *owners, uint64_t nodeid, uint64_t fh)
{
    struct fs_lock_owner *owner;

    if (__atomic_load_n(&owners->n_owners, __ATOMIC_RELAXED) == 0)
        return;
    do {
        uint64_t n_locks = 0;

        {
            VU_LOCK_SCOPE(&owners->lock);
            owner = owner_list_locked(owners, nodeid);
            while (owner && owner->fh != fh)
                owner = owner->next;
            if (owner) {
                owner->n_users++;
                owner->fh = 0; /* not met again, even if it stays */
                n_locks = owner->n_locks;
            }
        }
        if (owner)
            owner_unlock_and_put(owners, owner, n_locks);
    } while (owner);
}

void fs_lock_owners_clear(struct fs_lock_owners *owners)
{
    struct fs_lock_owner *gone = NULL, *owner;
    GHashTableIter iter;
    gpointer list;

    {
        VU_LOCK_SCOPE(&owners->lock);
        g_hash_table_iter_init(&iter, owners->by_nodeid);
        while (g_hash_table_iter_next(&iter, NULL, &list))
            while ((owner = list)) {
                list = owner->next;
                owner->unlisted = true;
                if (owner->n_users > 0)
                    continue;
                owner->next = gone;
                gone = owner;
            }
        g_hash_table_remove_all(owners->by_nodeid);
        __atomic_store_n(&owners->n_owners, 0, __ATOMIC_RELAXED);
    }
    while ((owner = gone)) {
        gone = owner->next;
        owner_free(owners, owner);
    }
}

uint32_t fs_lock_owners_find_holder(struct fs_lock_owners *owners, uint64_t nodeid, uint64_t id,
                                    const struct flock *held)
{
    struct fs_lock_range range = fs_lock_range_from(held, 0);

    range.type = F_WRLCK; /* a shared one is its holder's, too */
    return fs_lock_book_find_holder(owners->book, nodeid, id, &range);
}
