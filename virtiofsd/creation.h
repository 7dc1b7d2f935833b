/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes round the system call that makes something new for the guest: whose it is, with which
 * permissions, and which security label it bears.
 *
 *   fs_creation_begin      credentials, group, umask and fscreate are the guest user's
 *   the system call        with creation.mode
 *   fs_creation_end        they are ours again
 *   fs_creation_label      where the host's SELinux did not give the label: before the guest hears
 *                          of the object. Undone by the caller on failure.
 *
 * On one thread.
 */
#pragma once

#include "virtiofsd/creds.h"
#include "virtiofsd/extension.h"

struct fs_creation {
    mode_t mode; /* for the system call */
    struct fs_creds creds;
    bool by_fscreate; /* the label is the host's SELinux's to give */
    struct fs_extensions extensions;
};

/*
 * mode and umask as the guest has them; with DONT_MASK, default access control lists of the
 * directory come before the umask. 0; -errno: then nothing is to be made, and neither
 * fs_creation_end nor another is called.
 */
int fs_creation_begin(const struct fs_request *request, mode_t mode, mode_t umask,
                      struct fs_creation *ret_creation);
void fs_creation_end(const struct fs_request *request, const struct fs_creation *creation);

/* Sets the label of what fd (O_PATH will do) stands for, where there is one left to set. 0 or
 * -errno. */
int fs_creation_label(const struct fs_share *share, const struct fs_creation *creation, int fd);

/*
 * Makes a regular file and opens it with flags of open(2); O_EXCL is meant. It bears its label
 * before it has its name, where the file system allows that. A descriptor or -errno. Between begin
 * and end.
 */
int fs_creation_open(const struct fs_share *share, const struct fs_creation *creation, int dir_fd,
                     const char *name, int flags);
