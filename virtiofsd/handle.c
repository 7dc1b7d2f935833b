/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files and directories: a state table and a few striped locks. A handle's descriptor is
 * closed by the last put after its release, so a read on one thread never loses its file to a
 * RELEASE on another.
 *
 * Any thread.
 */
#include "virtiofsd/handle.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "vhost-user/cleanup.h"

#define HANDLE_N_LOCKS 64

struct fs_handles {
    struct fs_state_table *table;
    struct fs_inodes *inodes;              /* or NULL */
    pthread_mutex_t locks[HANDLE_N_LOCKS]; /* each of the handles whose slot falls on it */
};

static struct fs_handle *handle_of(struct fs_record *record)
{
    return (struct fs_handle *)record;
}

static void handle_release(void *opaque, struct fs_record *record, uint32_t slot)
{
    struct fs_handles *handles = opaque;
    struct fs_handle *handle = handle_of(record);

    if (handle->fd >= 0)
        close(handle->fd);
    if (handle->pins_inode)
        fs_inode_put_by_id(handles->inodes, handle->nodeid);
}

static struct fs_handles *handles_new(struct fs_inodes *inodes)
{
    struct fs_handles *handles = g_new0(struct fs_handles, 1);

    handles->inodes = inodes;
    for (unsigned i = 0; i < HANDLE_N_LOCKS; i++)
        pthread_mutex_init(&handles->locks[i], NULL);
    return handles;
}

static int handles_finish_create(struct fs_handles *handles, int ret,
                                 struct fs_handles **ret_handles)
{
    if (ret < 0)
        g_free(handles);
    else
        *ret_handles = handles;
    return ret;
}

int fs_handles_create(uint32_t max_handles, struct fs_inodes *inodes,
                      struct fs_handles **ret_handles)
{
    struct fs_handles *handles = handles_new(inodes);
    int ret = fs_state_table_create("virtiofsd-handles", sizeof(struct fs_handle), max_handles,
                                    handle_release, handles, &handles->table);

    if (ret == 0)
        fs_state_table_scatter(handles->table);
    return handles_finish_create(handles, ret, ret_handles);
}

int fs_handles_create_at(const struct fs_state_place *place, uint32_t max_handles,
                         struct fs_inodes *inodes, struct fs_handles **ret_handles)
{
    struct fs_handles *handles = handles_new(inodes);
    int ret = fs_state_table_create_at(place, sizeof(struct fs_handle), max_handles, handle_release,
                                       handles, &handles->table);

    if (ret == 0 && !place->is_adopted)
        fs_state_table_scatter(handles->table);
    return handles_finish_create(handles, ret, ret_handles);
}

struct handle_adoption {
    struct fs_handles *handles;
    int (*reopen)(void *opaque, struct fs_inode *inode, struct fs_handle *handle);
    void *opaque;
    uint32_t n_gone;
    int err; /* of one that is not gone, and cannot be had now */
};

/* Its inode stays pinned. 0 or -errno. */
static int handle_reopen(struct handle_adoption *adoption, struct fs_handle *handle)
{
    struct fs_inodes *inodes = adoption->handles->inodes;
    struct fs_inode *inode = fs_inode_get(inodes, handle->nodeid);
    int fd;

    handle->fd = -1;
    handle->pins_inode = false;
    if (!inode)
        return -ESTALE;
    fd = adoption->reopen(adoption->opaque, inode, handle);
    if (fd < 0) {
        fs_inode_put(inodes, inode);
        return fd;
    }
    handle->fd = fd;
    handle->pins_inode = true;
    return 0;
}

static bool handle_is_gone(int err)
{
    return err != -EMFILE && err != -ENFILE && err != -ENOMEM;
}

static bool handle_is_kept(void *opaque, struct fs_record *record)
{
    struct handle_adoption *adoption = opaque;
    struct fs_handle *handle = handle_of(record);
    int ret;

    handle->nowait = 0;
    memset(handle->slow, 0, sizeof(handle->slow));
    memset(handle->doubt, 0, sizeof(handle->doubt));
    handle->dir_offset = FS_HANDLE_NO_POSITION;
    ret = handle_reopen(adoption, handle);
    if (ret < 0 && handle_is_gone(ret)) {
        adoption->n_gone++;
        return false;
    }
    adoption->err = ret < 0 ? ret : adoption->err;
    return true;
}

int fs_handles_adopt(struct fs_handles *handles,
                     int (*reopen)(void *opaque, struct fs_inode *inode, struct fs_handle *handle),
                     void *opaque, uint32_t *ret_n_gone)
{
    struct handle_adoption adoption = {.handles = handles, .reopen = reopen, .opaque = opaque};
    int ret = fs_state_table_adopt(handles->table, handle_is_kept, &adoption);

    *ret_n_gone = adoption.n_gone;
    return ret < 0 ? ret : adoption.err;
}

int fs_handles_leave(struct fs_handles *handles)
{
    return fs_state_table_leave(handles->table);
}

void fs_handles_destroy(struct fs_handles *handles)
{
    if (!handles)
        return;
    fs_handles_release_all(handles);
    fs_state_table_destroy(handles->table);
    for (unsigned i = 0; i < HANDLE_N_LOCKS; i++)
        pthread_mutex_destroy(&handles->locks[i]);
    g_free(handles);
}

int fs_handle_add(struct fs_handles *handles, enum fs_handle_kind kind, uint64_t nodeid,
                  uint32_t open_flags, int *fd, uint64_t *ret_fh)
{
    struct fs_record *record = fs_state_table_alloc(handles->table);
    struct fs_handle *handle;

    if (!record)
        return -EMFILE;
    handle = handle_of(record);
    handle->nodeid = nodeid;
    handle->kind = (uint16_t)kind;
    handle->pins_inode = handles->inodes && fs_inode_get(handles->inodes, nodeid);
    handle->open_flags = open_flags;
    handle->fd = vu_steal_fd(fd);
    *ret_fh = fs_state_table_id(handles->table, record);
    fs_state_table_publish(record);
    fs_state_table_put(handles->table, record);
    return 0;
}

struct fs_handle *fs_handle_get(struct fs_handles *handles, uint64_t fh, enum fs_handle_kind kind)
{
    struct fs_record *record = fs_state_table_get(handles->table, fh);

    if (!record)
        return NULL;
    if (handle_of(record)->kind == (uint16_t)kind)
        return handle_of(record);
    fs_state_table_put(handles->table, record);
    return NULL;
}

void fs_handle_put(struct fs_handles *handles, struct fs_handle *handle)
{
    fs_state_table_put(handles->table, &handle->record);
}

int fs_handle_release(struct fs_handles *handles, uint64_t fh, enum fs_handle_kind kind)
{
    struct fs_handle *handle = fs_handle_get(handles, fh, kind);
    bool retired;

    if (!handle)
        return -EBADF;
    retired = fs_state_table_retire(handles->table, &handle->record);
    fs_handle_put(handles, handle);
    return retired ? 0 : -EBADF;
}

void fs_handles_release_all(struct fs_handles *handles)
{
    struct fs_record *record;
    uint32_t slot = 0;

    while ((record = fs_state_table_next(handles->table, slot))) {
        slot = fs_state_table_slot(handles->table, record);
        fs_state_table_retire(handles->table, record);
        fs_state_table_put(handles->table, record);
    }
}

pthread_mutex_t *fs_handle_lock(struct fs_handles *handles, const struct fs_handle *handle)
{
    return &handles->locks[fs_state_table_slot(handles->table, &handle->record) % HANDLE_N_LOCKS];
}

bool fs_handles_are_full(const struct fs_handles *handles)
{
    return fs_state_table_is_full(handles->table);
}

uint32_t fs_handles_count(const struct fs_handles *handles)
{
    return fs_state_table_n_live(handles->table);
}
