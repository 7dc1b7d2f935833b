/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of --state: opened by main, outside a sandbox; then the share's. What is noted is noted
 * by INIT and resets, on whatever thread.
 */
#include "virtiofsd/state-file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/options.h"
#include "vhost-user/file-room.h"

#define STATE_MAGIC      "OBfs\r\n\032"
#define STATE_VERSION    2u
#define STATE_ALIGN      65536u /* the largest page there is */
#define STATE_BOOT_ID    "/proc/sys/kernel/random/boot_id"
#define STATE_LOCK_TRIES 500 /* of 10 ms */

struct state_header {
    char magic[8];
    uint32_t version;
    uint32_t has_guest; /* atomic */
    char boot_id[40];
    struct fs_state_shape shape;
    uint64_t flags; /* atomic: what INIT agreed on */
};
static_assert(sizeof(struct state_header) == 96, "the first bytes of the file");

struct fs_state_file {
    int fd;
    char boot_id[40];
    struct state_header *header; /* mapped; NULL: not yet, or left */
    struct fs_state_shape shape;
    bool is_adopted;
};

static void state_fail(GError **error, const char *path, int err)
{
    const char *what = err == EWOULDBLOCK ? "another process uses it"
                       : err == EEXIST    ? "exists, and is not such a file"
                                          : g_strerror(err);

    g_set_error(error, VU_OPTION_ERROR, 0, "--state=%s: %s", path, what);
}

/* 0 or -errno. */
static int state_lock(int fd)
{
    for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK || i == STATE_LOCK_TRIES)
            return -errno;
        g_usleep(10000);
    }
    return 0;
}

/* Whoever writes the file can have any file of the file system opened to the guest. And we write
 * over it, so what it has must be nothing else. */
static int state_check(int fd)
{
    char magic[sizeof(((struct state_header *)0)->magic)];
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    if (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
        return -EPERM;
    if (st.st_size == 0)
        return 0;
    return pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
                   memcmp(magic, STATE_MAGIC, sizeof(magic)) == 0
               ? 0
               : -EEXIST;
}

struct fs_state_file *fs_state_file_open(const char *path, GError **error)
{
    vu_autofd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    g_autofree char *boot_id = NULL;
    struct fs_state_file *file;
    int ret = fd < 0 ? -errno : state_lock(fd);

    if (ret == 0)
        ret = state_check(fd);
    if (ret < 0) {
        state_fail(error, path, -ret);
        return NULL;
    }
    if (!g_file_get_contents(STATE_BOOT_ID, &boot_id, NULL, error))
        return NULL;
    file = g_new0(struct fs_state_file, 1);
    file->fd = vu_steal_fd(&fd);
    g_strlcpy(file->boot_id, g_strchomp(boot_id), sizeof(file->boot_id));
    return file;
}

void fs_state_file_close(struct fs_state_file *file)
{
    if (!file)
        return;
    fs_state_file_leave(file);
    close(file->fd);
    g_free(file);
}

int fs_state_file_fd(const struct fs_state_file *file)
{
    return file ? file->fd : -1;
}

/* --- the parts --- */

static off_t state_align(size_t len)
{
    return (off_t)((len + STATE_ALIGN - 1) & ~(size_t)(STATE_ALIGN - 1));
}

static off_t state_handles_at(const struct fs_state_shape *shape)
{
    return STATE_ALIGN + state_align(fs_state_table_len(shape->inode_len, shape->max_inodes));
}

static off_t state_len(const struct fs_state_shape *shape)
{
    return state_handles_at(shape) +
           state_align(fs_state_table_len(shape->handle_len, shape->max_handles));
}

struct fs_state_place fs_state_file_inodes(const struct fs_state_file *file)
{
    return (struct fs_state_place){file->fd, STATE_ALIGN, file->is_adopted};
}

struct fs_state_place fs_state_file_handles(const struct fs_state_file *file)
{
    return (struct fs_state_place){file->fd, state_handles_at(&file->shape), file->is_adopted};
}

/* --- the beginning --- */

/* Whether the file is one of ours, and whole. */
static bool state_is_good(const struct fs_state_file *file)
{
    struct state_header header;
    struct stat st;

    return pread(file->fd, &header, sizeof(header), 0) == sizeof(header) &&
           memcmp(header.magic, STATE_MAGIC, sizeof(header.magic)) == 0 &&
           header.version == STATE_VERSION && header.has_guest &&
           memcmp(header.boot_id, file->boot_id, sizeof(file->boot_id)) == 0 &&
           memcmp(&header.shape, &file->shape, sizeof(header.shape)) == 0 &&
           fstat(file->fd, &st) == 0 && st.st_size == state_len(&file->shape);
}

static int state_map(struct fs_state_file *file)
{
    int ret = vu_file_room_take(file->fd, 0, (size_t)sysconf(_SC_PAGESIZE));
    void *header = file->header;

    if (ret < 0)
        return ret;
    if (!header)
        header = mmap(NULL, sizeof(*file->header), PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    if (header == MAP_FAILED)
        return -errno;
    file->header = header;
    return 0;
}

int fs_state_file_begin_anew(struct fs_state_file *file, const struct fs_state_shape *shape)
{
    struct state_header header = {.magic = STATE_MAGIC, .version = STATE_VERSION, .shape = *shape};

    file->is_adopted = false;
    file->shape = *shape;
    memcpy(header.boot_id, file->boot_id, sizeof(header.boot_id));
    /* The header first: at no moment is it a file of nobody's. */
    if (ftruncate(file->fd, 0) < 0 || pwrite(file->fd, &header, sizeof(header), 0) < 0 ||
        ftruncate(file->fd, state_len(shape)) < 0)
        return -errno;
    return state_map(file);
}

bool fs_state_file_begin(struct fs_state_file *file, const struct fs_state_shape *shape,
                         int *ret_err)
{
    file->shape = *shape;
    if (!state_is_good(file)) {
        *ret_err = fs_state_file_begin_anew(file, shape);
        return false;
    }
    *ret_err = state_map(file);
    file->is_adopted = *ret_err == 0;
    return file->is_adopted;
}

/* --- the guest --- */

void fs_state_file_note_guest(struct fs_state_file *file, bool guest_is_there, uint64_t flags)
{
    if (!file || !file->header)
        return;
    __atomic_store_n(&file->header->flags, flags, __ATOMIC_RELAXED);
    /* Behind the flags, and behind what a reset has emptied or before what it will. */
    __atomic_store_n(&file->header->has_guest, guest_is_there, __ATOMIC_RELEASE);
}

uint64_t fs_state_file_flags(const struct fs_state_file *file)
{
    return __atomic_load_n(&file->header->flags, __ATOMIC_RELAXED);
}

void fs_state_file_leave(struct fs_state_file *file)
{
    if (file->header)
        munmap(file->header, sizeof(*file->header));
    file->header = NULL;
}
