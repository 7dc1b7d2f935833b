/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File handles in the records of inodes; the few that are too long there, in a table of their own;
 * and the mounts.
 *
 * Any thread. The lock guards the mounts; no system call is made under it but close.
 */
#include "virtiofsd/handle-store.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/fs-kind.h"
#include "virtiofsd/state-table.h"

struct store_long {
    struct fs_record record;
    uint32_t len;
    uint8_t bytes[MAX_HANDLE_SZ];
    uint32_t padding; /* to a multiple of 8 */
};

struct store_mount {
    int fd;          /* a directory, open for reading: O_PATH does not do */
    uint32_t n_refs; /* inodes remembered */
};

struct fs_handle_store {
    struct fs_state_table *longs;
    uint32_t max_mounts;
    pthread_mutex_t lock;
    GHashTable *mounts; /* lock; by mount id: struct store_mount */
};

static void store_mount_free(void *opaque)
{
    struct store_mount *mount = opaque;

    close(mount->fd);
    g_free(mount);
}

int fs_handle_store_create(uint32_t max_long, uint32_t max_mounts,
                           struct fs_handle_store **ret_store)
{
    g_autofree struct fs_handle_store *store = g_new0(struct fs_handle_store, 1);
    int ret = fs_state_table_create("virtiofsd-handles-long", sizeof(struct store_long), max_long,
                                    NULL, NULL, &store->longs);

    if (ret < 0)
        return ret;
    store->max_mounts = max_mounts;
    store->mounts = g_hash_table_new_full(NULL, NULL, NULL, store_mount_free);
    pthread_mutex_init(&store->lock, NULL);
    *ret_store = g_steal_pointer(&store);
    return 0;
}

void fs_handle_store_destroy(struct fs_handle_store *store)
{
    if (!store)
        return;
    fs_state_table_destroy(store->longs);
    g_hash_table_destroy(store->mounts);
    pthread_mutex_destroy(&store->lock);
    g_free(store);
}

static struct store_mount *store_mount_locked(struct fs_handle_store *store, uint32_t mount_id)
{
    return g_hash_table_lookup(store->mounts, GUINT_TO_POINTER(mount_id));
}

static bool store_is_kept(struct fs_handle_store *store, const struct fs_stored_handle *stored)
{
    VU_LOCK_SCOPE(&store->lock);

    return stored->len > 0;
}

/* Counts another inode of a mount; false where that is not open. */
static bool store_ref_mount(struct fs_handle_store *store, uint32_t mount_id)
{
    VU_LOCK_SCOPE(&store->lock);
    struct store_mount *mount = store_mount_locked(store, mount_id);

    if (mount)
        mount->n_refs++;
    return mount != NULL;
}

/* The same where fd is a directory of that mount, which is opened for it. */
static int store_open_mount(struct fs_handle_store *store, uint32_t mount_id, int fd)
{
    vu_autofd int opened = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct store_mount *mount;

    if (opened < 0)
        return errno == ENOTDIR ? -EOPNOTSUPP : -errno;
    if (fs_kind_is_forgetful(opened))
        return -EOPNOTSUPP;
    VU_LOCK_SCOPE(&store->lock);
    mount = store_mount_locked(store, mount_id);
    if (!mount && g_hash_table_size(store->mounts) >= store->max_mounts)
        return -ENFILE;
    if (!mount) {
        mount = g_new0(struct store_mount, 1);
        mount->fd = vu_steal_fd(&opened);
        g_hash_table_insert(store->mounts, GUINT_TO_POINTER(mount_id), mount);
    }
    mount->n_refs++;
    return 0;
}

static void store_unref_mount(struct fs_handle_store *store, uint32_t mount_id)
{
    VU_LOCK_SCOPE(&store->lock);

    if (--store_mount_locked(store, mount_id)->n_refs == 0)
        g_hash_table_remove(store->mounts, GUINT_TO_POINTER(mount_id));
}

/* The record of a long handle, which its inode holds. */
static struct store_long *store_long_of(struct fs_handle_store *store,
                                        const struct fs_stored_handle *stored)
{
    uint32_t slot;

    memcpy(&slot, stored->bytes, sizeof(slot));
    return (struct store_long *)fs_state_table_at(store->longs, slot);
}

/* The room for a handle of that length. NULL: the table is full. */
static uint8_t *store_room(struct fs_handle_store *store, uint32_t len,
                           struct fs_stored_handle *stored)
{
    struct store_long *record;
    uint32_t slot;

    if (len <= FS_STORED_HANDLE_ROOM) {
        stored->len = (uint8_t)len;
        return stored->bytes;
    }
    record = (struct store_long *)fs_state_table_alloc(store->longs);
    if (!record)
        return NULL;
    record->len = len;
    slot = fs_state_table_slot(store->longs, &record->record);
    fs_state_table_publish(&record->record);
    fs_state_table_put(store->longs, &record->record);
    memcpy(stored->bytes, &slot, sizeof(slot));
    stored->len = FS_STORED_HANDLE_LONG;
    return record->bytes;
}

static const uint8_t *store_bytes(struct fs_handle_store *store,
                                  const struct fs_stored_handle *stored, uint32_t *ret_len)
{
    const struct store_long *record;

    if (stored->len != FS_STORED_HANDLE_LONG) {
        *ret_len = stored->len;
        return stored->bytes;
    }
    record = store_long_of(store, stored);
    *ret_len = record->len;
    return record->bytes;
}

/* False where another thread was quicker. */
static bool store_publish(struct fs_handle_store *store, const struct fs_stored_handle *made,
                          struct fs_stored_handle *stored)
{
    VU_LOCK_SCOPE(&store->lock);

    if (stored->len > 0)
        return false;
    stored->type = made->type;
    memcpy(stored->bytes, made->bytes, sizeof(stored->bytes));
    /* Last: to a successor it is there, or not, at whatever moment we are killed. */
    __atomic_store_n(&stored->len, made->len, __ATOMIC_RELEASE);
    return true;
}

int fs_handle_store_keep(struct fs_handle_store *store, int fd, uint32_t mount_id,
                         struct fs_stored_handle *stored)
{
    union fs_file_handle handle;
    struct fs_stored_handle made = {0};
    uint8_t *bytes;
    int ret;

    if (store_is_kept(store, stored))
        return 0;
    ret = fs_file_handle_get(fd, "", &handle);
    if (ret < 0)
        return ret;
    if (handle.head.handle_type < 0 || handle.head.handle_type > UINT8_MAX ||
        handle.head.handle_bytes == 0)
        return -EOPNOTSUPP;
    if (!store_ref_mount(store, mount_id))
        ret = store_open_mount(store, mount_id, fd);
    if (ret < 0)
        return ret;
    bytes = store_room(store, handle.head.handle_bytes, &made);
    if (!bytes) {
        store_unref_mount(store, mount_id);
        return -ENFILE;
    }
    memcpy(bytes, handle.head.f_handle, handle.head.handle_bytes);
    made.type = (uint8_t)handle.head.handle_type;
    if (!store_publish(store, &made, stored))
        fs_handle_store_drop(store, mount_id, &made);
    return 0;
}

void fs_handle_store_adopt(struct fs_handle_store *store, uint32_t mount_id)
{
    bool is_open = store_ref_mount(store, mount_id);

    g_assert(is_open);
}

int fs_handle_store_open(struct fs_handle_store *store, uint32_t mount_id,
                         const struct fs_stored_handle *stored)
{
    union fs_file_handle handle;
    const uint8_t *bytes = store_bytes(store, stored, &handle.head.handle_bytes);
    int mount_fd;

    if (stored->len == 0)
        return -ESTALE;
    handle.head.handle_type = stored->type;
    memcpy(handle.head.f_handle, bytes, handle.head.handle_bytes);
    {
        VU_LOCK_SCOPE(&store->lock);

        mount_fd = store_mount_locked(store, mount_id)->fd; /* this inode keeps it open */
    }
    return fs_file_handle_open(mount_fd, &handle);
}

bool fs_handle_store_equal(struct fs_handle_store *store, const struct fs_stored_handle *stored,
                           const union fs_file_handle *handle)
{
    uint32_t len;
    const uint8_t *bytes = store_bytes(store, stored, &len);

    return handle->head.handle_type == stored->type && handle->head.handle_bytes == len &&
           memcmp(handle->head.f_handle, bytes, len) == 0;
}

void fs_handle_store_drop(struct fs_handle_store *store, uint32_t mount_id,
                          struct fs_stored_handle *stored)
{
    if (stored->len == 0)
        return;
    if (stored->len == FS_STORED_HANDLE_LONG)
        fs_state_table_retire(store->longs, &store_long_of(store, stored)->record);
    store_unref_mount(store, mount_id);
    stored->len = 0;
}

uint32_t fs_handle_store_n_mounts(struct fs_handle_store *store)
{
    VU_LOCK_SCOPE(&store->lock);

    return g_hash_table_size(store->mounts);
}

size_t fs_handle_store_bytes(const struct fs_handle_store *store)
{
    return sizeof(*store) + fs_state_table_bytes(store->longs);
}
