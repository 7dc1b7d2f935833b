/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of vhost-user-mount as one table, and what must hold between them.
 */
#include "contrib/mount/mount-options.h"

#include <stdio.h>
#include <string.h>

#include "vhost-user/daemon/options-words.h"
#include "vhost-user/daemon/options.h"
#include "vhost-user/log.h"

#define OFFSET(field) offsetof(struct mount_options, field)
#define GROUP_MOUNT   "Mount options (-o)"
#define GROUP_QUEUES  "Queues"
#define GROUP_BACKEND "Back-end"
#define GROUP_OTHER   "Other"

static const char mount_usage[] = "vhost-user-mount SOCKET DIR [OPTION]...";

static const char *const mount_log_levels[] = {"error", "warn", "info", "debug", NULL};

/* Options of the mount are libfuse's and the kernel's: passed on as they are. */
static bool mount_pass_on(void *target, const char *name, const char *value, GError **error)
{
    struct mount_options *options = target;

    if (value && (strchr(value, '\\') || value[0] == '\0')) {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected a value without backslashes, got \"%s\"",
                    value);
        return false;
    }
    g_string_append_printf(options->fuse_options, ",%s%s%s", name, value ? "=" : "",
                           value ? value : "");
    return true;
}

/* clang-format off */
#define PASSED_ON(spelling, text)                                                        \
    {.name = spelling, .in_o_list = true, .type = VU_OPTION_CALL, .value_optional = true, \
     .parse = mount_pass_on, .group = GROUP_MOUNT, .help = text}
#define PASSED_ON_VALUE(spelling, meta, text)                                            \
    {.name = spelling, .in_o_list = true, .type = VU_OPTION_CALL, .parse = mount_pass_on, \
     .metavar = meta, .group = GROUP_MOUNT, .help = text}

static const struct vu_option mount_rows[] = {
    PASSED_ON("allow_other", "Let other users in. Permissions are checked by the kernel."),
    PASSED_ON("allow_root", "Let root in."),
    PASSED_ON("ro", "Mount read-only."),
    PASSED_ON("rw", "Mount read-write, the default."),
    PASSED_ON("noatime", "Do not update access times."),
    PASSED_ON("atime", NULL),
    PASSED_ON("nodiratime", NULL),
    PASSED_ON("diratime", NULL),
    PASSED_ON("suid", "Honour set-user-ID bits; root only. They are ignored by default."),
    PASSED_ON("nosuid", NULL),
    PASSED_ON("dev", "Honour device nodes; root only. They are ignored by default."),
    PASSED_ON("nodev", NULL),
    PASSED_ON("noexec", "Run no programs from the mount."),
    PASSED_ON("exec", NULL),
    PASSED_ON("sync", "Write synchronously."),
    PASSED_ON("async", NULL),
    PASSED_ON("dirsync", NULL),
    PASSED_ON("default_permissions", NULL),
    PASSED_ON("auto_unmount", "Unmount even if this program is killed."),
    PASSED_ON_VALUE("fsname", "NAME", "Name of the file system in the mount table. Default: the socket."),
    PASSED_ON_VALUE("subtype", "TYPE", "Type of the file system in the mount table. Default: virtiofs."),
    PASSED_ON_VALUE("max_read", "BYTES", "Largest READ."),

    {.name = "queues", .is_long = true, .type = VU_OPTION_INT, .offset = OFFSET(n_queues),
     .min = 1, .max = 64, .metavar = "N", .group = GROUP_QUEUES,
     .help = "Request queues, each with a thread of its own; no more than the back-end has. Default: 1."},
    {.name = "depth", .is_long = true, .type = VU_OPTION_INT, .offset = OFFSET(depth),
     .min = 1, .max = 4096, .metavar = "N", .group = GROUP_QUEUES,
     .help = "Requests in flight on each queue. Default: 128."},
    {.name = "poll-us", .is_long = true, .type = VU_OPTION_INT, .offset = OFFSET(poll_us),
     .min = 0, .max = 100000, .metavar = "N", .group = GROUP_QUEUES,
     .help = "Poll for at most N microseconds before a thread sleeps, where that has been paying. "
             "0: never. Default: 32."},
    {.name = "packed", .is_long = true, .type = VU_OPTION_FLAG, .offset = OFFSET(packed),
     .group = GROUP_QUEUES, .help = "Use packed virtqueues where the back-end has them."},

    {.name = "connect-timeout", .is_long = true, .type = VU_OPTION_INT,
     .offset = OFFSET(connect_timeout), .min = 0, .max = 3600, .metavar = "SECONDS",
     .group = GROUP_BACKEND, .help = "Wait so long for the back-end to listen. Default: 5."},
    {.name = "reconnect-timeout", .is_long = true, .type = VU_OPTION_INT,
     .offset = OFFSET(reconnect_timeout), .min = 1, .max = 86400, .metavar = "SECONDS",
     .group = GROUP_BACKEND,
     .help = "When the back-end has died, let everybody wait so long for a new one. Default: 60."},
    {.name = "no-reconnect", .is_long = true, .type = VU_OPTION_FLAG, .offset = OFFSET(no_reconnect),
     .group = GROUP_BACKEND,
     .help = "When the back-end has died, fail all requests with ENOTCONN, unmount and exit with "
             "status 1. So it is in any case with back-ends that cannot be replaced."},

    {.name = "foreground", .short_name = 'f', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = OFFSET(foreground), .group = GROUP_OTHER,
     .help = "Stay in the foreground, as the program always does."},
    {.name = "log-level", .is_long = true, .type = VU_OPTION_CHOICE, .offset = OFFSET(log_level),
     .choices = mount_log_levels, .metavar = "error|warn|info|debug", .group = GROUP_OTHER,
     .help = "Least important log lines to write. Default: info."},
    {.name = "syslog", .is_long = true, .type = VU_OPTION_FLAG, .offset = OFFSET(syslog),
     .group = GROUP_OTHER, .help = "Log to the system log instead of standard error."},
    VU_OPTION_CLOSING_ROWS(struct mount_options, GROUP_OTHER),
};
/* clang-format on */

static const char mount_description[] =
    ".SH DESCRIPTION\n"
    "Connects to the virtiofsd that listens on the unix socket\n"
    ".I SOCKET\n"
    "and mounts what it shares on the directory\n"
    ".IR DIR ,\n"
    "without a virtual machine. The program stays in the foreground until the directory is\n"
    "unmounted\n"
    ".RB ( umount (8),\n"
    "or\n"
    ".B fusermount3 \\-u\n"
    "for an ordinary user), or until it gets SIGTERM, SIGINT or SIGHUP and unmounts by itself.\n"
    ".PP\n"
    "Permissions are checked by the kernel, as in a guest. Only the user who mounted may enter,\n"
    "unless\n"
    ".B \\-o allow_other\n"
    "is given, which an ordinary user may do where /etc/fuse.conf has user_allow_other.\n";

static const char mount_man_text[] =
    ".SH EXIT STATUS\n"
    "0 after unmounting in order; 1 when the command line is wrong, the mount could not be made, "
    "or\n"
    "the back\\-end was lost.\n"
    ".SH EXAMPLES\n"
    ".EX\n"
    "virtiofsd \\-\\-socket\\-path=/run/fs.sock \\-\\-shared\\-dir=/srv/share &\n"
    "vhost\\-user\\-mount /run/fs.sock /mnt \\-o allow_other,noatime\n"
    ".EE\n"
    ".SH SEE ALSO\n"
    ".BR virtiofsd (1),\n"
    ".BR mount (8),\n"
    ".BR fusermount3 (1),\n"
    ".BR outboard (7)\n";

void mount_options_init(struct mount_options *options)
{
    *options = (struct mount_options){
        .fuse_options = g_string_new("default_permissions"),
        .n_queues = 1,
        .depth = 128,
        .poll_us = 32,
        .connect_timeout = 5,
        .reconnect_timeout = 60,
        .log_level = 2,
    };
}

void mount_options_clear(struct mount_options *options)
{
    g_string_free(options->fuse_options, TRUE);
}

static bool mount_take_arguments(struct mount_options *options, char **rest, GError **error)
{
    if (g_strv_length(rest) != 2) {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected SOCKET and DIR, got %u arguments",
                    g_strv_length(rest));
        return false;
    }
    options->bridge.socket_path = rest[0];
    options->dir = rest[1];
    return true;
}

/* Names in the mount table, unless the user gave some. */
static void mount_add_names(struct mount_options *options)
{
    const char *given = options->fuse_options->str;

    if (!strstr(given, ",fsname=") && !strpbrk(options->bridge.socket_path, ",\\"))
        g_string_append_printf(options->fuse_options, ",fsname=%s", options->bridge.socket_path);
    if (!strstr(options->fuse_options->str, ",subtype="))
        g_string_append(options->fuse_options, ",subtype=virtiofs");
}

static void mount_apply(struct mount_options *options)
{
    static const enum vu_log_level levels[] = {VU_LOG_ERROR, VU_LOG_WARNING, VU_LOG_INFO,
                                               VU_LOG_DEBUG};

    vu_log_set_level(levels[options->log_level]);
    if (options->syslog)
        vu_log_use_syslog("vhost-user-mount");
    options->bridge.n_queues = (unsigned)options->n_queues;
    options->bridge.depth = (unsigned)options->depth;
    options->bridge.poll_us = (unsigned)options->poll_us;
    options->bridge.packed = options->packed;
    options->bridge.connect_timeout_ms = (unsigned)options->connect_timeout * 1000;
    options->bridge.reconnect_timeout_ms =
        options->no_reconnect ? 0 : (unsigned)options->reconnect_timeout * 1000;
    mount_add_names(options);
}

static void mount_print_man(const struct vu_option_table *table)
{
    printf(".TH VHOST\\-USER\\-MOUNT 1 \"" VU_PACKAGE_DATE "\" \"Outboard " VU_PACKAGE_VERSION
           "\" \"User Commands\"\n"
           ".SH NAME\nvhost\\-user\\-mount \\- mount a running virtiofsd on the host itself\n"
           ".SH SYNOPSIS\n");
    vu_options_print_man_usage(mount_usage);
    fputs(mount_description, stdout);
    vu_options_print_man(table, 1);
    fputs(mount_man_text, stdout);
}

static void mount_print_completion(const struct vu_option_table *table)
{
    vu_options_print_completion(table, 1, VU_OPTIONS_TOP);
    vu_options_print_completion_row(VU_OPTIONS_TOP, "<>", "PATH");
}

/* Whether one of those was asked for. */
static bool mount_tell(const struct mount_options *options, const struct vu_option_table *table)
{
    if (options->help)
        vu_options_print_help(table, 1, mount_usage);
    else if (options->version)
        puts("vhost-user-mount (Outboard) " VU_PACKAGE_VERSION);
    else if (options->print_man)
        mount_print_man(table);
    else if (options->print_completion)
        mount_print_completion(table);
    else
        return false;
    return true;
}

bool mount_options_parse(struct mount_options *options, int argc, char **argv, int *ret_exit_status)
{
    struct vu_option_table table = {mount_rows, G_N_ELEMENTS(mount_rows), options};
    g_autofree char **rest = NULL;
    g_autoptr(GError) error = NULL;
    bool ok = vu_options_parse(&table, 1, argc, argv, &rest, &error);

    *ret_exit_status = 0;
    if (ok && mount_tell(options, &table))
        return false;
    if (ok && mount_take_arguments(options, rest, &error)) {
        mount_apply(options);
        return true;
    }
    fprintf(stderr, "vhost-user-mount: %s\n", error->message);
    *ret_exit_status = 1;
    return false;
}
