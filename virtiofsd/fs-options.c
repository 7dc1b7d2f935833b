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
#define GROUP_XATTR     "Extended attributes and permissions"
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

static bool options_parse_translate_uid(void *target, const char *name, const char *value,
                                        GError **error)
{
    return fs_idmap_add(&((struct fs_options *)target)->translate_uid, value, error);
}

static bool options_parse_translate_gid(void *target, const char *name, const char *value,
                                        GError **error)
{
    return fs_idmap_add(&((struct fs_options *)target)->translate_gid, value, error);
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
    {.name = "readonly",
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(readonly),
     .group = GROUP_SHARE,
     .help = "The guest cannot change anything: whatever would is answered EROFS."},
    {.name = "preserve-noatime",
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(preserve_noatime),
     .group = GROUP_SHARE,
     .help = "A file that the guest opens with O_NOATIME is opened so on the host too, where we "
             "have the right to. Without this its time of access is the host's to keep."},
    {.name = "translate-uid",
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_translate_uid,
     .metavar = "TYPE:SOURCE:TARGET:COUNT",
     .group = GROUP_SHARE,
     .help =
         "COUNT user ids from SOURCE on stand for those from TARGET on. guest: those of the guest, "
         "where it creates or changes owners; host: those of the host, as the guest sees them; "
         "map: the guest's for the host's and back; squash-guest, squash-host: all COUNT stand for "
         "TARGET alone; forbid-guest:SOURCE:COUNT: they can neither own nor change anything "
         "through operations on names and attributes (EPERM). An id that no rule is about stands "
         "for itself. May be given again, for other ids."},
    {.name = "translate-gid",
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_translate_gid,
     .metavar = "TYPE:SOURCE:TARGET:COUNT",
     .group = GROUP_SHARE,
     .help = "The same for group ids."},
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

    {.name = "xattr",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .value_optional = true,
     .parse = options_parse_xattr,
     .group = GROUP_XATTR,
     .help = "Let the guest use extended attributes. Off by default. Those of root, trusted.* and "
             "security.* (but for capabilities), take --modcaps=+sys_admin, too."},
    {.name = "no_xattr",
     .in_o_list = true,
     .type = VU_OPTION_CALL,
     .value_optional = true,
     .parse = options_parse_xattr,
     .group = GROUP_XATTR,
     .help = "No extended attributes."},
    {.name = "xattrmap",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_xattrmap,
     .metavar = "RULES",
     .group = GROUP_XATTR,
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
     .type = VU_OPTION_FLAG,
     FIELD(posix_acl),
     .group = GROUP_XATTR,
     .help = "Let the guest use, and obey, POSIX access control lists. Implies --xattr."},
    {.name = "security-label",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(security_label),
     .group = GROUP_XATTR,
     .help = "Give files the security label (of SELinux) that the guest says when it creates them. "
             "Implies --xattr."},
    {.name = "killpriv-v2",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .value_optional = true,
     .parse = options_parse_killpriv,
     .group = GROUP_XATTR,
     .help = "Take setuid and setgid bits and capabilities from files that are written, cut or "
             "given away, so that the guest need not look at them before each write. The default "
             "with --xattr, and where the guest keeps no data."},
    {.name = "no-killpriv-v2",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .value_optional = true,
     .parse = options_parse_killpriv,
     .group = GROUP_XATTR,
     .help = "Leave that to the guest."},

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
    IGNORED("no_writeback", "The only way there is."),
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
        .xattr = -1,
        .killpriv_v2 = -1,
        .n_request_queues = 1,
        .max_helpers = 64,
        .rlimit_nofile = FS_NOFILE_MAX,
    };
}

void fs_options_clear(struct fs_options *options)
{
    g_clear_pointer(&options->source, g_free);
    g_clear_pointer(&options->tag, g_free);
    fs_idmap_clear(&options->translate_uid);
    fs_idmap_clear(&options->translate_gid);
    vu_id_map_clear(&options->uid_map);
    vu_id_map_clear(&options->gid_map);
    g_clear_pointer(&options->xattrmap, fs_xattrmap_free);
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
