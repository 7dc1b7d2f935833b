/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many descriptors the guest may make us hold. Whatever it opens or looks up, enough are kept
 * back for the daemon's own work: sockets, rings, log, and what a request opens for its duration.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct fs_fd_budget {
    uint32_t max_inode_fds;
    uint32_t max_handles;
    uint32_t max_lock_owners;
    uint32_t max_mounts; /* beyond the share's own */
    uint32_t max_inodes; /* where they can do without a descriptor: by memory, see fd-budget.c */
};

/*
 * Sets the process's limit as --rlimit-nofile says (see struct fs_options) and divides it. False
 * with *error where the limit cannot be set, or is too low to work with.
 */
bool fs_fd_budget_take(int rlimit_nofile, struct fs_fd_budget *ret_budget, GError **error);
