/* SPDX-License-Identifier: Apache-2.0 */
/* Options: threads and descriptors. */
#include "virtiofsd/fs-options-rows.h"

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
             "are started as "
             "they are needed; 0: every request waits on its queue's thread."},
    {.name = "rlimit-nofile",
     .is_long = true,
     .type = VU_OPTION_INT,
     FIELD(rlimit_nofile),
     .min = 0,
     .max = 1 << 30,
     .metavar = "N",
     .group = FS_GROUP_LIMITS,
     .help = "Most open descriptors; each file the guest knows takes one. Default: the hard limit, "
             "at most 1,048,576; 0 leaves the limit as it is."},
};
const struct vu_option_table fs_options_of_limits = {.rows = options_limits_rows,
                                                     .n_rows = G_N_ELEMENTS(options_limits_rows)};
