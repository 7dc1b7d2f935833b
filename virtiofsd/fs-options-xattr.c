/* SPDX-License-Identifier: Apache-2.0 */
/* Options: extended attributes and what hangs on them. */
#include <string.h>

#include "virtiofsd/fs-options-rows.h"

/* A switch that has a default of its own where it is not named: NAME, or no_NAME. */
static bool options_parse_switch(int *target, const char *name, const char *value, GError **error)
{
    if (value) {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected no value, got \"%s\"", value);
        return false;
    }
    *target = !g_str_has_prefix(name, "no");
    return true;
}

static bool options_parse_xattr(void *target, const char *name, const char *value, GError **error)
{
    return options_parse_switch(&((struct fs_options *)target)->xattr, name, value, error);
}

static bool options_parse_killpriv(void *target, const char *name, const char *value,
                                   GError **error)
{
    return options_parse_switch(&((struct fs_options *)target)->killpriv_v2, name, value, error);
}

/* NAME, no_NAME or NAME=never|auto|always. */
static bool options_parse_negotiation(int *target, const char *name, const char *value,
                                      GError **error)
{
    static const char *const words[] = {
        [FS_NEVER] = "never", [FS_ALWAYS] = "always", [FS_AUTO] = "auto"};

    if (!value)
        value = words[g_str_has_prefix(name, "no") ? FS_NEVER : FS_ALWAYS];
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
        if (strcmp(words[i], value) == 0) {
            *target = (int)i;
            return true;
        }
    g_set_error(error, VU_OPTION_ERROR, 0, "expected never, auto or always, got \"%s\"", value);
    return false;
}

static bool options_parse_posix_acl(void *target, const char *name, const char *value,
                                    GError **error)
{
    return options_parse_negotiation(&((struct fs_options *)target)->posix_acl, name, value, error);
}

static bool options_parse_label(void *target, const char *name, const char *value, GError **error)
{
    return options_parse_negotiation(&((struct fs_options *)target)->security_label, name, value,
                                     error);
}

static bool options_parse_xattrmap(void *target, const char *name, const char *value,
                                   GError **error)
{
    struct fs_options *options = target;
    struct fs_xattrmap *map = fs_xattrmap_parse(value, error);

    if (!map)
        return false;
    fs_xattrmap_free(options->xattrmap);
    options->xattrmap = map;
    return true;
}

static const struct vu_option options_xattr_rows[] = {
    {.name = "xattr",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .value_optional = true,
     .parse = options_parse_xattr,
     .group = FS_GROUP_XATTR,
     .help = "Let the guest use extended attributes. Off by default. Those of root, trusted.* and "
             "security.* (but for capabilities), take --modcaps=+sys_admin, too."},
    {.name = "no_xattr",
     .in_o_list = true,
     .type = VU_OPTION_CALL,
     .value_optional = true,
     .parse = options_parse_xattr,
     .group = FS_GROUP_XATTR,
     .help = "No extended attributes."},
    {.name = "xattrmap",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_xattrmap,
     .metavar = "RULES",
     .group = FS_GROUP_XATTR,
     .help = "How the guest's extended attributes are called on the host, by rules "
             ":TYPE:SCOPE:KEY:PREPEND: with white space between them, of which the first that "
             "matches counts. TYPE is prefix (a guest's name that begins with KEY gets PREPEND in "
             "front, a host's name loses it), ok (it stays as it is), bad (refused with EPERM, not "
             "listed) or unsupported (refused with EOPNOTSUPP, not listed). SCOPE is client (names "
             "of the guest, by KEY), server (names of the host, by PREPEND) or all. The last rules "
             "have to match everything, like :bad:all:::. Any character may stand for the colon. "
             "The common case has a short form, as the last rule: :map:KEY:PREPEND:, for instance "
             ":map::user.virtiofs.:. Implies --xattr."},
    {.name = "posix-acl",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .value_optional = true,
     .parse = options_parse_posix_acl,
     .metavar = "never|auto|always",
     .group = FS_GROUP_XATTR,
     .help =
         "Let the guest use, and obey, POSIX access control lists. Implies --xattr. always, which "
         "is meant where no word follows: guests that know none are refused; auto: they do "
         "without. Linux has them in announced submounts only with --no-announce-submounts."},
    {.name = "no_posix_acl",
     .in_o_list = true,
     .type = VU_OPTION_CALL,
     .value_optional = true,
     .parse = options_parse_posix_acl,
     .group = FS_GROUP_XATTR},
    {.name = "security-label",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .value_optional = true,
     .parse = options_parse_label,
     .metavar = "never|auto|always",
     .group = FS_GROUP_XATTR,
     .help = "Give files the security label (of SELinux) that the guest says when it creates them. "
             "Implies --xattr. The words as for --posix-acl."},
    {.name = "no_security_label",
     .in_o_list = true,
     .type = VU_OPTION_CALL,
     .value_optional = true,
     .parse = options_parse_label,
     .group = FS_GROUP_XATTR},
    {.name = "killpriv-v2",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .value_optional = true,
     .parse = options_parse_killpriv,
     .group = FS_GROUP_XATTR,
     .help = "Take setuid and setgid bits and capabilities from files that are written, cut or "
             "given away, so that the guest need not look at them before each write and each "
             "change of owner (the default)."},
    {.name = "no-killpriv-v2",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .value_optional = true,
     .parse = options_parse_killpriv,
     .group = FS_GROUP_XATTR,
     .help = "Leave that to the guest."},
};
const struct vu_option_table fs_options_of_xattr = {.rows = options_xattr_rows,
                                                    .n_rows = G_N_ELEMENTS(options_xattr_rows)};
