/* SPDX-License-Identifier: Apache-2.0 */
/* locks.c: the guest's locks against each other and against those of the host. */
#include "virtiofsd/locks.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "tests/unit/fs-client.h"
#include "vhost-user/cleanup.h"

#define WHOLE INT64_MAX

static struct fs_fixture fixture;
static uint64_t nodeid, fh;
static int host_fd;

static void set_up(void)
{
    struct fuse_init_out out;
    g_autofree char *path = NULL;

    fs_fixture_init(&fixture);
    fixture.options.posix_lock = fixture.options.flock = true;
    fs_fixture_open(&fixture);
    fs_fixture_send_init(&fixture, &out);
    g_assert_cmphex(out.flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS), ==,
                    FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS);
    g_assert_cmpint(fs_client_create(&fixture, FUSE_ROOT_ID, "f", O_RDWR, &nodeid, &fh), ==, 0);
    path = fs_client_path(&fixture, "f");
    host_fd = open(path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(host_fd, >=, 0);
}

static void tear_down(void)
{
    close(host_fd);
    g_assert_cmpint(fs_client_release(&fixture, nodeid, fh), ==, 0);
    fs_client_tear_down(&fixture);
}

static int lock_call(uint32_t opcode, const struct fuse_lk_in *in, struct fuse_lk_out *reply)
{
    struct fs_call call = {
        .opcode = opcode,
        .nodeid = nodeid,
        .args = in,
        .args_len = sizeof(*in),
        .reply = reply,
        .room = reply ? sizeof(*reply) : 0,
    };

    return fs_client_call(&fixture, &call);
}

static int set_lock(uint32_t opcode, uint64_t owner, uint32_t type, int64_t start, int64_t end)
{
    struct fuse_lk_in in = {
        .fh = fh,
        .owner = owner,
        .lk = {(uint64_t)start, (uint64_t)end, type, (uint32_t)owner + 1000},
    };

    return lock_call(opcode, &in, NULL);
}

static int set_flock(uint32_t opcode, uint64_t with_fh, uint32_t type)
{
    struct fuse_lk_in in = {
        .fh = with_fh, .owner = with_fh, .lk = {0, WHOLE, type, 1}, .lk_flags = FUSE_LK_FLOCK};

    return lock_call(opcode, &in, NULL);
}

static int flush(uint64_t owner)
{
    struct fuse_flush_in in = {.fh = fh, .lock_owner = owner};
    struct fs_call call = {
        .opcode = FUSE_FLUSH, .nodeid = nodeid, .args = &in, .args_len = sizeof(in)};

    return fs_client_call(&fixture, &call);
}

static int host_lock(short type, off_t start, off_t len)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

    return fcntl(host_fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

static void test_record(void)
{
    struct fuse_lk_in get = {.owner = 2, .lk = {0, WHOLE, F_WRLCK, 2}};
    struct fuse_lk_out out;

    set_up();
    get.fh = fh;
    g_assert_cmpint(set_lock(FUSE_SETLK, 1, F_WRLCK, 10, 19), ==, 0);
    g_assert_cmpint(set_lock(FUSE_SETLK, 2, F_RDLCK, 0, WHOLE), ==, -EAGAIN);
    g_assert_cmpint(set_lock(FUSE_SETLK, 2, F_RDLCK, 0, 9), ==, 0);
    g_assert_cmpint(host_lock(F_WRLCK, 0, 5), ==, -EAGAIN);
    g_assert_cmpint(host_lock(F_RDLCK, 0, 5), ==, 0);
    g_assert_cmpint(set_lock(FUSE_SETLK, 2, F_WRLCK, 0, 0), ==, -EAGAIN);
    g_assert_cmpint(host_lock(F_UNLCK, 0, 0), ==, 0);

    g_assert_cmpint(lock_call(FUSE_GETLK, &get, &out), ==, sizeof(out));
    g_assert_cmpuint(out.lk.type, ==, F_WRLCK);
    g_assert_cmpuint(out.lk.start, ==, 10);
    g_assert_cmpuint(out.lk.end, ==, 19);
    g_assert_cmpuint(out.lk.pid, ==, 1001);
    get.lk = (struct fuse_file_lock){20, 30, F_WRLCK, 2};
    g_assert_cmpint(lock_call(FUSE_GETLK, &get, &out), ==, sizeof(out));
    g_assert_cmpuint(out.lk.type, ==, F_UNLCK);
    g_assert_cmpint(host_lock(F_WRLCK, 25, 0), ==, 0);
    g_assert_cmpint(lock_call(FUSE_GETLK, &get, &out), ==, sizeof(out));
    g_assert_cmpuint(out.lk.start, ==, 25);
    g_assert_cmpuint(out.lk.end, ==, WHOLE);
    g_assert_cmpuint(out.lk.pid, ==, 0); /* none of the guest's */

    /* Part of a range, all of it by flush, and what the other owner has stays. */
    g_assert_cmpint(set_lock(FUSE_SETLK, 1, F_UNLCK, 10, 14), ==, 0);
    g_assert_cmpint(host_lock(F_WRLCK, 10, 5), ==, 0);
    g_assert_cmpint(host_lock(F_WRLCK, 15, 5), ==, -EAGAIN);
    g_assert_cmpint(flush(1), ==, 0);
    g_assert_cmpint(host_lock(F_WRLCK, 15, 5), ==, 0);
    g_assert_cmpint(host_lock(F_WRLCK, 0, 5), ==, -EAGAIN);
    g_assert_cmpint(set_lock(FUSE_SETLK, 2, F_UNLCK, 0, WHOLE), ==, 0);
    g_assert_cmpint(host_lock(F_WRLCK, 0, 0), ==, 0);
    g_assert_cmpint(set_lock(FUSE_SETLK, 7, F_UNLCK, 0, 5), ==, 0);
    tear_down();
}

static void test_wrong(void)
{
    struct fuse_lk_in in = {.fh = 77, .lk = {0, 1, F_RDLCK, 1}};
    struct fuse_open_out open;

    set_up();
    g_assert_cmpint(lock_call(FUSE_SETLK, &in, NULL), ==, -EBADF);
    in.fh = fh;
    in.lk.type = 99;
    g_assert_cmpint(lock_call(FUSE_SETLK, &in, NULL), ==, -EINVAL);
    in.lk_flags = FUSE_LK_FLOCK;
    g_assert_cmpint(lock_call(FUSE_SETLK, &in, NULL), ==, -EINVAL);
    in = (struct fuse_lk_in){.fh = fh, .lk = {5, 4, F_RDLCK, 1}};
    g_assert_cmpint(lock_call(FUSE_SETLKW, &in, NULL), ==, -EINVAL);
    in.lk.start = UINT64_MAX;
    in.lk.end = UINT64_MAX;
    g_assert_cmpint(lock_call(FUSE_SETLK, &in, NULL), ==, -EINVAL);
    g_assert_cmpint(fs_client_open(&fixture, nodeid, O_RDONLY, &open), ==, 0);
    in = (struct fuse_lk_in){.fh = open.fh, .lk = {0, 4, F_WRLCK, 1}};
    g_assert_cmpint(lock_call(FUSE_SETLK, &in, NULL), ==, -EBADF);
    g_assert_cmpint(fs_client_release(&fixture, nodeid, open.fh), ==, 0);
    tear_down();
}

/* A guest that releases without a flush. */
static void test_release(void)
{
    struct fuse_open_out open;
    uint64_t first = fh;

    set_up();
    first = fh;
    g_assert_cmpint(fs_client_open(&fixture, nodeid, O_RDWR, &open), ==, 0);
    g_assert_cmpint(set_lock(FUSE_SETLK, 1, F_WRLCK, 0, 9), ==, 0);
    fh = open.fh;
    g_assert_cmpint(set_lock(FUSE_SETLK, 2, F_WRLCK, 10, 19), ==, 0);
    g_assert_cmpint(fs_client_release(&fixture, nodeid, open.fh), ==, 0);
    fh = first;
    g_assert_cmpint(host_lock(F_WRLCK, 10, 10), ==, 0);
    g_assert_cmpint(host_lock(F_WRLCK, 0, 10), ==, -EAGAIN);
    tear_down();
}

static void test_flock(void)
{
    struct fuse_open_out open;

    set_up();
    g_assert_cmpint(fs_client_open(&fixture, nodeid, O_RDONLY, &open), ==, 0);
    g_assert_cmpint(set_flock(FUSE_SETLK, fh, F_RDLCK), ==, 0);
    g_assert_cmpint(set_flock(FUSE_SETLK, open.fh, F_RDLCK), ==, 0);
    g_assert_cmpint(set_flock(FUSE_SETLK, open.fh, F_WRLCK), ==, -EAGAIN);
    g_assert_cmpint(flock(host_fd, LOCK_EX | LOCK_NB), ==, -1);
    g_assert_cmpint(flush(fh), ==, 0); /* is none of its business */
    g_assert_cmpint(flock(host_fd, LOCK_EX | LOCK_NB), ==, -1);
    g_assert_cmpint(set_flock(FUSE_SETLK, fh, F_UNLCK), ==, 0);
    g_assert_cmpint(set_flock(FUSE_SETLK, open.fh, F_WRLCK), ==, 0);
    g_assert_cmpint(fs_client_release(&fixture, nodeid, open.fh), ==, 0);
    g_assert_cmpint(flock(host_fd, LOCK_EX | LOCK_NB), ==, 0);
    g_assert_cmpint(set_flock(FUSE_SETLK, fh, F_RDLCK), ==, -EAGAIN);
    tear_down();
}

/* --- waiting --- */

struct waiter {
    pthread_t thread;
    bool is_flock;
    uint64_t owner;
    int result; /* atomic; 1 until it is known */
};

static void *waiter_run(void *opaque)
{
    struct waiter *waiter = opaque;
    int result = waiter->is_flock ? set_flock(FUSE_SETLKW, fh, F_WRLCK)
                                  : set_lock(FUSE_SETLKW, waiter->owner, F_WRLCK, 0, WHOLE);

    __atomic_store_n(&waiter->result, result, __ATOMIC_RELEASE);
    return NULL;
}

static void waiter_start(struct waiter *waiter, bool is_flock, uint64_t owner)
{
    *waiter = (struct waiter){.is_flock = is_flock, .owner = owner, .result = 1};
    fs_locks_resume(fixture.share.locks, fixture.vring.index);
    g_assert_cmpint(pthread_create(&waiter->thread, NULL, waiter_run, waiter), ==, 0);
}

/* On a busy machine some begin to wait only now. */
static void waiters_cancel(struct waiter *waiters, size_t n)
{
    for (size_t i = 0; i < n; i++)
        while (__atomic_load_n(&waiters[i].result, __ATOMIC_ACQUIRE) == 1) {
            fs_locks_quiesce(fixture.share.locks, fixture.vring.index);
            g_usleep(1000);
        }
}

static int waiter_result(struct waiter *waiter)
{
    pthread_join(waiter->thread, NULL);
    return waiter->result;
}

static void test_wait(void)
{
    struct waiter waiter;

    set_up();
    for (int is_flock = 0; is_flock < 2; is_flock++) {
        if (is_flock)
            g_assert_cmpint(flock(host_fd, LOCK_SH), ==, 0);
        else
            g_assert_cmpint(host_lock(F_RDLCK, 0, 1), ==, 0);
        waiter_start(&waiter, is_flock, 5);
        g_usleep(50000);
        g_assert_cmpint(__atomic_load_n(&waiter.result, __ATOMIC_ACQUIRE), ==, 1);
        if (is_flock)
            g_assert_cmpint(flock(host_fd, LOCK_UN), ==, 0);
        else
            g_assert_cmpint(host_lock(F_UNLCK, 0, 1), ==, 0);
        g_assert_cmpint(waiter_result(&waiter), ==, 0);
    }
    g_assert_cmpint(host_lock(F_RDLCK, 0, 1), ==, -EAGAIN);
    g_assert_cmpint(flock(host_fd, LOCK_EX | LOCK_NB), ==, -1);
    /* A flush of the same owner while it waits does not lose the lock it then gets. */
    g_assert_cmpint(flush(5), ==, 0);
    g_assert_cmpint(host_lock(F_RDLCK, 0, 1), ==, 0);
    waiter_start(&waiter, false, 5);
    g_usleep(50000);
    g_assert_cmpint(flush(5), ==, 0);
    g_assert_cmpint(host_lock(F_UNLCK, 0, 1), ==, 0);
    g_assert_cmpint(waiter_result(&waiter), ==, 0);
    g_assert_cmpint(host_lock(F_RDLCK, 0, 1), ==, -EAGAIN);
    tear_down();
}

/* When its queue stops, or the guest starts anew, nobody waits on. */
static void test_cancel(void)
{
    struct waiter waiters[20];
    int ret;

    set_up();
    g_assert_cmpint(host_lock(F_RDLCK, 0, 1), ==, 0);
    g_assert_cmpint(flock(host_fd, LOCK_SH), ==, 0);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < G_N_ELEMENTS(waiters); i++)
            waiter_start(&waiters[i], i == 0, i);
        g_usleep((gulong)round * 10000);
        fs_locks_quiesce(fixture.share.locks, fixture.vring.index + 1);
        g_usleep(50000);
        for (size_t i = 0; i < G_N_ELEMENTS(waiters); i++)
            g_assert_cmpint(__atomic_load_n(&waiters[i].result, __ATOMIC_ACQUIRE), ==, 1);
        waiters_cancel(waiters, G_N_ELEMENTS(waiters));
        for (size_t i = 0; i < G_N_ELEMENTS(waiters); i++)
            g_assert_cmpint(waiter_result(&waiters[i]), ==, -ENOLCK);
    }
    /* What a helper of a stopped queue comes with later does not wait either. */
    g_assert_cmpint(set_lock(FUSE_SETLKW, 30, F_WRLCK, 0, WHOLE), ==, -ENOLCK);
    g_assert_cmpint(set_lock(FUSE_SETLK, 1, F_RDLCK, 20, 30), ==, 0);
    waiter_start(&waiters[0], false, 9);
    g_usleep(50000);
    fs_share_reset(&fixture.share);
    /* On a busy machine it may come to a share that is no longer there. */
    ret = waiter_result(&waiters[0]);
    g_assert_true(ret == -ENOLCK || ret == -EIO);
    g_assert_cmpint(host_lock(F_WRLCK, 0, 0), ==, 0);
    close(host_fd);
    fs_fixture_finish(&fixture);
}

static unsigned waiters_count(struct waiter *waiters, size_t n, int result)
{
    unsigned count = 0;

    for (size_t i = 0; i < n; i++)
        count += __atomic_load_n(&waiters[i].result, __ATOMIC_ACQUIRE) == result;
    return count;
}

/* More waits than there may be. */
static void test_bound(void)
{
    static struct waiter waiters[300];
    const unsigned n_too_many = G_N_ELEMENTS(waiters) - 256;

    set_up();
    g_assert_cmpint(host_lock(F_RDLCK, 0, 1), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(waiters); i++)
        waiter_start(&waiters[i], false, i);
    while (waiters_count(waiters, G_N_ELEMENTS(waiters), -ENOLCK) < n_too_many)
        g_usleep(1000);
    g_assert_cmpuint(waiters_count(waiters, G_N_ELEMENTS(waiters), 1), ==, 256);
    waiters_cancel(waiters, G_N_ELEMENTS(waiters));
    for (size_t i = 0; i < G_N_ELEMENTS(waiters); i++)
        waiter_result(&waiters[i]);
    g_assert_cmpuint(waiters_count(waiters, G_N_ELEMENTS(waiters), -ENOLCK), ==,
                     G_N_ELEMENTS(waiters));
    tear_down();
}

static void test_off(void)
{
    struct fuse_lk_in in = {.lk = {0, 1, F_RDLCK, 1}};

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(fs_client_create(&fixture, FUSE_ROOT_ID, "f", O_RDWR, &nodeid, &fh), ==, 0);
    in.fh = fh;
    g_assert_cmpint(lock_call(FUSE_SETLK, &in, NULL), ==, -ENOSYS);
    in.lk_flags = FUSE_LK_FLOCK;
    g_assert_cmpint(lock_call(FUSE_SETLK, &in, NULL), ==, -ENOSYS);
    g_assert_cmpint(fs_client_release(&fixture, nodeid, fh), ==, 0);
    fs_client_tear_down(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/locks/record", test_record);
    g_test_add_func("/locks/wrong", test_wrong);
    g_test_add_func("/locks/release", test_release);
    g_test_add_func("/locks/flock", test_flock);
    g_test_add_func("/locks/wait", test_wait);
    g_test_add_func("/locks/cancel", test_cancel);
    g_test_add_func("/locks/bound", test_bound);
    g_test_add_func("/locks/off", test_off);
    return g_test_run();
}
