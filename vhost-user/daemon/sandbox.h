/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a daemon works from: a root of its own, beside which there is nothing.
 *
 *   namespace   mount, pid, net and ipc namespaces, and a user namespace where we are not allowed
 *               to make them without (or ids are to be mapped); pivot_root to the directory, which
 *               is mounted nodev, nosuid, noexec; the rest of the host's tree is unmounted
 *   chroot      chroot to the directory, for containers whose runtime made the namespaces
 *   none        the host's tree; descriptors and capabilities are limited all the same
 *
 * In the first two modes the daemon is a child, and the process that was started stays outside: it
 * passes SIGTERM and the like on, removes the socket file and ends as the child did, or without it
 * where the kernel does not let it go (supervise.h). The child does not outlive it otherwise.
 *
 * Start-up only, in the main thread, before any other exists.
 */
#pragma once

#include <stdbool.h>

#include "vhost-user/daemon/id-map.h"

enum vu_sandbox_mode { VU_SANDBOX_NAMESPACE, VU_SANDBOX_CHROOT, VU_SANDBOX_NONE };
extern const char *const vu_sandbox_modes[]; /* their names, for a row of options */

struct vu_sandbox_options {
    const char *program; /* for messages */
    enum vu_sandbox_mode mode;
    const char *root; /* the directory; NULL: an empty one, not for chroot */
    const struct vu_id_map *uid_map,
        *gid_map;   /* of a user namespace; NULL or empty: none asked for */
    bool readonly;  /* namespace: nothing below the directory can be written, nor times of access */
    const int *fds; /* of the daemon alone, besides its socket: closed outside; -1 is passed over */
    unsigned n_fds;
};

struct vu_sandbox {
    int root_fd;  /* O_PATH of the directory, whatever "/" means now */
    int proc_fds; /* O_PATH of our own /proc/self/fd; in a namespace nothing else of /proc is there
                   */
};

/*
 * Enters the sandbox. True in the process that is to serve, with *ret_sandbox for it to close.
 * False in the process that stayed outside, after the daemon has ended, and where the sandbox
 * cannot be had (one line on stderr says which option helps): *ret_exit_status is main's. socket_fd
 * and the options' fds are closed outside.
 */
bool vu_sandbox_enter(const struct vu_sandbox_options *options, int socket_fd,
                      struct vu_sandbox *ret_sandbox, int *ret_exit_status);
void vu_sandbox_clear(struct vu_sandbox *sandbox);
