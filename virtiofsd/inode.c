/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes: a state table for finding them by nodeid, and a hash over (device, inode number, mount)
 * for finding them by identity. The hash is cut into shards, each with its lock and its own array
 * of buckets that doubles as it fills; chains run through fs_record.next.
 *
 * Invariant, under a shard's lock: an inode is in its chain exactly while its n_lookup is above 0
 * (the root always); whoever takes n_lookup to 0 unlinks it and retires its record.
 *
 * Any thread. Lock order: shard, then state table.
 */
#include "virtiofsd/inode.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/fuse.h>
#include <sys/sysmacros.h>

#include "vhost-user/cleanup.h"

#define INODE_N_SHARDS      16
#define INODE_FIRST_BUCKETS 64

struct inode_shard {
    pthread_mutex_t lock;
    uint32_t *buckets;  /* slots of the state table, 0: empty */
    uint32_t n_buckets; /* a power of two */
    uint32_t n_inodes;
};

struct fs_inodes {
    struct inode_shard shards[INODE_N_SHARDS];
    struct fs_state_table *table;
};

static struct fs_inode *inode_of(struct fs_record *record)
{
    return (struct fs_inode *)record;
}

static uint64_t inode_hash(uint64_t dev, uint64_t ino, uint64_t mount_id)
{
    uint64_t hash = (ino + mount_id * 0x9e3779b97f4a7c15u) ^ dev << 32;

    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
    hash = (hash ^ hash >> 29) * 0xc4ceb9fe1a85ec53u;
    return hash ^ hash >> 32;
}

static uint64_t inode_hash_of(const struct fs_inode *inode)
{
    return inode_hash(inode->dev, inode->ino, inode->mount_id);
}

/* High bits choose the shard, low ones the bucket. */
static struct inode_shard *inode_shard(struct fs_inodes *inodes, uint64_t hash)
{
    return &inodes->shards[hash >> 60 & (INODE_N_SHARDS - 1)];
}

static uint32_t *inode_bucket(struct inode_shard *shard, uint64_t hash)
{
    return &shard->buckets[hash & (shard->n_buckets - 1)];
}

static void inode_identity(const struct statx *stx, struct fs_inode *ret_key)
{
    ret_key->dev = makedev(stx->stx_dev_major, stx->stx_dev_minor);
    ret_key->ino = stx->stx_ino;
    ret_key->mount_id = stx->stx_mask & STATX_MNT_ID ? stx->stx_mnt_id : 0;
    ret_key->mode_type = stx->stx_mode & S_IFMT;
}

static bool inode_is_root(const struct fs_inodes *inodes, const struct fs_inode *inode)
{
    return fs_state_table_slot(inodes->table, &inode->record) == FUSE_ROOT_ID;
}

static void inode_link_locked(struct fs_inodes *inodes, struct inode_shard *shard,
                              struct fs_inode *inode)
{
    uint32_t *bucket = inode_bucket(shard, inode_hash_of(inode));

    inode->record.next = *bucket;
    *bucket = fs_state_table_slot(inodes->table, &inode->record);
}

static void inode_unlink_locked(struct fs_inodes *inodes, struct inode_shard *shard,
                                struct fs_inode *inode)
{
    uint32_t slot = fs_state_table_slot(inodes->table, &inode->record);
    uint32_t *link = inode_bucket(shard, inode_hash_of(inode));

    while (*link != slot)
        link = &fs_state_table_at(inodes->table, *link)->next;
    *link = inode->record.next;
}

/* Twice the buckets, or half of them; where there is no memory for it the chains just get longer.
 */
static void inode_resize_locked(struct fs_inodes *inodes, struct inode_shard *shard,
                                uint32_t n_buckets)
{
    uint32_t *old = shard->buckets, n_old = shard->n_buckets;
    uint32_t *buckets = g_try_new0(uint32_t, n_buckets);

    if (!buckets)
        return;
    shard->buckets = buckets;
    shard->n_buckets = n_buckets;
    for (uint32_t i = 0; i < n_old; i++) {
        uint32_t slot = old[i];

        while (slot) {
            struct fs_inode *inode = inode_of(fs_state_table_at(inodes->table, slot));

            slot = inode->record.next;
            inode_link_locked(inodes, shard, inode);
        }
    }
    g_free(old);
}

static struct fs_inode *inode_find_locked(struct fs_inodes *inodes, struct inode_shard *shard,
                                          const struct fs_inode *key, uint64_t n_lookups)
{
    uint32_t slot = *inode_bucket(shard, inode_hash_of(key));

    while (slot) {
        struct fs_inode *inode = inode_of(fs_state_table_at(inodes->table, slot));

        if (inode->ino == key->ino && inode->dev == key->dev && inode->mount_id == key->mount_id &&
            inode->mode_type == key->mode_type) {
            inode->n_lookup += n_lookups;
            fs_state_table_pin(&inode->record);
            return inode;
        }
        slot = inode->record.next;
    }
    return NULL;
}

/* Takes over *fd. NULL when the table is full. */
static struct fs_inode *inode_add_locked(struct fs_inodes *inodes, struct inode_shard *shard,
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
    inode->mode_type = key->mode_type;
    inode->n_lookup = n_lookups;
    inode->fd = vu_steal_fd(fd);
    if (++shard->n_inodes > shard->n_buckets)
        inode_resize_locked(inodes, shard, shard->n_buckets * 2);
    inode_link_locked(inodes, shard, inode);
    fs_state_table_publish(record);
    return inode;
}

static void inode_release(void *opaque, struct fs_record *record, uint32_t slot)
{
    close(inode_of(record)->fd);
}

int fs_inodes_create(int root_fd, uint32_t max_inodes, struct fs_inodes **ret_inodes)
{
    g_autofree struct fs_inodes *inodes = g_new0(struct fs_inodes, 1);
    vu_autofd int fd = root_fd;
    struct fs_inode *root;
    struct statx stx;
    int ret;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &stx) < 0)
        return -errno;
    ret = fs_state_table_create("virtiofsd-inodes", sizeof(struct fs_inode), max_inodes,
                                inode_release, inodes, &inodes->table);
    if (ret < 0)
        return ret;
    for (unsigned i = 0; i < INODE_N_SHARDS; i++) {
        struct inode_shard *shard = &inodes->shards[i];

        pthread_mutex_init(&shard->lock, NULL);
        shard->n_buckets = INODE_FIRST_BUCKETS;
        shard->buckets = g_new0(uint32_t, shard->n_buckets);
    }
    ret = fs_inode_find_or_add(inodes, &stx, &fd, 1, &root);
    g_assert(ret == 0 && fs_inode_nodeid(inodes, root) == FUSE_ROOT_ID);
    fs_inode_put(inodes, root);
    fs_state_table_scatter(inodes->table);
    *ret_inodes = g_steal_pointer(&inodes);
    return 0;
}

void fs_inodes_destroy(struct fs_inodes *inodes)
{
    struct fs_inode *root;

    if (!inodes)
        return;
    fs_inodes_forget_all(inodes);
    root = fs_inode_get(inodes, FUSE_ROOT_ID);
    fs_state_table_retire(inodes->table, &root->record);
    fs_inode_put(inodes, root);
    fs_state_table_destroy(inodes->table);
    for (unsigned i = 0; i < INODE_N_SHARDS; i++) {
        pthread_mutex_destroy(&inodes->shards[i].lock);
        g_free(inodes->shards[i].buckets);
    }
    g_free(inodes);
}

struct fs_inode *fs_inode_get(struct fs_inodes *inodes, uint64_t nodeid)
{
    struct fs_record *record = fs_state_table_get(inodes->table, nodeid);

    return record ? inode_of(record) : NULL;
}

void fs_inode_put(struct fs_inodes *inodes, struct fs_inode *inode)
{
    fs_state_table_put(inodes->table, &inode->record);
}

struct fs_inode *fs_inode_find(struct fs_inodes *inodes, const struct statx *stx,
                               uint64_t n_lookups)
{
    struct inode_shard *shard;
    struct fs_inode key;

    inode_identity(stx, &key);
    shard = inode_shard(inodes, inode_hash_of(&key));
    VU_LOCK_SCOPE(&shard->lock);
    return inode_find_locked(inodes, shard, &key, n_lookups);
}

int fs_inode_find_or_add(struct fs_inodes *inodes, const struct statx *stx, int *fd,
                         uint64_t n_lookups, struct fs_inode **ret_inode)
{
    struct inode_shard *shard;
    struct fs_inode key, *inode;

    inode_identity(stx, &key);
    shard = inode_shard(inodes, inode_hash_of(&key));
    VU_LOCK_SCOPE(&shard->lock);
    inode = inode_find_locked(inodes, shard, &key, n_lookups);
    if (!inode)
        inode = inode_add_locked(inodes, shard, &key, fd, n_lookups);
    if (!inode)
        return -ENFILE;
    *ret_inode = inode;
    return 0;
}

/* Takes n_lookups from a pinned inode that is not the root; with the last one it is retired. */
static void inode_drop_lookups(struct fs_inodes *inodes, struct fs_inode *inode, uint64_t n_lookups)
{
    struct inode_shard *shard = inode_shard(inodes, inode_hash_of(inode));
    VU_LOCK_SCOPE(&shard->lock);

    if (inode->n_lookup == 0)
        return; /* another FORGET was quicker */
    inode->n_lookup -= MIN(n_lookups, inode->n_lookup);
    if (inode->n_lookup > 0)
        return;
    inode_unlink_locked(inodes, shard, inode);
    if (--shard->n_inodes < shard->n_buckets / 8 && shard->n_buckets > INODE_FIRST_BUCKETS)
        inode_resize_locked(inodes, shard, shard->n_buckets / 2);
    /* The caller's pin keeps the record, so nothing is closed under the lock. */
    fs_state_table_retire(inodes->table, &inode->record);
}

void fs_inode_forget(struct fs_inodes *inodes, uint64_t nodeid, uint64_t n_lookups)
{
    struct fs_inode *inode = fs_inode_get(inodes, nodeid);

    if (!inode)
        return;
    if (!inode_is_root(inodes, inode))
        inode_drop_lookups(inodes, inode, n_lookups);
    fs_inode_put(inodes, inode);
}

void fs_inodes_forget_all(struct fs_inodes *inodes)
{
    struct fs_record *record;
    uint32_t slot = FUSE_ROOT_ID;

    while ((record = fs_state_table_next(inodes->table, slot))) {
        slot = fs_state_table_slot(inodes->table, record);
        inode_drop_lookups(inodes, inode_of(record), UINT64_MAX);
        fs_inode_put(inodes, inode_of(record));
    }
}

uint64_t fs_inode_nodeid(const struct fs_inodes *inodes, const struct fs_inode *inode)
{
    return fs_state_table_id(inodes->table, &inode->record);
}

uint64_t fs_inode_generation(const struct fs_inode *inode)
{
    return inode->record.generation;
}

bool fs_inodes_are_full(const struct fs_inodes *inodes)
{
    return fs_state_table_is_full(inodes->table);
}

uint32_t fs_inodes_count(const struct fs_inodes *inodes)
{
    return fs_state_table_n_live(inodes->table);
}

size_t fs_inodes_bytes(const struct fs_inodes *inodes)
{
    size_t bytes = sizeof(*inodes) + fs_state_table_bytes(inodes->table);

    for (unsigned i = 0; i < INODE_N_SHARDS; i++)
        bytes += inodes->shards[i].n_buckets * sizeof(uint32_t);
    return bytes;
}
