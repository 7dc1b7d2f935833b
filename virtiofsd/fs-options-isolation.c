/* SPDX-License-Identifier: Apache-2.0 */
/* Options: what the process may see and do. */
#include "virtiofsd/fs-options-rows.h"

#include "vhost-user/daemon/sandbox.h"
#include "vhost-user/daemon/seccomp.h"

static bool options_parse_modcaps(void *target, const char *name, const char *value, GError **error)
{
    return vu_capabilities_parse(&((struct fs_options *)target)->modcaps, value, error);
}

static const struct vu_option options_isolation_rows[] = {
    {.name = "sandbox",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CHOICE,
     FIELD(sandbox),
     .choices = vu_sandbox_modes,
     .metavar = "namespace|chroot|none",
     .group = FS_GROUP_ISOLATION,
     .help = "namespace (the default): namespaces of its own, in which the shared directory is all "
             "there is; an ordinary user gets them with a user namespace. chroot: the directory is "
             "the root, for containers where no namespaces can be made; takes root. none: nothing "
             "is hidden from the process."},
    {.name = "seccomp",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CHOICE,
     FIELD(seccomp),
     .choices = vu_seccomp_modes,
     .metavar = "kill|trap|log|none",
     .group = FS_GROUP_ISOLATION,
     .help = "What happens on a system call that serving a share does not take: the process is "
             "killed (the default), or gets SIGSYS; or the call is made and logged; none: there is "
             "no filter."},
    {.name = "modcaps",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_modcaps,
     .metavar = "+CAP|-CAP[:...]",
     .group = FS_GROUP_ISOLATION,
     .help =
         "Changes the capabilities that root keeps, as in +sys_admin:-mknod. Without it: chown, "
         "dac_override, fowner, fsetid, setuid, setgid, mknod and setfcap."},
};
const struct vu_option_table fs_options_of_isolation = {
    .rows = options_isolation_rows, .n_rows = G_N_ELEMENTS(options_isolation_rows)};
