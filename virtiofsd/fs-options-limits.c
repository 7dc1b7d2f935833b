/* SPDX-License-Identifier: Apache-2.0 */
/* Options: threads and descriptors. */
#include "virtiofsd/fs-options-rows.h"

#include <string.h>

static const char *const options_inode_handles[] = {
    [FS_INODE_HANDLES_AUTO] = "auto",
    [FS_INODE_HANDLES_NEVER] = "never",
    [FS_INODE_HANDLES_PREFER] = "prefer",
    [FS_INODE_HANDLES_MANDATORY] = "mandatory",
};

static bool options_parse_inode_handles(void *target, const char *name, const char *value,
                                        GError **error)
{
    if (strcmp(value, "fallback") == 0) /* what it was called at first */
        value = options_inode_handles[FS_INODE_HANDLES_PREFER];
    for (size_t i = 0; i < G_N_ELEMENTS(options_inode_handles); i++)
        if (strcmp(value, options_inode_handles[i]) == 0) {
            ((struct fs_options *)target)->inode_handles = (int)i;
            return true;
        }
    g_set_error(error, VU_OPTION_ERROR, 0, "expected auto, never, prefer or mandatory, got \"%s\"",
                value);
    return false;
}

static const struct vu_option options_limits_rows[] = {
    {.name = "num-request-queues",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_INT,
     FIELD(n_request_queues),
     .min = 1,
     .max = FS_MAX_REQUEST_QUEUES,
     .metavar = "N",
     .group = FS_GROUP_LIMITS,
     .help = "Request queues that the configuration space announces (default 1). Each queue has "
             "a thread."},
    {.name = "thread-pool-size",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_INT,
     FIELD(max_helpers),
     .min = 0,
     .max = G_MAXINT,
     .metavar = "N",
     .group = FS_GROUP_LIMITS,
     .help = "Most threads for requests that wait for the disk (default 64, 1024 at most). They "
             "are started as requests wait at the same time, and leave after a second without "
             "work. A queue's own thread that is kept waiting is one of them, and another takes "
             "the queue. 0: every request waits on its queue's thread, and those behind it wait, "
             "too."},
    {.name = "inode-file-handles",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_inode_handles,
     .metavar = "auto|never|prefer|mandatory",
     .group = FS_GROUP_LIMITS,
     .help = "How files are remembered that the guest knows. auto (default): by descriptors and, "
             "where those run out, by file handles, if the kernel lets us open those "
             "(CAP_DAC_READ_SEARCH). never: by descriptors; beyond the limit the guest gets "
             "ENFILE. prefer: by file handles, with a few descriptors at a time; by descriptors "
             "where that cannot be. mandatory: by file handles, or not at all."},
    {.name = "nfs-export",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(nfs_export),
     .group = FS_GROUP_LIMITS,
     .help = "For an NFS server in the guest, and whatever else keeps file handles there "
             "(open_by_handle_at, overlayfs with nfs_export=on): files that the guest's kernel has "
             "forgotten are remembered by file handles, the latest first, so that the guest's "
             "handles of them go on to work until the share is unmounted or the daemon ends."},
    {.name = "state",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_STRING,
     FIELD(state),
     .metavar = "FILE",
     .group = FS_GROUP_LIMITS,
     .help =
         "Keep in FILE what the guest knows and has open, so that it goes on with a daemon that "
         "is started again with the same FILE after a crash, or for an upgrade, if the "
         "front-end connects to that. FILE is best in /run; not in DIR, where the guest could "
         "write to it; and each daemon has its own. Takes file handles (see "
         "--inode-file-handles); files that are open and have no name any more are lost, as "
         "are those of other file systems that are mounted below DIR."},
    {.name = "rlimit-nofile",
     .is_long = true,
     .type = VU_OPTION_INT,
     FIELD(rlimit_nofile),
     .min = 0,
     .max = 1 << 30,
     .metavar = "N",
     .group = FS_GROUP_LIMITS,
     .help = "Most open descriptors; see --inode-file-handles. Default: the hard limit, "
             "at most 1,048,576; 0 leaves the limit as it is."},
};
const struct vu_option_table fs_options_of_limits = {.rows = options_limits_rows,
                                                     .n_rows = G_N_ELEMENTS(options_limits_rows)};
