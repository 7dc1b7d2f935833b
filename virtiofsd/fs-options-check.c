/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What options have to be together, and what some of them mean for others. Start-up.
 */
#include <glib.h>
#include <linux/xattr.h>
#include <stdlib.h>
#include <string.h>

#include "vhost-user/daemon/sandbox.h"
#include "virtiofsd/fs-options.h"

/* Access control lists only work where the host's file system knows them for what they are. */
static bool check_acl_names(const struct fs_options *options, GError **error)
{
    static const char *const names[] = {XATTR_NAME_POSIX_ACL_ACCESS, XATTR_NAME_POSIX_ACL_DEFAULT};
    char host_name[XATTR_NAME_MAX + 1];

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        const char *guest_name;

        if (fs_xattrmap_to_host(options->xattrmap, names[i], host_name) == 0 &&
            strcmp(names[i], host_name) == 0) {
            guest_name = fs_xattrmap_to_guest(options->xattrmap, names[i]);
            if (guest_name && strcmp(names[i], guest_name) == 0)
                continue;
        }
        g_set_error(error, VU_OPTION_ERROR, 0,
                    "--posix-acl: expected %s as it is in --xattrmap, got rules that rename or "
                    "refuse it (put :ok:all:system.posix_acl_:system.posix_acl_: first)",
                    names[i]);
        return false;
    }
    return true;
}

static bool check_xattr(const struct fs_options *options, GError **error)
{
    const char *needs = options->xattrmap         ? "--xattrmap"
                        : options->posix_acl      ? "--posix-acl"
                        : options->security_label ? "--security-label"
                                                  : NULL;

    if (options->xattr == 0 && needs) {
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: expected extended attributes, got no_xattr",
                    needs);
        return false;
    }
    return !options->posix_acl || check_acl_names(options, error);
}

/* Whether one of two paths without links is the other, or below it. */
static bool check_is_below(const char *path, const char *top)
{
    size_t len = strlen(top);

    return strcmp(top, "/") == 0 ||
           (strncmp(path, top, len) == 0 && (path[len] == '/' || path[len] == '\0'));
}

/* Who writes to the file of --state says what the guest can open. */
static bool check_state_place(const struct fs_options *options, GError **error)
{
    g_autofree char *dir = g_path_get_dirname(options->state), *real_dir = realpath(dir, NULL),
                    *source = realpath(options->source, NULL);

    if (options->readonly || !real_dir || !source || !check_is_below(real_dir, source))
        return true;
    g_set_error(error, VU_OPTION_ERROR, 0,
                "--state: expected a file outside of the shared directory, where the guest cannot "
                "write to it, got %s",
                options->state);
    return false;
}

/* Locks are held by descriptors, which end with us: the guest would believe that it has them. */
static bool check_state(const struct fs_options *options, GError **error)
{
    const char *against = !options->state       ? NULL
                          : options->posix_lock ? "--posix-lock"
                          : options->flock      ? "--flock"
                          : options->inode_handles == FS_INODE_HANDLES_NEVER
                              ? "--inode-file-handles=never"
                              : NULL;

    if (against)
        g_set_error(error, VU_OPTION_ERROR, 0, "--state: cannot be had with %s", against);
    return !against && (!options->state || check_state_place(options, error));
}

bool fs_options_check(const struct fs_options *options, GError **error)
{
    if (!options->source) {
        g_set_error_literal(error, VU_OPTION_ERROR, 0,
                            "--shared-dir: expected a directory to share, got none");
        return false;
    }
    if (options->tag && strlen(options->tag) > FS_TAG_MAX) {
        g_set_error(error, VU_OPTION_ERROR, 0, "--tag: expected at most %d bytes, got %zu",
                    FS_TAG_MAX, strlen(options->tag));
        return false;
    }
    if (options->sandbox != VU_SANDBOX_NAMESPACE &&
        (options->uid_map.n_ranges > 0 || options->gid_map.n_ranges > 0)) {
        g_set_error_literal(error, VU_OPTION_ERROR, 0,
                            "--uid-map, --gid-map: expected --sandbox=namespace with them");
        return false;
    }
    if (options->nfs_export && options->inode_handles == FS_INODE_HANDLES_NEVER) {
        g_set_error_literal(error, VU_OPTION_ERROR, 0,
                            "--nfs-export: expected file handles, got --inode-file-handles=never");
        return false;
    }
    if (options->tag && !g_utf8_validate(options->tag, -1, NULL)) {
        g_set_error_literal(error, VU_OPTION_ERROR, 0, "--tag: expected UTF-8, got other bytes");
        return false;
    }
    return check_state(options, error) && check_xattr(options, error);
}

bool fs_options_xattr(const struct fs_options *options)
{
    if (options->xattr >= 0)
        return options->xattr;
    return options->xattrmap || options->posix_acl || options->security_label;
}

bool fs_options_killpriv(const struct fs_options *options)
{
    return options->killpriv_v2 != 0;
}
