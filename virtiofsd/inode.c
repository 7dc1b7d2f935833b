/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes: a state table for finding them by nodeid, a hash for finding them by identity, a cache of
 * their descriptors and a store of their handles.
 *
 * Invariant, under a shard's lock: an inode is in its chain exactly while it is past, or known with
 * an n_lookup above 0 (the root always); whoever takes n_lookup to 0 makes it past, or unlinks it
 * and retires its record. What is past was remembered, and is found by identity and by
 * fs_inode_recall alone.
 *
 * An inode number belongs to one inode only while that lives, which a descriptor sees to. A known
 * inode without one may be long gone and its number another's: only the handle tells. One that is
 * found out is stale: the guest may name it, and is told ESTALE, but no lookup finds it.
 *
 * Any thread. Lock order: shard, then those of past, state table and descriptor cache.
 */
#include "virtiofsd/inode.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/fuse.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/inode-hash.h"
#include "virtiofsd/inode-past.h"

struct fs_inodes {
    struct fs_state_table *table;
    struct fs_inode_hash hash;
    struct fs_fd_cache *cache;
    struct fs_handle_store *store; /* NULL: each keeps its descriptor */
    struct fs_inode_past past;
    bool always;           /* limits.always */
    struct fs_inode *root; /* pinned, so that it keeps its descriptor */
};

static struct fs_inode *inode_of(struct fs_record *record)
{
    return (struct fs_inode *)record;
}

static void inode_identity(const struct statx *stx, struct fs_inode *ret_key)
{
    ret_key->dev = fs_inode_dev(stx->stx_dev_major, stx->stx_dev_minor);
    ret_key->ino = stx->stx_ino;
    ret_key->mount_id = stx->stx_mask & STATX_MNT_ID ? (uint32_t)stx->stx_mnt_id : 0;
    ret_key->type = (uint8_t)(stx->stx_mode >> 12);
}

bool fs_inode_is(const struct fs_inode *inode, const struct statx *stx)
{
    struct fs_inode key;

    inode_identity(stx, &key);
    return key.ino == inode->ino && key.dev == inode->dev && key.mount_id == inode->mount_id &&
           key.type == inode->type;
}

void fs_inode_identify_sibling(const struct fs_inode *inode, uint64_t ino, uint32_t mode,
                               struct statx *ret_stx)
{
    *ret_stx = (struct statx){
        .stx_mask = STATX_MNT_ID,
        .stx_mode = (uint16_t)mode,
        .stx_ino = ino,
        .stx_dev_major = inode->dev >> 20,
        .stx_dev_minor = inode->dev & ((1u << 20) - 1),
        .stx_mnt_id = inode->mount_id,
    };
}

/* --- between descriptors and handles --- */

static int inode_remember(void *opaque, struct fs_fd_record *record, int fd)
{
    struct fs_inode *inode = (struct fs_inode *)record;

    return fs_handle_store_keep(((struct fs_inodes *)opaque)->store, fd, inode->mount_id,
                                &inode->handle);
}

/* Beside the generation in the handle, where a file system has one: what is opened must look like
 * what was closed. Its type above all, which decides what may be done with it. */
static int inode_reopen(void *opaque, struct fs_fd_record *record)
{
    const struct fs_inode *inode = (struct fs_inode *)record;
    vu_autofd int fd =
        fs_handle_store_open(((struct fs_inodes *)opaque)->store, inode->mount_id, &inode->handle);
    struct statx stx;

    if (fd < 0)
        return fd;
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO | STATX_MNT_ID,
              &stx) < 0)
        return -errno;
    return fs_inode_is(inode, &stx) ? vu_steal_fd(&fd) : -ESTALE;
}

static const struct fs_fd_cache_ops inode_cache_ops = {
    .remember = inode_remember,
    .reopen = inode_reopen,
};

int fs_inode_fd(struct fs_inodes *inodes, struct fs_inode *inode)
{
    return fs_fd_cache_get(inodes->cache, &inode->fd);
}

void fs_inode_enter_mount(struct fs_inodes *inodes, struct fs_inode *inode)
{
    int fd = inodes->store ? fs_inode_fd(inodes, inode) : -1;

    if (fd >= 0)
        (void)inode_remember(inodes, &inode->fd, fd);
}

static void inode_release(void *opaque, struct fs_record *record, uint32_t slot)
{
    struct fs_inodes *inodes = opaque;
    struct fs_inode *inode = inode_of(record);

    fs_fd_cache_drop(inodes->cache, &inode->fd);
    if (inodes->store)
        fs_handle_store_drop(inodes->store, inode->mount_id, &inode->handle);
}

/* --- all of them --- */

static int inodes_init(struct fs_inodes *inodes, const struct fs_inodes_limits *limits)
{
    int ret = fs_state_table_create("virtiofsd-inodes", sizeof(struct fs_inode), limits->n_inodes,
                                    inode_release, inodes, &inodes->table);

    if (ret == 0 && limits->by_handle)
        ret = fs_handle_store_create(limits->n_inodes, limits->n_mounts, &inodes->store);
    if (ret < 0) {
        fs_state_table_destroy(inodes->table);
        return ret;
    }
    inodes->cache = fs_fd_cache_create(inodes->table, &limits->fds,
                                       inodes->store ? &inode_cache_ops : NULL, inodes);
    fs_inode_hash_init(&inodes->hash, inodes->table);
    fs_inode_past_init(&inodes->past, inodes->table, inodes->store ? limits->max_past : 0);
    return 0;
}

int fs_inodes_create(int root_fd, const struct fs_inodes_limits *limits,
                     struct fs_inodes **ret_inodes)
{
    g_autofree struct fs_inodes *inodes = g_new0(struct fs_inodes, 1);
    vu_autofd int fd = root_fd;
    struct statx stx;
    int ret;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &stx) < 0)
        return -errno;
    ret = inodes_init(inodes, limits);
    if (ret < 0)
        return ret;
    ret = fs_inode_find_or_add(inodes, &stx, &fd, 1, &inodes->root);
    g_assert(ret == 0 && fs_inode_nodeid(inodes, inodes->root) == FUSE_ROOT_ID);
    fs_inode_enter_mount(inodes, inodes->root);
    inodes->always = limits->always;
    fs_state_table_scatter(inodes->table);
    *ret_inodes = g_steal_pointer(&inodes);
    return 0;
}

void fs_inodes_destroy(struct fs_inodes *inodes)
{
    if (!inodes)
        return;
    fs_inodes_forget_all(inodes);
    fs_state_table_retire(inodes->table, &inodes->root->fd.record);
    fs_inode_put(inodes, inodes->root);
    fs_inode_past_clear(&inodes->past);
    fs_inode_hash_clear(&inodes->hash);
    fs_fd_cache_destroy(inodes->cache);
    fs_handle_store_destroy(inodes->store);
    fs_state_table_destroy(inodes->table);
    g_free(inodes);
}

static enum fs_inode_standing inode_standing(const struct fs_inode *inode)
{
    return (enum fs_inode_standing)__atomic_load_n(&inode->standing, __ATOMIC_RELAXED);
}

struct fs_inode *fs_inode_get(struct fs_inodes *inodes, uint64_t nodeid)
{
    struct fs_record *record = fs_state_table_get(inodes->table, nodeid);

    if (!record)
        return NULL;
    if (inodes->past.max > 0 && inode_standing(inode_of(record)) == FS_INODE_PAST) {
        fs_inode_put(inodes, inode_of(record));
        return NULL;
    }
    return inode_of(record);
}

int fs_inode_get_fd(struct fs_inodes *inodes, uint64_t nodeid, struct fs_inode **ret_inode)
{
    struct fs_inode *inode = fs_inode_get(inodes, nodeid);
    int fd;

    if (!inode)
        return -ESTALE;
    fd = fs_inode_fd(inodes, inode);
    if (fd < 0)
        fs_inode_put(inodes, inode);
    else
        *ret_inode = inode;
    return fd;
}

/*
 * Behind a put: what is past has no descriptor longer than somebody uses it, so that the host gets
 * the space of a removed file back. While we look nobody else can, so that we look again where
 * somebody came and went meanwhile.
 */
static void inode_close_past(struct fs_inodes *inodes, struct fs_inode *inode)
{
    bool done = false;

    while (!done && fs_state_table_pin_if_idle(&inode->fd.record)) {
        done =
            inode_standing(inode) != FS_INODE_PAST || fs_fd_cache_close(inodes->cache, &inode->fd);
        fs_state_table_put(inodes->table, &inode->fd.record);
    }
}

void fs_inode_put(struct fs_inodes *inodes, struct fs_inode *inode)
{
    fs_state_table_put(inodes->table, &inode->fd.record);
    if (inodes->past.max > 0)
        inode_close_past(inodes, inode);
}

void fs_inode_put_by_id(struct fs_inodes *inodes, uint64_t nodeid)
{
    fs_inode_put(inodes, inode_of(fs_state_table_at(inodes->table, (uint32_t)nodeid)));
}

/* --- those the guest has forgotten --- */

static void inode_set_standing(struct fs_inode *inode, enum fs_inode_standing standing)
{
    __atomic_store_n(&inode->standing, (uint8_t)standing, __ATOMIC_RELAXED);
}

/* The guest names a pinned one again, and is to have n lookups of it. */
static void inode_revive_locked(struct fs_inodes *inodes, struct fs_inode *inode, uint64_t n)
{
    fs_inode_past_remove(&inodes->past, inode);
    inode->n_lookup = n;
    inode_set_standing(inode, FS_INODE_KNOWN);
}

/* For a pinned one. It stays where it is past no more. */
static void inode_give_up_locked(struct fs_inodes *inodes, struct fs_inode_shard *shard,
                                 struct fs_inode *inode)
{
    if (inode_standing(inode) != FS_INODE_PAST)
        return;
    fs_inode_past_remove(&inodes->past, inode);
    inode->n_lookup = 0;
    fs_inode_hash_remove_locked(&inodes->hash, shard, inode);
    /* Standing last: until it is retired no request may take it for a known one. */
    fs_state_table_retire(inodes->table, &inode->fd.record);
    inode_set_standing(inode, FS_INODE_STALE);
}

static void inode_give_up(struct fs_inodes *inodes, struct fs_inode *inode)
{
    struct fs_inode_shard *shard = fs_inode_hash_shard(&inodes->hash, inode);
    VU_LOCK_SCOPE(&shard->lock);

    inode_give_up_locked(inodes, shard, inode);
}

/* Makes room. False where there is nothing to give up; no lock is held. */
static bool inode_give_up_oldest(struct fs_inodes *inodes)
{
    struct fs_inode *inode =
        fs_inode_past_count(&inodes->past) > 0 ? fs_inode_past_pin_oldest(&inodes->past) : NULL;

    if (!inode)
        return false;
    inode_give_up(inodes, inode);
    fs_inode_put(inodes, inode);
    return true;
}

/* Whether a pinned one that is being forgotten can be remembered. */
static bool inode_may_be_past(struct fs_inodes *inodes, struct fs_inode *inode)
{
    if (inodes->past.max == 0)
        return false;
    /* Without a descriptor it is remembered already. */
    return !fs_fd_cache_has(&inode->fd) ||
           inode_remember(inodes, &inode->fd, fs_inode_fd(inodes, inode)) == 0;
}

int fs_inode_recall(struct fs_inodes *inodes, uint64_t nodeid, struct fs_inode **ret_inode)
{
    struct fs_record *record = fs_state_table_get(inodes->table, nodeid);
    struct fs_inode *inode = record ? inode_of(record) : NULL;
    int fd;

    if (!inode)
        return -ESTALE;
    if (inode_standing(inode) == FS_INODE_PAST) {
        fd = fs_inode_fd(inodes, inode);
        if (fd == -ESTALE)
            inode_give_up(inodes, inode);
        if (fd < 0) {
            fs_inode_put(inodes, inode);
            return fd;
        }
    }
    *ret_inode = inode;
    return 0;
}

/* --- by identity --- */

/* Whether an inode of the right identity, pinned, is the one that was looked up. */
static bool inode_is_proven(struct fs_inodes *inodes, const struct fs_inode *inode,
                            const union fs_file_handle *handle)
{
    if (fs_fd_cache_has(&inode->fd))
        return true;
    return handle && fs_handle_store_equal(inodes->store, &inode->handle, handle);
}

/* Pinned and counted, or NULL; then *ret_doubtful (not pinned) has the identity, and no proof. */
static struct fs_inode *inode_find_locked(struct fs_inodes *inodes, struct fs_inode_shard *shard,
                                          const struct fs_inode *key,
                                          const union fs_file_handle *handle, uint64_t n_lookups,
                                          struct fs_inode **ret_doubtful)
{
    struct fs_inode *inode = fs_inode_hash_find_locked(&inodes->hash, shard, key);

    *ret_doubtful = NULL;
    if (!inode)
        return NULL;
    /* First the pin: what has a descriptor then keeps it. In its chain it is live, so that this
     * pin is never the last. */
    fs_state_table_pin(&inode->fd.record);
    if (inode_is_proven(inodes, inode, handle)) {
        if (inode_standing(inode) != FS_INODE_PAST)
            inode->n_lookup += n_lookups;
        else if (n_lookups > 0)
            inode_revive_locked(inodes, inode, n_lookups);
        return inode;
    }
    fs_state_table_put(inodes->table, &inode->fd.record);
    *ret_doubtful = inode;
    return NULL;
}

/* What is not what was looked up, although it has the identity, is found no more. */
static void inode_disown_locked(struct fs_inodes *inodes, struct fs_inode_shard *shard,
                                struct fs_inode *inode)
{
    if (inode_standing(inode) == FS_INODE_PAST) {
        inode_give_up_locked(inodes, shard, inode);
        return;
    }
    inode_set_standing(inode, FS_INODE_STALE);
    fs_inode_hash_remove_locked(&inodes->hash, shard, inode);
}

struct fs_inode *fs_inode_find(struct fs_inodes *inodes, const struct statx *stx,
                               const union fs_file_handle *handle, uint64_t n_lookups,
                               bool *ret_doubtful)
{
    struct fs_inode key, *inode, *doubtful;
    struct fs_inode_shard *shard;

    inode_identity(stx, &key);
    shard = fs_inode_hash_shard(&inodes->hash, &key);
    VU_LOCK_SCOPE(&shard->lock);
    inode = inode_find_locked(inodes, shard, &key, handle, n_lookups, &doubtful);
    *ret_doubtful = doubtful && !handle;
    return inode;
}

/* Takes over *fd. NULL when the table is full. */
static struct fs_inode *inode_add_locked(struct fs_inodes *inodes, struct fs_inode_shard *shard,
                                         const struct fs_inode *key, int *fd, uint64_t n_lookups)
{
    struct fs_record *record = fs_state_table_alloc(inodes->table);
    struct fs_inode *inode;

    if (!record)
        return NULL;
    inode = inode_of(record);
    inode->dev = key->dev;
    inode->ino = key->ino;
    inode->mount_id = key->mount_id;
    inode->type = key->type;
    inode->n_lookup = n_lookups;
    fs_fd_cache_add(inodes->cache, &inode->fd, fd);
    fs_inode_hash_add_locked(&inodes->hash, shard, inode);
    fs_state_table_publish(record);
    return inode;
}

/* -EAGAIN where the handle of *fd is needed. Takes over *fd for a new one. */
static int inode_find_or_add_once(struct fs_inodes *inodes, const struct fs_inode *key, int *fd,
                                  const union fs_file_handle *handle, bool has_room,
                                  uint64_t n_lookups, struct fs_inode **ret_inode)
{
    struct fs_inode_shard *shard = fs_inode_hash_shard(&inodes->hash, key);
    struct fs_inode *inode, *doubtful;
    VU_LOCK_SCOPE(&shard->lock);

    inode = inode_find_locked(inodes, shard, key, handle, n_lookups, &doubtful);
    if (doubtful && !handle)
        return -EAGAIN;
    if (doubtful)
        inode_disown_locked(inodes, shard, doubtful);
    if (!inode && has_room)
        inode = inode_add_locked(inodes, shard, key, fd, n_lookups);
    if (!inode)
        return -ENFILE;
    *ret_inode = inode;
    return 0;
}

/* What a new inode has to meet, and what a known one gains from a lookup: *fd, if it has none. */
static int inode_settle(struct fs_inodes *inodes, struct fs_inode *inode, int *fd)
{
    bool is_new = *fd < 0;

    if (is_new && inodes->always)
        return inode_remember(inodes, &inode->fd, fs_inode_fd(inodes, inode));
    if (!is_new && inodes->store)
        fs_fd_cache_offer(inodes->cache, &inode->fd, fd);
    return 0;
}

int fs_inode_find_or_add(struct fs_inodes *inodes, const struct statx *stx, int *fd,
                         uint64_t n_lookups, struct fs_inode **ret_inode)
{
    bool has_room = fs_fd_cache_make_room(inodes->cache) == 0;
    union fs_file_handle handle;
    struct fs_inode key, *inode;
    int ret;

    inode_identity(stx, &key);
    do {
        ret = inode_find_or_add_once(inodes, &key, fd, NULL, has_room, n_lookups, &inode);
        if (ret == -EAGAIN) {
            ret = fs_file_handle_get(*fd, "", &handle);
            if (ret == 0)
                ret =
                    inode_find_or_add_once(inodes, &key, fd, &handle, has_room, n_lookups, &inode);
        }
    } while (ret == -ENFILE && has_room && inode_give_up_oldest(inodes));
    if (ret < 0)
        return ret;
    ret = inode_settle(inodes, inode, fd);
    if (ret < 0) {
        fs_inode_forget(inodes, fs_inode_nodeid(inodes, inode), n_lookups);
        fs_inode_put(inodes, inode);
        return ret;
    }
    *ret_inode = inode;
    return 0;
}

/* Takes n_lookups from a pinned inode that is not the root; with the last one it is past, where it
 * may be, or retired. */
static void inode_drop_lookups(struct fs_inodes *inodes, struct fs_inode *inode, uint64_t n_lookups,
                               bool may_be_past)
{
    struct fs_inode_shard *shard = fs_inode_hash_shard(&inodes->hash, inode);
    enum fs_inode_standing standing;
    VU_LOCK_SCOPE(&shard->lock);

    standing = inode_standing(inode);
    if (standing == FS_INODE_PAST || inode->n_lookup == 0)
        return; /* another FORGET was quicker */
    inode->n_lookup -= MIN(n_lookups, inode->n_lookup);
    if (inode->n_lookup > 0)
        return;
    if (standing == FS_INODE_KNOWN && may_be_past) {
        inode_set_standing(inode, FS_INODE_PAST);
        fs_inode_past_add(&inodes->past, inode);
        return;
    }
    if (standing == FS_INODE_KNOWN)
        fs_inode_hash_remove_locked(&inodes->hash, shard, inode);
    /* The caller's pin keeps the record, so nothing is closed under the lock. */
    fs_state_table_retire(inodes->table, &inode->fd.record);
}

void fs_inode_forget(struct fs_inodes *inodes, uint64_t nodeid, uint64_t n_lookups)
{
    struct fs_inode *inode = fs_inode_get(inodes, nodeid);

    if (!inode)
        return;
    if (inode != inodes->root)
        inode_drop_lookups(inodes, inode, n_lookups, inode_may_be_past(inodes, inode));
    fs_inode_put(inodes, inode);
    while (fs_inode_past_count(&inodes->past) > inodes->past.max)
        if (!inode_give_up_oldest(inodes))
            break;
}

void fs_inodes_forget_all(struct fs_inodes *inodes)
{
    struct fs_record *record;
    uint32_t slot = FUSE_ROOT_ID;

    while ((record = fs_state_table_next(inodes->table, slot))) {
        slot = fs_state_table_slot(inodes->table, record);
        inode_drop_lookups(inodes, inode_of(record), UINT64_MAX, false);
        inode_give_up(inodes, inode_of(record));
        fs_inode_put(inodes, inode_of(record));
    }
}

uint64_t fs_inode_nodeid(const struct fs_inodes *inodes, const struct fs_inode *inode)
{
    return fs_state_table_id(inodes->table, &inode->fd.record);
}

uint64_t fs_inode_generation(const struct fs_inode *inode)
{
    return inode->fd.record.generation;
}

bool fs_inodes_are_full(struct fs_inodes *inodes)
{
    while (fs_state_table_is_full(inodes->table))
        if (!inode_give_up_oldest(inodes))
            return true;
    return fs_fd_cache_make_room(inodes->cache) < 0;
}

bool fs_inodes_are_crowded(const struct fs_inodes *inodes)
{
    return fs_state_table_is_crowded(inodes->table, fs_inode_past_count(&inodes->past));
}

bool fs_inodes_are_by_handle(const struct fs_inodes *inodes)
{
    return inodes->store != NULL;
}

uint32_t fs_inodes_count(const struct fs_inodes *inodes)
{
    return fs_state_table_n_live(inodes->table);
}

void fs_inodes_get_usage(struct fs_inodes *inodes, struct fs_inodes_usage *ret_usage)
{
    struct fs_inodes_usage usage = {
        .n_inodes = fs_inodes_count(inodes),
        .n_past = fs_inode_past_count(&inodes->past),
        .n_fds = inodes->store ? fs_fd_cache_count(inodes->cache) : fs_inodes_count(inodes),
        .n_mounts = inodes->store ? fs_handle_store_n_mounts(inodes->store) : 0,
        .bytes = sizeof(*inodes) + fs_state_table_bytes(inodes->table) +
                 fs_inode_hash_bytes(&inodes->hash),
    };

    if (inodes->store)
        usage.bytes += fs_handle_store_bytes(inodes->store) + usage.n_fds * sizeof(uint32_t);
    *ret_usage = usage;
}
