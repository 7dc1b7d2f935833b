/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptor limit and its division between inodes, handles, locks and the daemon; and how many
 * inodes there may be that need no descriptor. Start-up only.
 *
 * A guest's kernel spends more than a KiB on an inode that it knows, we spend 90 bytes; so a
 * sixteenth of the host's memory is enough for guests that use all of the rest, and what a hostile
 * one can make us spend.
 */
#include "virtiofsd/fd-budget.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#include "virtiofsd/fs-options.h"

#define BUDGET_LIMIT_MAX   (1u << 20) /* unless more are asked for by number, or allowed already */
#define BUDGET_LIMIT_MIN   128
#define BUDGET_TABLE_MAX   (1u << 24) /* what our tables are laid out for */
#define BUDGET_RESERVE_MAX 1024

#define BUDGET_INODE_LEN   88         /* about what struct fs_inode and its hash take */
#define BUDGET_INODE_SHARE 16         /* of the host's memory, one part in so many */
#define BUDGET_INODES_MIN  (1u << 20) /* on the smallest host */

static bool budget_set_limit(int rlimit_nofile, struct rlimit *limit, GError **error)
{
    if (getrlimit(RLIMIT_NOFILE, limit) < 0) {
        g_set_error(error, G_FILE_ERROR, 0, "limit of descriptors: %s", g_strerror(errno));
        return false;
    }
    if (rlimit_nofile == 0)
        return true;
    if (rlimit_nofile == FS_NOFILE_MAX) {
        struct rlimit all = {BUDGET_LIMIT_MAX, MAX(limit->rlim_max, BUDGET_LIMIT_MAX)};

        /* Above the hard limit where we may. */
        if (limit->rlim_cur >= all.rlim_cur || setrlimit(RLIMIT_NOFILE, &all) == 0)
            return getrlimit(RLIMIT_NOFILE, limit) == 0;
        limit->rlim_cur = limit->rlim_max;
    } else {
        limit->rlim_cur = (rlim_t)rlimit_nofile;
        limit->rlim_max = MAX(limit->rlim_max, limit->rlim_cur);
    }
    if (setrlimit(RLIMIT_NOFILE, limit) < 0) {
        g_set_error(error, G_FILE_ERROR, 0, "--rlimit-nofile: cannot set %llu descriptors: %s",
                    (unsigned long long)limit->rlim_cur, g_strerror(errno));
        return false;
    }
    return true;
}

static uint32_t budget_max_inodes(void)
{
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t n = memory / BUDGET_INODE_SHARE / BUDGET_INODE_LEN;

    return (uint32_t)CLAMP(n, BUDGET_INODES_MIN, BUDGET_TABLE_MAX);
}

bool fs_fd_budget_take(int rlimit_nofile, struct fs_fd_budget *ret_budget, GError **error)
{
    struct rlimit limit;
    uint32_t n_fds, reserve;

    if (!budget_set_limit(rlimit_nofile, &limit, error))
        return false;
    n_fds = (uint32_t)MIN(limit.rlim_cur, BUDGET_TABLE_MAX);
    if (n_fds < BUDGET_LIMIT_MIN) {
        g_set_error(error, G_FILE_ERROR, 0,
                    "--rlimit-nofile: expected at least %d descriptors, got %u", BUDGET_LIMIT_MIN,
                    n_fds);
        return false;
    }
    reserve = MIN(n_fds / 2, BUDGET_RESERVE_MAX);
    ret_budget->max_handles = (n_fds - reserve) / 4;
    ret_budget->max_lock_owners = (n_fds - reserve) / 16;
    ret_budget->max_mounts = (n_fds - reserve) / 64;
    ret_budget->max_inode_fds = n_fds - reserve - ret_budget->max_handles -
                                ret_budget->max_lock_owners - ret_budget->max_mounts;
    ret_budget->max_inodes = MAX(budget_max_inodes(), ret_budget->max_inode_fds);
    return true;
}
