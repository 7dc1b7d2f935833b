/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared directory as one object: options, what INIT negotiated, inodes, handles, helpers. Made
 * by main, used by every thread. Fields without a lock are fixed before the first request, or by
 * INIT.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "vhost-user/helpers.h"
#include "virtiofsd/counters.h"
#include "virtiofsd/creds.h"
#include "virtiofsd/directory-stream.h"
#include "virtiofsd/fd-budget.h"
#include "virtiofsd/fs-options.h"
#include "virtiofsd/handle.h"
#include "virtiofsd/inode.h"
#include "virtiofsd/state-file.h"

struct fs_locks;

/* What INIT settled; written by INIT, read by every request. */
struct fs_negotiated {
    uint64_t flags; /* atomic: FUSE_* of both words, as agreed; see fs_share_negotiated */
    bool done;      /* atomic: INIT was answered, DESTROY not yet seen */
};

struct fs_share {
    const struct fs_options *options;
    struct fs_inodes *inodes;
    struct fs_handles *handles;
    struct vu_helpers *helpers;
    struct fs_locks *locks;      /* NULL: the guest's locks are its own affair */
    struct fs_state_file *state; /* NULL: none. Main's */
    bool awaits_guest;           /* atomic: a predecessor's has not come back yet */
    bool restricted;             /* fs_permit_request has something to say */
    struct fs_negotiated negotiated;
    struct fs_counters counters;
    struct fs_directory_streams streams;
    uint64_t n_opens_kept;         /* atomic: OPENs after which the guest's cache is still good */
    uint32_t slow_metadata;        /* atomic: see pace.h */
    uint32_t doubt_metadata;       /* likewise */
    uint32_t versioned_dev;        /* see unchanged.h; 0: nothing to compare */
    struct timespec entry_timeout; /* how long the guest may keep names, */
    struct timespec attr_timeout;  /* ... attributes, */
    struct timespec negative_timeout; /* ... and that a name is not there */
    int proc_fds;    /* O_PATH of /proc/self/fd: how O_PATH descriptors are opened for real */
    int label_tasks; /* O_PATH of our threads in /proc, where the host's SELinux labels new files;
                        else -1 */
    char *capability_name; /* what the guest's security.capability is called on the host; NULL:
                              the same, so that the host's kernel looks after it, or not at all */
    enum fs_creds_policy creds_policy; /* fs_creds_choose_policy(root) */
    bool warned_of_acls;               /* atomic: of announced mount points, once */
    uint32_t refuse_nowait[2];         /* atomic hints, reads and writes: how many more open files
                                          are taken to refuse RWF_NOWAIT because one did */
};

/* What main has got ready, from outside a sandbox or inside. The descriptors stay the caller's. */
struct fs_share_place {
    int root_fd;  /* O_PATH of the directory */
    int proc_fds; /* O_PATH of /proc/self/fd */
    struct fs_fd_budget budget;
    struct fs_state_file *state; /* --state, or NULL; closed after the share */
};

/* Whether the directory that options name can be read. False with one clear line in *error:
 * missing, no directory, not permitted. */
bool fs_share_check_source(const struct fs_options *options, GError **error);
bool fs_share_open(struct fs_share *share, const struct fs_options *options,
                   const struct fs_share_place *place, GError **error);
/* The guest is gone (or says DESTROY): handles closed, inodes forgotten, INIT to be done again. */
void fs_share_reset(struct fs_share *share);
/* The daemon ends, and its guest does not: a reset, but for what a successor finds (state-file.h).
 * All rings are stopped. */
void fs_share_leave(struct fs_share *share);
void fs_share_close(struct fs_share *share);

/*
 * Opens what the O_PATH descriptor fd stands for, with flags of open(2). Returns a descriptor or
 * -errno. The caller has made sure that it is of a kind that can be opened without harm: a regular
 * file or a directory, never a device or a FIFO.
 */
int fs_share_reopen(const struct fs_share *share, int fd, int flags);

/* Whether a FUSE_* flag was agreed on. A hostile guest may send INIT beside other requests. */
static inline bool fs_share_negotiated(const struct fs_share *share, uint64_t flag)
{
    return __atomic_load_n(&share->negotiated.flags, __ATOMIC_RELAXED) & flag;
}

static inline bool fs_share_is_initialised(const struct fs_share *share)
{
    return __atomic_load_n(&share->negotiated.done, __ATOMIC_ACQUIRE);
}
