/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owners of record locks, in one list for each inode. The lists are short: the processes of one
 * guest that have locked one file.
 *
 * Any thread. The lock is held over no system call on the share, but for those of
 * fs_lock_owners_find_holder, which only ask.
 */
#include "virtiofsd/lock-owner.h"

#include <errno.h>
#include <glib.h>
#include <stdbool.h>

#include "vhost-user/cleanup.h"

struct fs_lock_owner {
    /* fixed */
    uint64_t nodeid, id;
    int fd;

    /* under the lock of the owners */
    struct fs_lock_owner *next; /* of the same inode */
    uint64_t fh;                /* through which it locked last */
    uint32_t pid;
    unsigned n_users;
    uint64_t n_locks; /* ever asked for: shows that one came between */
    bool unlisted;    /* to be closed by the last user */
};

struct fs_lock_owners {
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

static void owner_free(struct fs_lock_owner *owner)
{
    close(owner->fd);
    g_free(owner);
}

int fs_lock_owners_create(uint32_t max_owners, struct fs_lock_owners **ret_owners)
{
    struct fs_lock_owners *owners = g_try_new0(struct fs_lock_owners, 1);

    if (!owners)
        return -ENOMEM;
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
        owner_free(owner);
}

int fs_lock_owner_apply(struct fs_lock_owners *owners, struct fs_lock_owner *owner, uint64_t fh,
                        uint32_t pid, int command, struct flock *lock)
{
    if (command != F_OFD_GETLK) {
        VU_LOCK_SCOPE(&owners->lock);
        owner->fh = fh;
        owner->pid = pid;
        owner->n_locks++;
    }
    lock->l_pid = 0;
    return fcntl(owner->fd, command, lock) < 0 ? -errno : 0;
}

/* Unlocks all that an owner has, and puts it. It stays listed where others use it, since a lock
 * that one of them waits for is to be held under this name. */
static void owner_unlock_and_put(struct fs_lock_owners *owners, struct fs_lock_owner *owner,
                                 uint64_t n_locks)
{
    struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    bool gone;

    fcntl(owner->fd, F_OFD_SETLK, &all);
    {
        VU_LOCK_SCOPE(&owners->lock);
        gone = --owner->n_users == 0 && (owner->unlisted || owner->n_locks == n_locks);
        if (gone && !owner->unlisted)
            owner_unlist_locked(owners, owner);
    }
    if (gone)
        owner_free(owner);
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
        owner_free(owner);
    }
}

/* Whether the lock is this owner's: then it is in nobody's way but others'. */
static bool owner_holds(const struct fs_lock_owner *owner, const struct flock *held)
{
    struct flock lock = *held;

    lock.l_type = F_WRLCK;
    lock.l_pid = 0;
    return fcntl(owner->fd, F_OFD_GETLK, &lock) == 0 &&
           !(lock.l_type == held->l_type && lock.l_start == held->l_start &&
             lock.l_len == held->l_len);
}

uint32_t fs_lock_owners_find_holder(struct fs_lock_owners *owners, uint64_t nodeid,
                                    const struct flock *held)
{
    VU_LOCK_SCOPE(&owners->lock);

    for (struct fs_lock_owner *owner = owner_list_locked(owners, nodeid); owner;
         owner = owner->next)
        if (owner_holds(owner, held))
            return owner->pid;
    return 0;
}

uint32_t fs_lock_owners_count(struct fs_lock_owners *owners)
{
    return __atomic_load_n(&owners->n_owners, __ATOMIC_RELAXED);
}
