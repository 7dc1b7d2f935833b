/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of options and the checks between them.
 */
#include "virtiofsd/fs-options.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "vhost-user/daemon/sandbox.h"
#include "vhost-user/daemon/seccomp.h"
#include "vhost-user/log.h"

#define GROUP_SHARE     "Shared directory"
#define GROUP_ISOLATION "Isolation"
#define GROUP_CACHE     "Caching in the guest"
#define GROUP_LIMITS    "Threads and limits"
#define GROUP_COMPAT    "Accepted for compatibility"

static const struct options_cache {
    const char *name;
    enum fs_cache mode;
    double timeout; /* seconds */
} options_caches[] = {
    {"never", FS_CACHE_NEVER, 0},       {"none", FS_CACHE_NEVER, 0},
    {"auto", FS_CACHE_AUTO, 1},         {"metadata", FS_CACHE_METADATA, 86400},
    {"always", FS_CACHE_ALWAYS, 86400},
};

static bool options_parse_cache(void *target, const char *name, const char *value, GError **error)
{
    struct fs_options *options = target;

    for (size_t i = 0; i < G_N_ELEMENTS(options_caches); i++)
        if (strcmp(options_caches[i].name, value) == 0) {
            options->cache = (int)options_caches[i].mode;
            return true;
        }
    g_set_error(error, VU_OPTION_ERROR, 0,
                "expected never (or none), metadata, auto or always, got \"%s\"", value);
    return false;
}

static bool options_parse_timeout(void *target, const char *name, const char *value, GError **error)
{
    struct fs_options *options = target;
    char *end = NULL;
    double seconds = g_ascii_strtod(value, &end);

    if (end == value || *end != '\0' || !isfinite(seconds) || seconds < 0 || seconds > 1e9) {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected seconds from 0 to 1e9, got \"%s\"", value);
        return false;
    }
    options->timeout = seconds;
    return true;
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

static bool options_parse_modcaps(void *target, const char *name, const char *value, GError **error)
{
    return vu_capabilities_parse(&((struct fs_options *)target)->modcaps, value, error);
}

static bool options_parse_id_map(void *target, const char *name, const char *value, GError **error)
{
    struct fs_options *options = target;

    return vu_id_map_add(name[0] == 'u' ? &options->uid_map : &options->gid_map, value, error);
}

#define FIELD(member) .offset = offsetof(struct fs_options, member)
#define IGNORED(n, why)                                                                   \
    {                                                                                     \
        .name = (n), .in_o_list = true, .type = VU_OPTION_IGNORED, .group = GROUP_COMPAT, \
        .help = (why)                                                                     \
    }

const struct vu_option fs_option_rows[] = {
    {.name = "shared-dir",
     .is_long = true,
     .type = VU_OPTION_STRING,
     FIELD(source),
     .metavar = "DIR",
     .group = GROUP_SHARE,
     .help = "The directory to share."},
    {.name = "source",
     .in_o_list = true,
     .type = VU_OPTION_STRING,
     FIELD(source),
     .metavar = "DIR",
     .group = GROUP_SHARE,
     .help = "The same as --shared-dir."},
    {.name = "tag",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_STRING,
     FIELD(tag),
     .metavar = "TAG",
     .group = GROUP_SHARE,
     .help = "The name under which the guest mounts the share, at most 36 bytes. Only needed where "
             "the VMM does not give the tag itself."},
    {.name = "announce-submounts",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(announce_submounts),
     .group = GROUP_SHARE,
     .help = "Show file systems that are mounted below the directory as file systems of their own "
             "(the default), so that inode numbers of different ones are not taken for the same."},
    {.name = "no-announce-submounts",
     .is_long = true,
     .type = VU_OPTION_NO_FLAG,
     FIELD(announce_submounts),
     .group = GROUP_SHARE,
     .help = "Show everything as one file system."},
    {.name = "posix-lock",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(posix_lock),
     .group = GROUP_SHARE,
     .help = "Record locks (fcntl) of the guest are locks of the host: other guests and the host's "
             "programs see them, and the guest sees theirs. Without this they count within the "
             "guest alone (the default). Data that several change under a lock needs "
             "--cache=never as well."},
    {.name = "flock",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(flock),
     .group = GROUP_SHARE,
     .help = "The same for flock(2)."},
    {.name = "sandbox",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CHOICE,
     FIELD(sandbox),
     .choices = vu_sandbox_modes,
     .metavar = "namespace|chroot|none",
     .group = GROUP_ISOLATION,
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
     .group = GROUP_ISOLATION,
     .help = "What happens on a system call that serving a share does not take: the process is "
             "killed (the default), or gets SIGSYS; or the call is made and logged; none: there is "
             "no filter."},
    {.name = "modcaps",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_modcaps,
     .metavar = "+CAP|-CAP[:...]",
     .group = GROUP_ISOLATION,
     .help =
         "Changes the capabilities that root keeps, as in +sys_admin:-mknod. Without it: chown, "
         "dac_override, fowner, fsetid, setuid, setgid, mknod and setfcap."},
    {.name = "uid-map",
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_id_map,
     .metavar = ":GUEST:HOST:COUNT:",
     .group = GROUP_ISOLATION,
     .help =
         "Serve from a user namespace in which COUNT user ids from GUEST on are those from HOST "
         "on. May be given again. An ordinary user needs newuidmap(1) and a range in "
         "/etc/subuid. Without it, an ordinary user's own id is the only one."},
    {.name = "gid-map",
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_id_map,
     .metavar = ":GUEST:HOST:COUNT:",
     .group = GROUP_ISOLATION,
     .help = "The same for group ids."},

    {.name = "cache",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_cache,
     .metavar = "never|metadata|auto|always",
     .group = GROUP_CACHE,
     .help = "never (or none): every access asks the host; metadata: names and attributes are kept "
             "for a day, data is not; auto (the default): names and attributes are kept for a "
             "second, data as long as the file does not change; always: everything is kept, for "
             "directories that only this guest changes."},
    {.name = "timeout",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_timeout,
     .metavar = "SECONDS",
     .group = GROUP_CACHE,
     .help = "How long the guest may keep names and attributes, instead of what --cache says."},
    {.name = "readdirplus",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(readdirplus),
     .group = GROUP_CACHE,
     .help = "Hand out attributes along with names when a directory is read (the default, where "
             "the guest may cache them)."},
    {.name = "no-readdirplus",
     .is_long = true,
     .type = VU_OPTION_NO_FLAG,
     FIELD(readdirplus),
     .group = GROUP_CACHE,
     .help = "Hand out names alone."},
    {.name = "allow-mmap",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(allow_mmap),
     .group = GROUP_CACHE,
     .help = "Allow shared mappings of files with --cache=never and metadata too. What is mapped "
             "is then cached."},

    {.name = "num-request-queues",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_INT,
     FIELD(n_request_queues),
     .min = 1,
     .max = FS_MAX_REQUEST_QUEUES,
     .metavar = "N",
     .group = GROUP_LIMITS,
     .help = "Request queues that the configuration space announces (default 1). Each queue has "
             "a thread."},
    {.name = "thread-pool-size",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_INT,
     FIELD(max_helpers),
     .min = 0,
     .max = 1024,
     .metavar = "N",
     .group = GROUP_LIMITS,
     .help = "Most threads for requests that wait for the disk (default 64). They are started as "
             "they are needed; 0: every request waits on its queue's thread."},
    {.name = "rlimit-nofile",
     .is_long = true,
     .type = VU_OPTION_INT,
     FIELD(rlimit_nofile),
     .min = 0,
     .max = 1 << 30,
     .metavar = "N",
     .group = GROUP_LIMITS,
     .help = "Most open descriptors; each file the guest knows takes one. Default: the hard limit, "
             "at most 1,048,576; 0 leaves the limit as it is."},
    {.name = "inode-file-handles",
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_file_handles,
     .metavar = "never|prefer|mandatory",
     .group = GROUP_COMPAT,
     .help = "Inodes are held by descriptors in any case."},
    {.name = "writeback",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_IGNORED,
     .group = GROUP_COMPAT,
     .help = "Writes go to the host at once in any case."},
    {.name = "killpriv-v2",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_IGNORED,
     .group = GROUP_COMPAT,
     .help = "Setuid and setgid bits are cleared in any case."},
    {.name = "no-killpriv-v2",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_IGNORED,
     .group = GROUP_COMPAT,
     .help = "Setuid and setgid bits are cleared in any case."},
    IGNORED("no_writeback", "The only way there is."),
    IGNORED("no_xattr", "The only way there is."),
    IGNORED("no_posix_acl", "The only way there is."),
    IGNORED("no_security_label", "The only way there is."),
    IGNORED("max_idle_threads", "See --thread-pool-size."),
};
const size_t fs_n_option_rows = G_N_ELEMENTS(fs_option_rows);

void fs_options_init(struct fs_options *options)
{
    *options = (struct fs_options){
        .cache = FS_CACHE_AUTO,
        .timeout = -1,
        .readdirplus = true,
        .announce_submounts = true,
        .n_request_queues = 1,
        .max_helpers = 64,
        .rlimit_nofile = FS_NOFILE_MAX,
    };
}

void fs_options_clear(struct fs_options *options)
{
    g_clear_pointer(&options->source, g_free);
    g_clear_pointer(&options->tag, g_free);
    vu_id_map_clear(&options->uid_map);
    vu_id_map_clear(&options->gid_map);
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
    if (options->tag && !g_utf8_validate(options->tag, -1, NULL)) {
        g_set_error_literal(error, VU_OPTION_ERROR, 0, "--tag: expected UTF-8, got other bytes");
        return false;
    }
    return true;
}

double fs_options_timeout(const struct fs_options *options)
{
    if (options->timeout >= 0)
        return options->timeout;
    for (size_t i = 0; i < G_N_ELEMENTS(options_caches); i++)
        if ((int)options_caches[i].mode == options->cache)
            return options_caches[i].timeout;
    return 0;
}
