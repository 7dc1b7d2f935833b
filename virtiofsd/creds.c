/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials of the calling thread. Raw system calls throughout: the C library would change every
 * thread of the process.
 *
 * setfsuid from root to a user takes the capabilities over files (CAP_DAC_OVERRIDE, CAP_FOWNER,
 * ...) out of effect; they stay permitted and are raised again at once. setfsuid and setfsgid
 * report no errors, so the first change to an id is asked back: what the kernel has once taken from
 * this thread it takes again, since neither our rights nor the map of a user namespace change.
 */
#include "virtiofsd/creds.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "virtiofsd/fs-kind.h"

#ifdef SYS_setgroups32 /* the other one has 16-bit groups there */
#define CREDS_SETGROUPS SYS_setgroups32
#else
#define CREDS_SETGROUPS SYS_setgroups
#endif

#define CREDS_N_TAKEN 64 /* ids of each kind that a thread remembers; a power of two */

/* Ids that the kernel took from this thread, plus 1, at the place of their low bits; 0: none. */
static __thread uid_t creds_taken_uids[CREDS_N_TAKEN];
static __thread gid_t creds_taken_gids[CREDS_N_TAKEN];

/* What this thread is now. A new thread inherits its maker's ids, so it knows nothing at first. */
static __thread struct {
    bool uid_known, gid_known;
    uid_t uid;
    gid_t gid;
} creds_thread;

/* Puts all permitted capabilities into effect, or all but CAP_FSETID. 0 or -errno. */
static int creds_raise(bool fsetid)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        data[i].effective = data[i].permitted;
    if (!fsetid)
        data[CAP_TO_INDEX(CAP_FSETID)].effective &= ~CAP_TO_MASK(CAP_FSETID);
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int creds_set_gid(gid_t gid)
{
    gid_t *taken = &creds_taken_gids[gid % CREDS_N_TAKEN];

    if (creds_thread.gid_known && creds_thread.gid == gid)
        return 0;
    creds_thread.gid_known = false;
    syscall(SYS_setfsgid, gid);
    if (*taken != gid + 1 && (gid_t)syscall(SYS_setfsgid, (gid_t)-1) != gid)
        return -EPERM;
    *taken = gid + 1;
    creds_thread.gid = gid;
    creds_thread.gid_known = true;
    return 0;
}

static int creds_set_uid(uid_t uid)
{
    uid_t *taken = &creds_taken_uids[uid % CREDS_N_TAKEN];
    bool raised = creds_thread.uid_known && creds_thread.uid != 0;
    int ret = 0;

    if (creds_thread.uid_known && creds_thread.uid == uid)
        return 0;
    creds_thread.uid_known = false;
    syscall(SYS_setfsuid, uid);
    if (*taken != uid + 1 && (uid_t)syscall(SYS_setfsuid, (uid_t)-1) != uid)
        return -EPERM;
    *taken = uid + 1;
    if (uid != 0 && !raised)
        ret = creds_raise(true);
    if (ret < 0)
        return ret;
    creds_thread.uid = uid;
    creds_thread.uid_known = true;
    return 0;
}

enum fs_creds_policy fs_creds_choose_policy(int root_fd)
{
    if (geteuid() != 0)
        return FS_CREDS_NONE;
    return fs_kind_is_local(root_fd) ? FS_CREDS_KEEP : FS_CREDS_RESTORE;
}

int fs_creds_switch(enum fs_creds_policy policy, uid_t uid, gid_t gid, mode_t mode,
                    struct fs_creds *ret_creds)
{
    struct fs_creds creds = {.policy = policy};
    int ret = 0;

    if (policy != FS_CREDS_NONE) {
        if (uid == (uid_t)-1 || gid == (gid_t)-1)
            return -EINVAL;
        ret = creds_set_gid(gid);
        if (ret == 0)
            ret = creds_set_uid(uid);
        if (ret == 0 && uid != 0 && (mode & S_ISGID))
            ret = fs_creds_drop_fsetid(&creds);
    }
    if (ret < 0)
        fs_creds_restore(&creds);
    else
        *ret_creds = creds;
    return ret;
}

int fs_creds_drop_fsetid(struct fs_creds *creds)
{
    int ret;

    if (creds->policy == FS_CREDS_NONE || creds->fsetid_dropped)
        return 0;
    ret = creds_raise(false);
    creds->fsetid_dropped = ret == 0;
    return ret;
}

void fs_creds_take_group(struct fs_creds *creds, gid_t group)
{
    if (creds->policy != FS_CREDS_NONE)
        creds->group_taken = syscall(CREDS_SETGROUPS, 1, &group) == 0;
}

void fs_creds_restore(const struct fs_creds *creds)
{
    if (creds->group_taken)
        syscall(CREDS_SETGROUPS, 0, NULL);
    if (creds->fsetid_dropped)
        creds_raise(true);
    if (creds->policy == FS_CREDS_RESTORE) {
        creds_set_uid(0);
        creds_set_gid(0);
    }
}
