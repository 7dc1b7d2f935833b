/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calling thread takes on the guest user's fsuid and fsgid while it creates something, so that
 * the host's own rules of ownership (setgid directories, quotas) apply.
 *
 * A change of credentials costs more than creating a file, so a thread keeps those of its last
 * creator where nothing but ownership depends on them: the capabilities that root has over files
 * stay in effect (the guest has checked access already, with supplementary groups that we do not
 * know). Where a server judges by our uid (NFS and its like), root comes back after each request.
 * CAP_FSETID alone is given up while a user creates a file with a setgid bit, which the kernel then
 * clears unless the group is the user's own.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

enum fs_creds_policy {
    FS_CREDS_NONE,    /* we are not root: everything is created as ourselves */
    FS_CREDS_KEEP,    /* stay with the last creator's */
    FS_CREDS_RESTORE, /* back to root after each request */
};

struct fs_creds {
    enum fs_creds_policy policy;
    bool fsetid_dropped;
    bool group_taken;
};

/* What suits us and the file system of the shared directory. */
enum fs_creds_policy fs_creds_choose_policy(int root_fd);
/*
 * Before creating with `mode` (as it goes to the host). 0, or -EPERM, -EINVAL where the kernel
 * refuses the ids: then nothing is to be created. fs_creds_restore follows on the same thread.
 */
int fs_creds_switch(enum fs_creds_policy policy, uid_t uid, gid_t gid, mode_t mode,
                    struct fs_creds *ret_creds);
/*
 * Beside them, the calling thread has a supplementary group until fs_creds_restore. Where the
 * kernel refuses that it does without: it may only do less then.
 */
void fs_creds_take_group(struct fs_creds *creds, gid_t group);
/*
 * Until fs_creds_restore, the calling thread has no CAP_FSETID: setgid bits of files of other
 * groups go as they do for a user. 0 or -errno.
 */
int fs_creds_drop_fsetid(struct fs_creds *creds);
void fs_creds_restore(const struct fs_creds *creds);
