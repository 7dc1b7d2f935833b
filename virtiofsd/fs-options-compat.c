/* SPDX-License-Identifier: Apache-2.0 */
/* Options of other daemons that have nothing to say here. */
#include "virtiofsd/fs-options-rows.h"

static const char *const options_migration_modes[] = {"find-paths", "file-handles", NULL};
static const char *const options_migration_errors[] = {"abort", "guest-error", NULL};

/* A key of a -o list, with or without a value. */
#define IGNORED_KEY(n, why)                                                                  \
    {                                                                                        \
        .name = (n), .in_o_list = true, .type = VU_OPTION_IGNORED, .group = FS_GROUP_COMPAT, \
        .help = (why)                                                                        \
    }

static const struct vu_option options_compat_rows[] = {
    {.name = "migration-mode",
     .is_long = true,
     .type = VU_OPTION_IGNORED,
     .choices = options_migration_modes,
     .metavar = "find-paths|file-handles",
     .group = FS_GROUP_COMPAT,
     .help = "A share does not move to another host yet."},
    {.name = "migration-on-error",
     .is_long = true,
     .type = VU_OPTION_IGNORED,
     .choices = options_migration_errors,
     .metavar = "abort|guest-error",
     .group = FS_GROUP_COMPAT,
     .help = "See --migration-mode."},
    {.name = "migration-verify-handles",
     .is_long = true,
     .type = VU_OPTION_IGNORED,
     .group = FS_GROUP_COMPAT,
     .help = "See --migration-mode."},
    {.name = "migration-confirm-paths",
     .is_long = true,
     .type = VU_OPTION_IGNORED,
     .group = FS_GROUP_COMPAT,
     .help = "See --migration-mode."},
    IGNORED_KEY("max_idle_threads", "See --thread-pool-size."),
    IGNORED_KEY("norace", "There are no racy ways to be forbidden."),
    IGNORED_KEY("allow_root", "Who may use the share is for the guest to say; so with allow_other, "
                              "default_permissions, fsname, subtype, max_read and max_write."),
    IGNORED_KEY("allow_other", NULL),
    IGNORED_KEY("default_permissions", NULL),
    IGNORED_KEY("fsname", NULL),
    IGNORED_KEY("subtype", NULL),
    IGNORED_KEY("max_read", NULL),
    IGNORED_KEY("max_write", NULL),
};
const struct vu_option_table fs_options_of_compat = {.rows = options_compat_rows,
                                                     .n_rows = G_N_ELEMENTS(options_compat_rows)};
