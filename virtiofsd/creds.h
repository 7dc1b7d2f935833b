/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calling thread takes on the guest user's fsuid and fsgid while it creates something, so that
 * the host's own rules of ownership (setgid directories, quotas) apply. Nothing is called for uid 0
 * and gid 0, or when we are not root.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct fs_creds {
    bool switched;
};

/* 0, or -EPERM where the kernel refuses. fs_creds_restore undoes it, on the same thread. */
int fs_creds_switch(bool switch_creds, uid_t uid, gid_t gid, struct fs_creds *ret_creds);
void fs_creds_restore(const struct fs_creds *creds);
