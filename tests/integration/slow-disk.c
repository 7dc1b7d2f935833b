/* SPDX-License-Identifier: Apache-2.0 */
/* See slow-disk.h. One thread takes requests from the kernel; those that wait lie in a list. */
#define FUSE_USE_VERSION 34
#include "slow-disk.h"

#include <errno.h>
#include <fuse3/fuse_lowlevel.h>
#include <glib.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"

#define DISK_SIZE 4096

enum disk_ino { DISK_ROOT = FUSE_ROOT_ID, DISK_FILE, DISK_LAZY };

struct disk_waiting {
    fuse_req_t req;
    enum slow_disk_kind kind;
};

static struct {
    struct fuse_session *session;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the rest */
    unsigned shut;
    bool is_deaf;
    pthread_cond_t opened;
    GArray *waiting; /* struct disk_waiting */
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER};

static struct stat disk_attr(fuse_ino_t ino)
{
    return (struct stat){
        .st_ino = ino,
        .st_mode = ino == DISK_ROOT ? S_IFDIR | 0755 : S_IFREG | 0644,
        .st_nlink = 1,
        .st_size = ino == DISK_ROOT ? 0 : DISK_SIZE,
    };
}

static void disk_answer(fuse_req_t req, enum slow_disk_kind kind)
{
    static const char data[DISK_SIZE];
    struct stat attr = disk_attr(DISK_LAZY);

    switch (kind) {
    case SLOW_DISK_LOOKUP:
        fuse_reply_err(req, ENOENT);
        break;
    case SLOW_DISK_GETATTR:
        fuse_reply_attr(req, &attr, 0);
        break;
    case SLOW_DISK_READ:
        fuse_reply_buf(req, data, sizeof(data));
        break;
    case SLOW_DISK_FLUSH:
        fuse_reply_err(req, 0);
        break;
    case SLOW_DISK_DEAF:
        break;
    }
}

/* Answers, now or when the disk is opened. */
static void disk_take(fuse_req_t req, enum slow_disk_kind kind)
{
    const struct disk_waiting waiting = {req, kind};
    VU_LOCK_SCOPE(&disk.lock);

    if (disk.shut & kind)
        g_array_append_val(disk.waiting, waiting);
    else
        disk_answer(req, kind);
}

/* Holds up the thread that takes requests. */
static void disk_be_deaf(void)
{
    VU_LOCK_SCOPE(&disk.lock);

    disk.is_deaf = disk.shut & SLOW_DISK_DEAF;
    while (disk.shut & SLOW_DISK_DEAF)
        pthread_cond_wait(&disk.opened, &disk.lock);
    disk.is_deaf = false;
}

static void disk_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry = {.generation = 1};

    if (strcmp(name, "file") == 0)
        entry.ino = DISK_FILE;
    else if (strcmp(name, "lazy") == 0)
        entry.ino = DISK_LAZY;
    entry.attr = disk_attr(entry.ino);
    if (entry.ino != 0)
        fuse_reply_entry(req, &entry);
    else if (g_str_has_prefix(name, "slow")) {
        disk_be_deaf();
        disk_take(req, SLOW_DISK_LOOKUP);
    } else
        fuse_reply_err(req, ENOENT);
}

static void disk_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    struct stat attr = disk_attr(ino);

    if (ino == DISK_LAZY)
        disk_take(req, SLOW_DISK_GETATTR);
    else
        fuse_reply_attr(req, &attr, 0);
}

static void disk_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    info->direct_io = 1;
    fuse_reply_open(req, info);
}

static void disk_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                      struct fuse_file_info *info)
{
    if (offset > 0 || size < DISK_SIZE)
        fuse_reply_buf(req, NULL, 0);
    else
        disk_take(req, SLOW_DISK_READ);
}

static void disk_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    if (ino == DISK_LAZY)
        disk_take(req, SLOW_DISK_FLUSH);
    else
        fuse_reply_err(req, ENOSYS);
}

static const struct fuse_lowlevel_ops disk_ops = {
    .lookup = disk_lookup,
    .getattr = disk_getattr,
    .open = disk_open,
    .read = disk_read,
    .flush = disk_flush,
};

static void *disk_run(void *arg)
{
    fuse_session_loop(disk.session);
    return NULL;
}

bool slow_disk_start(const char *dir, const char **ret_why)
{
    char *argv[] = {(char[]){"slow-disk"}, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);

    *ret_why = "no mount namespace of its own";
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    *ret_why = "no file system in a program (fuse)";
    if (access("/dev/fuse", R_OK | W_OK) < 0)
        return false;
    disk.session = fuse_session_new(&args, &disk_ops, sizeof(disk_ops), NULL);
    fuse_opt_free_args(&args);
    if (disk.session == NULL || fuse_session_mount(disk.session, dir) != 0)
        return false;
    disk.waiting = g_array_new(FALSE, FALSE, sizeof(struct disk_waiting));
    g_assert_cmpint(pthread_create(&disk.thread, NULL, disk_run, NULL), ==, 0);
    return true;
}

void slow_disk_stop(void)
{
    slow_disk_open();
    fuse_session_exit(disk.session);
    fuse_session_unmount(disk.session);
    pthread_join(disk.thread, NULL);
    fuse_session_destroy(disk.session);
    g_array_unref(disk.waiting);
}

void slow_disk_shut(unsigned kinds)
{
    VU_LOCK_SCOPE(&disk.lock);

    disk.shut = kinds;
}

void slow_disk_open(void)
{
    VU_LOCK_SCOPE(&disk.lock);

    disk.shut = 0;
    for (unsigned i = 0; i < disk.waiting->len; i++) {
        const struct disk_waiting *waiting = &g_array_index(disk.waiting, struct disk_waiting, i);

        disk_answer(waiting->req, waiting->kind);
    }
    g_array_set_size(disk.waiting, 0);
    pthread_cond_broadcast(&disk.opened);
}

unsigned slow_disk_n_waiting(void)
{
    VU_LOCK_SCOPE(&disk.lock);

    return disk.waiting->len + disk.is_deaf;
}
