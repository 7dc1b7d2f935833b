/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GETLK, SETLK, SETLKW. A lock that is free is taken at once; a wait for one goes to a thread of
 * its own (lock-wait.h). On a file system with a server even asking may take long: that is for
 * helpers. Workers, helpers and waiting threads.
 */
#include "virtiofsd/locks.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/file.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/fs-kind.h"
#include "virtiofsd/lock-owner.h"
#include "virtiofsd/lock-wait.h"

#define LOCKS_MAX_WAITS 256

struct fs_locks {
    struct fs_lock_owners *owners;
    struct fs_lock_waits *waits;
};

int fs_locks_create(const struct fs_options *options, uint32_t max_owners,
                    struct fs_locks **ret_locks)
{
    struct fs_locks *locks = NULL;
    int ret = 0;

    if (options->posix_lock || options->flock) {
        locks = g_new0(struct fs_locks, 1);
        ret = fs_lock_owners_create(max_owners, &locks->owners);
        if (ret == 0)
            ret = fs_lock_waits_create(LOCKS_MAX_WAITS, &locks->waits);
    }
    if (ret < 0)
        fs_locks_destroy(locks);
    else
        *ret_locks = locks;
    return ret;
}

void fs_locks_destroy(struct fs_locks *locks)
{
    if (!locks)
        return;
    fs_lock_waits_destroy(locks->waits);
    fs_lock_owners_destroy(locks->owners);
    g_free(locks);
}

void fs_locks_reset(struct fs_locks *locks)
{
    if (!locks)
        return;
    fs_lock_waits_cancel(locks->waits, FS_LOCK_WAIT_ALL);
    fs_lock_owners_clear(locks->owners);
}

void fs_locks_quiesce(struct fs_locks *locks, unsigned queue)
{
    if (locks)
        fs_lock_waits_cancel(locks->waits, (int)queue);
}

void fs_locks_resume(struct fs_locks *locks, unsigned queue)
{
    if (locks)
        fs_lock_waits_allow(locks->waits, queue);
}

void fs_locks_flush(struct fs_locks *locks, uint64_t nodeid, uint64_t owner)
{
    if (locks)
        fs_lock_owner_drop(locks->owners, nodeid, owner);
}

void fs_locks_release(struct fs_locks *locks, const struct fuse_release_in *in,
                      const struct fs_handle *handle)
{
    if (!locks)
        return;
    /* Not left to close: others may still be at work with the descriptor. */
    if (in->release_flags & FUSE_RELEASE_FLOCK_UNLOCK)
        flock(handle->fd, LOCK_UN);
    fs_lock_owners_release(locks->owners, handle->nodeid, in->fh);
}

/* --- record locks --- */

/* -EINVAL for what no fcntl of the guest asks. */
static int lock_from_wire(const struct fuse_file_lock *wire, struct flock *ret_lock)
{
    if (wire->type != F_RDLCK && wire->type != F_WRLCK && wire->type != F_UNLCK)
        return -EINVAL;
    if (wire->start > INT64_MAX || wire->end > INT64_MAX || wire->end < wire->start)
        return -EINVAL;
    *ret_lock = (struct flock){
        .l_type = (short)wire->type,
        .l_whence = SEEK_SET,
        .l_start = (off_t)wire->start,
        .l_len = wire->end == INT64_MAX ? 0 : (off_t)(wire->end - wire->start + 1),
    };
    return 0;
}

static void lock_to_wire(const struct flock *lock, struct fuse_file_lock *ret_wire)
{
    *ret_wire = (struct fuse_file_lock){
        .start = (uint64_t)lock->l_start,
        .end = lock->l_len == 0 ? INT64_MAX : (uint64_t)lock->l_start + (uint64_t)lock->l_len - 1,
        .type = (uint32_t)lock->l_type,
    };
}

/*
 * A description of its own for an owner. It must do for shared and for exclusive locks, whatever
 * the handle was opened for, as far as we may.
 */
static int lock_open(const struct fs_share *share, const struct fs_handle *handle)
{
    static const int modes[] = {O_RDWR, O_RDONLY, O_WRONLY};
    int fd = -EBADF;

    for (size_t i = 0; i < G_N_ELEMENTS(modes) && fd < 0; i++)
        fd = fs_share_reopen(share, handle->fd, modes[i] | O_NONBLOCK | O_NOCTTY);
    return fd == -EMFILE || fd == -ENFILE ? -ENOLCK : fd;
}

/* As the host's fcntl refuses it. */
static bool lock_fits_mode(const struct flock *lock, const struct fs_handle *handle)
{
    uint32_t mode = handle->open_flags & O_ACCMODE;

    return !(lock->l_type == F_WRLCK && mode == O_RDONLY) &&
           !(lock->l_type == F_RDLCK && mode == O_WRONLY);
}

static int lock_find_or_open(struct fs_share *share, const struct fs_handle *handle, uint64_t id,
                             struct fs_lock_owner **ret_owner)
{
    vu_autofd int fd = -1;

    *ret_owner = fs_lock_owner_find(share->locks->owners, handle->nodeid, id);
    if (*ret_owner)
        return 0;
    fd = lock_open(share, handle);
    if (fd < 0)
        return fd;
    return fs_lock_owner_add(share->locks->owners, handle->nodeid, id, &fd, ret_owner);
}

static int lock_take(struct fs_share *share, const struct fuse_lk_in *in,
                     const struct fs_handle *handle, bool wait, struct flock *lock)
{
    struct fs_lock_owner *owner;
    int ret;

    if (!lock_fits_mode(lock, handle))
        return -EBADF;
    ret = lock_find_or_open(share, handle, in->owner, &owner);
    if (ret < 0)
        return ret;
    if (wait)
        ret = fs_lock_owner_wait(share->locks->owners, owner, in->fh, in->lk.pid, lock);
    else
        ret = fs_lock_owner_set(share->locks->owners, owner, in->fh, in->lk.pid, lock);
    fs_lock_owner_put(share->locks->owners, owner);
    return ret;
}

static int lock_drop(struct fs_share *share, const struct fuse_lk_in *in,
                     const struct fs_handle *handle, struct flock *lock)
{
    struct fs_lock_owners *owners = share->locks->owners;
    struct fs_lock_owner *owner;
    int ret = 0;

    if (lock->l_start == 0 && lock->l_len == 0) {
        fs_lock_owner_drop(owners, handle->nodeid, in->owner);
        return 0;
    }
    owner = fs_lock_owner_find(owners, handle->nodeid, in->owner);
    if (owner) {
        ret = fs_lock_owner_set(owners, owner, in->fh, in->lk.pid, lock);
        fs_lock_owner_put(owners, owner);
    }
    return ret;
}

static int lock_set_record(struct fs_request *request, const struct fs_handle *handle, bool wait)
{
    const struct fuse_lk_in *in = &request->args.lk;
    struct flock lock;
    int ret = lock_from_wire(&in->lk, &lock);

    if (ret < 0)
        return ret;
    if (lock.l_type == F_UNLCK)
        return lock_drop(request->share, in, handle, &lock);
    return lock_take(request->share, in, handle, wait, &lock);
}

/* --- flock --- */

static int lock_set_file(const struct fuse_lk_in *in, const struct fs_handle *handle, bool wait)
{
    static const int operations[] = {[F_RDLCK] = LOCK_SH, [F_WRLCK] = LOCK_EX, [F_UNLCK] = LOCK_UN};

    if (in->lk.type >= G_N_ELEMENTS(operations))
        return -EINVAL;
    return flock(handle->fd, operations[in->lk.type] | (wait ? 0 : LOCK_NB)) < 0 ? -errno : 0;
}

/* --- requests --- */

static bool lock_is_negotiated(const struct fs_request *request)
{
    bool is_flock = request->args.lk.lk_flags & FUSE_LK_FLOCK;

    return request->share->locks &&
           fs_share_negotiated(request->share, is_flock ? FUSE_FLOCK_LOCKS : FUSE_POSIX_LOCKS);
}

static int lock_set(struct fs_request *request, bool wait)
{
    const struct fuse_lk_in *in = &request->args.lk;
    struct fs_handle *handle = fs_handle_get(request->share->handles, in->fh, FS_HANDLE_FILE);
    int ret;

    if (!handle)
        return -EBADF;
    if (in->lk_flags & FUSE_LK_FLOCK)
        ret = lock_set_file(in, handle, wait);
    else
        ret = lock_set_record(request, handle, wait);
    fs_handle_put(request->share->handles, handle);
    return ret;
}

/* On a thread that may sleep. */
static int lock_set_waiting(struct fs_request *request)
{
    return lock_set(request, true);
}

static int lock_set_now(struct fs_request *request)
{
    int ret = lock_set(request, false);

    if (ret == -EAGAIN && request->header.opcode == FUSE_SETLKW)
        return fs_lock_wait_start(request->share->locks->waits, request, lock_set_waiting);
    return ret;
}

static int lock_get(struct fs_request *request)
{
    const struct fuse_lk_in *in = &request->args.lk;
    struct fs_share *share = request->share;
    struct fs_handle *handle = fs_handle_get(share->handles, in->fh, FS_HANDLE_FILE);
    struct fs_lock_owner *owner;
    struct flock lock;
    int ret;

    if (!handle)
        return -EBADF;
    ret = lock_from_wire(&in->lk, &lock);
    owner = fs_lock_owner_find(share->locks->owners, handle->nodeid, in->owner);
    /* An owner without locks is anybody: no one locks records by the handle's own description. */
    if (ret == 0 && owner)
        ret = fs_lock_owner_test(owner, &lock);
    else if (ret == 0)
        ret = fcntl(handle->fd, F_OFD_GETLK, &lock) < 0 ? -errno : 0;
    if (ret == 0) {
        lock_to_wire(&lock, &request->reply.lk.lk);
        if (lock.l_type != F_UNLCK)
            request->reply.lk.lk.pid =
                fs_lock_owners_find_holder(share->locks->owners, handle->nodeid, in->owner, &lock);
    }
    if (owner)
        fs_lock_owner_put(share->locks->owners, owner);
    fs_handle_put(share->handles, handle);
    return ret < 0 ? ret : (int)sizeof(request->reply.lk);
}

/* Here where this kernel alone knows of the locks; by a helper where a server is asked. */
static int lock_here_or_helper(struct fs_request *request, fs_handler handler)
{
    struct fs_handle *handle;
    bool is_local;

    if (!lock_is_negotiated(request))
        return -ENOSYS;
    handle = fs_handle_get(request->share->handles, request->args.lk.fh, FS_HANDLE_FILE);
    if (!handle)
        return -EBADF;
    is_local = fs_kind_is_local(handle->fd);
    fs_handle_put(request->share->handles, handle);
    return is_local ? handler(request) : fs_request_hand_on(request, handler);
}

int fs_do_getlk(struct fs_request *request)
{
    if (request->args.lk.lk_flags & FUSE_LK_FLOCK)
        return -EINVAL;
    return lock_here_or_helper(request, lock_get);
}

int fs_do_setlk(struct fs_request *request)
{
    return lock_here_or_helper(request, lock_set_now);
}
