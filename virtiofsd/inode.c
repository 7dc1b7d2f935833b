/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes by nodeid, and what they are held by: a descriptor of the cache, or a handle of the store.
 * Behind the last put of one that is past its descriptor is closed.
 *
 * Any thread. What holds between the parts is told in inode-set.h.
 */
#include "virtiofsd/inode-set.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/fuse.h>

#include "vhost-user/cleanup.h"

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

int fs_inode_remember(struct fs_inodes *inodes, struct fs_inode *inode)
{
    return inode_remember(inodes, &inode->fd, fs_inode_fd(inodes, inode));
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
    struct fs_inode *inode = fs_inode_of(record);

    fs_fd_cache_drop(inodes->cache, &inode->fd);
    if (inodes->store)
        fs_handle_store_drop(inodes->store, inode->mount_id, &inode->handle);
}

/* --- all of them --- */

static int inodes_make_table(struct fs_inodes *inodes, const struct fs_inodes_limits *limits)
{
    if (limits->place)
        return fs_state_table_create_at(limits->place, sizeof(struct fs_inode), limits->n_inodes,
                                        inode_release, inodes, &inodes->table);
    return fs_state_table_create("virtiofsd-inodes", sizeof(struct fs_inode), limits->n_inodes,
                                 inode_release, inodes, &inodes->table);
}

static int inodes_init(struct fs_inodes *inodes, const struct fs_inodes_limits *limits)
{
    int ret = inodes_make_table(inodes, limits);

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

static void inodes_clear(struct fs_inodes *inodes)
{
    fs_inode_past_clear(&inodes->past);
    fs_inode_hash_clear(&inodes->hash);
    fs_fd_cache_destroy(inodes->cache);
    fs_handle_store_destroy(inodes->store);
    fs_state_table_destroy(inodes->table);
}

/* The first of them. */
static void inodes_begin(struct fs_inodes *inodes, const struct statx *stx, int *fd)
{
    int ret = fs_inode_find_or_add(inodes, stx, fd, 1, &inodes->root);

    g_assert(ret == 0 && fs_inode_nodeid(inodes, inodes->root) == FUSE_ROOT_ID);
    fs_inode_enter_mount(inodes, inodes->root);
    fs_state_table_scatter(inodes->table);
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
    if (!limits->place || !limits->place->is_adopted)
        inodes_begin(inodes, &stx, &fd);
    else
        ret = fs_inodes_adopt(inodes, &stx, &fd);
    if (ret < 0) {
        inodes_clear(inodes);
        return ret;
    }
    inodes->always = limits->always;
    inodes->is_kept = limits->place != NULL;
    *ret_inodes = g_steal_pointer(&inodes);
    return 0;
}

int fs_inodes_leave(struct fs_inodes *inodes)
{
    return fs_state_table_leave(inodes->table);
}

void fs_inodes_destroy(struct fs_inodes *inodes)
{
    if (!inodes)
        return;
    fs_inodes_forget_all(inodes);
    fs_state_table_retire(inodes->table, &inodes->root->fd.record);
    fs_inode_put(inodes, inodes->root);
    inodes_clear(inodes);
    g_free(inodes);
}

struct fs_inode *fs_inode_get(struct fs_inodes *inodes, uint64_t nodeid)
{
    struct fs_record *record = fs_state_table_get(inodes->table, nodeid);

    if (!record)
        return NULL;
    if (inodes->past.max > 0 && fs_inode_get_standing(fs_inode_of(record)) == FS_INODE_PAST) {
        fs_inode_put(inodes, fs_inode_of(record));
        return NULL;
    }
    return fs_inode_of(record);
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
        done = fs_inode_get_standing(inode) != FS_INODE_PAST ||
               fs_fd_cache_close(inodes->cache, &inode->fd);
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
    fs_inode_put(inodes, fs_inode_of(fs_state_table_at(inodes->table, (uint32_t)nodeid)));
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
        if (!fs_inode_give_up_oldest(inodes))
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
        .n_reopens = inodes->store ? fs_fd_cache_count_reopens(inodes->cache) : 0,
        .n_fds = inodes->store ? fs_fd_cache_count(inodes->cache) : fs_inodes_count(inodes),
        .n_mounts = inodes->store ? fs_handle_store_n_mounts(inodes->store) : 0,
        .bytes = sizeof(*inodes) + fs_state_table_bytes(inodes->table) +
                 fs_inode_hash_bytes(&inodes->hash),
    };

    if (inodes->store)
        usage.bytes += fs_handle_store_bytes(inodes->store) + usage.n_fds * sizeof(uint32_t);
    *ret_usage = usage;
}
