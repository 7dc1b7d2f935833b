/* SPDX-License-Identifier: Apache-2.0 */
/* Options of other daemons that have nothing to say here. */
#include "virtiofsd/fs-options-rows.h"

#include <string.h>

#include "vhost-user/log.h"

static const char *const options_migration_modes[] = {"find-paths", "file-handles", NULL};
static const char *const options_migration_errors[] = {"abort", "guest-error", NULL};

/* A key of a -o list, with or without a value. */
#define IGNORED_KEY(n, why)                                                                  \
    {                                                                                        \
        .name = (n), .in_o_list = true, .type = VU_OPTION_IGNORED, .group = FS_GROUP_COMPAT, \
        .help = (why)                                                                        \
    }

/* Inodes are held by descriptors; with handles the guest would see the same. */
static bool options_parse_file_handles(void *target, const char *name, const char *value,
                                       GError **error)
{
    if (strcmp(value, "never") != 0 && strcmp(value, "prefer") != 0 &&
        strcmp(value, "mandatory") != 0) {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected never, prefer or mandatory, got \"%s\"",
                    value);
        return false;
    }
    if (strcmp(value, "never") != 0)
        vu_info("--%s=%s: inodes are held by descriptors all the same", name, value);
    return true;
}

static const struct vu_option options_compat_rows[] = {
    {.name = "inode-file-handles",
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_file_handles,
     .metavar = "never|prefer|mandatory",
     .group = FS_GROUP_COMPAT,
     .help = "Inodes are held by descriptors in any case."},
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
