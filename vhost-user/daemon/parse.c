/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options every daemon has, what must hold between them, and the four that print something and
 * end the program. Nothing but the descriptor table, the log's settings and what is known of the
 * host's nodes is touched here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vhost-user/daemon/control-man.h"
#include "vhost-user/daemon/daemon.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/daemon/options-words.h"
#include "vhost-user/daemon/ready.h"
#include "vhost-user/log.h"
#include "vhost-user/numa.h"

#define PARSE_POLL_US_DEFAULT 32
#define PARSE_POLL_US_MAX     100000
#define PARSE_GROUP           "Connection"
#define PARSE_GROUP_RUN       "Running"
#define PARSE_GROUP_INFO      "Information"
#define OFFSET(field)         offsetof(struct vu_daemon_options, field)

/* The first name of a level is the one that is told; the others are what similar programs take. */
static const struct parse_level {
    const char *name;
    enum vu_log_level level;
} parse_levels[] = {
    {"error", VU_LOG_ERROR}, {"err", VU_LOG_ERROR},       {"warn", VU_LOG_WARNING},
    {"info", VU_LOG_INFO},   {"debug", VU_LOG_DEBUG},     {"trace", VU_LOG_DEBUG},
    {"off", VU_LOG_OFF},     {"warning", VU_LOG_WARNING},
};

static const char *const parse_numa_choices[] = {"on", "off", NULL};

static bool parse_log_level(void *target, const char *name, const char *value, GError **error)
{
    struct vu_daemon_options *options = target;

    for (size_t i = 0; i < G_N_ELEMENTS(parse_levels); i++)
        if (g_ascii_strcasecmp(parse_levels[i].name, value) == 0) {
            options->log_level = (int)parse_levels[i].level;
            return true;
        }
    g_set_error(error, VU_OPTION_ERROR, 0, "expected error, warn, info, debug or off, got \"%s\"",
                value);
    return false;
}

static bool parse_debug(void *target, const char *name, const char *value, GError **error)
{
    struct vu_daemon_options *options = target;

    options->log_level = VU_LOG_DEBUG;
    return true;
}

void vu_daemon_add_socket_path(struct vu_daemon_options *options, const char *path)
{
    if (!options->socket_paths)
        options->socket_paths = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(options->socket_paths, g_strdup(path));
    g_free(options->socket_path);
    options->socket_path = g_strdup(path);
}

static bool parse_socket_path(void *target, const char *name, const char *value, GError **error)
{
    vu_daemon_add_socket_path(target, value);
    return true;
}

/* clang-format off */
const struct vu_option vu_daemon_option_rows[] = {
    {.name = "socket-path", .is_long = true, .type = VU_OPTION_CALL, .parse = parse_socket_path,
     .metavar = "PATH", .group = PARSE_GROUP,
     .help = "Listen on a unix socket at PATH. A stale socket file is replaced, a live one is not."},
    {.name = "socket", .is_long = true, .type = VU_OPTION_CALL, .parse = parse_socket_path,
     .metavar = "PATH", .group = PARSE_GROUP},
    {.name = "vhost_user_socket", .in_o_list = true, .type = VU_OPTION_CALL,
     .parse = parse_socket_path, .metavar = "PATH", .group = PARSE_GROUP,
     .help = "The same as --socket-path."},
    {.name = "socket-group", .is_long = true, .type = VU_OPTION_STRING,
     .offset = OFFSET(socket_group), .metavar = "GROUP", .group = PARSE_GROUP,
     .help = "Give the socket to GROUP, with mode 0660. Without it the mode is 0600."},
    {.name = "fd", .is_long = true, .type = VU_OPTION_INT, .offset = OFFSET(fd), .min = 0,
     .max = G_MAXINT, .metavar = "N", .group = PARSE_GROUP,
     .help = "Use the inherited socket N: listen on it, or where it is connected already, serve that "
             "one front-end and end."},
    {.name = "control", .is_long = true, .type = VU_OPTION_STRING, .offset = OFFSET(control),
     .metavar = "PATH", .group = PARSE_GROUP,
     .help = "Take commands on a unix socket at PATH (mode 0600), or on the inherited listening socket "
             "N where PATH is fd:N. Without this, on the one that systemd calls \"control\", if any."},
    {.name = "metrics", .is_long = true, .type = VU_OPTION_STRING, .offset = OFFSET(metrics),
     .metavar = "unix:PATH|HOST:PORT", .group = PARSE_GROUP,
     .help = "Tell what has been counted to Prometheus, by HTTP at /metrics: on a unix socket (mode "
             "0600), or on a port, where whoever can connect can read. Without this, on the socket that "
             "systemd calls \"metrics\", if any."},
    {.name = "exit-on-disconnect", .is_long = true, .type = VU_OPTION_FLAG,
     .offset = OFFSET(exit_on_disconnect), .group = PARSE_GROUP,
     .help = "End when the front-end goes. Without it, the daemon waits for the next one."},
    {.name = "inband-notifications", .is_long = true, .type = VU_OPTION_FLAG,
     .offset = OFFSET(inband_notifications), .group = PARSE_GROUP,
     .help = "Offer in-band notifications. Only for front-ends known to implement them."},

    {.name = "log-level", .is_long = true, .in_o_list = true, .type = VU_OPTION_CALL,
     .parse = parse_log_level, .metavar = "error|warn|info|debug|off", .group = PARSE_GROUP_RUN,
     .help = "Least important log lines to write. Default: info."},
    {.name = "loglevel", .in_o_list = true, .type = VU_OPTION_CALL, .parse = parse_log_level,
     .metavar = "LEVEL", .group = PARSE_GROUP_RUN},
    {.name = "debug", .short_name = 'd', .is_long = true, .in_o_list = true, .type = VU_OPTION_CALL,
     .value_optional = true, .parse = parse_debug, .group = PARSE_GROUP_RUN,
     .help = "The same as --log-level=debug."},
    {.name = "syslog", .is_long = true, .type = VU_OPTION_FLAG, .offset = OFFSET(syslog),
     .group = PARSE_GROUP_RUN, .help = "Log to the system log instead of standard error."},
    {.name = "foreground", .short_name = 'f', .is_long = true, .type = VU_OPTION_FLAG, .offset = OFFSET(foreground),
     .group = PARSE_GROUP_RUN, .help = "Stay in the foreground (the default)."},
    {.name = "daemonize", .is_long = true, .type = VU_OPTION_FLAG, .offset = OFFSET(background),
     .group = PARSE_GROUP_RUN,
     .help = "Go into the background; the command ends when the daemon is ready. Implies --syslog."},
    {.name = "poll-us", .is_long = true, .in_o_list = true, .type = VU_OPTION_INT, .offset = OFFSET(poll_us),
     .min = 0, .max = PARSE_POLL_US_MAX, .metavar = "N", .group = PARSE_GROUP_RUN,
     .help = "Poll a queue for at most N microseconds before its thread sleeps, where that has been "
             "paying; a disk that works on requests for N more for each, up to 16 times N. 0: never. "
             "Default: 32."},
    {.name = "numa", .is_long = true, .in_o_list = true, .type = VU_OPTION_CHOICE, .offset = OFFSET(numa),
     .choices = parse_numa_choices, .group = PARSE_GROUP_RUN,
     .help = "On hosts of several NUMA nodes, run each queue's thread on the node where the guest has "
             "put its ring, among the CPUs that the daemon may use. on (the default), or off."},

    {.name = "print-capabilities", .is_long = true, .type = VU_OPTION_FLAG,
     .offset = OFFSET(print_capabilities), .group = PARSE_GROUP_INFO,
     .help = "Print what this back-end can do, as JSON for management programs, and exit."},
    VU_OPTION_CLOSING_ROWS(struct vu_daemon_options, PARSE_GROUP_INFO),
};
/* clang-format on */
const size_t vu_daemon_n_option_rows = G_N_ELEMENTS(vu_daemon_option_rows);

void vu_daemon_options_init(struct vu_daemon_options *options)
{
    *options = (struct vu_daemon_options){
        .fd = -1,
        .log_level = VU_LOG_INFO,
        .poll_us = PARSE_POLL_US_DEFAULT,
        .max_devices = 1,
    };
}

void vu_daemon_options_clear(struct vu_daemon_options *options)
{
    g_clear_pointer(&options->socket_path, g_free);
    g_clear_pointer(&options->socket_paths, g_ptr_array_unref);
    g_clear_pointer(&options->socket_group, g_free);
    g_clear_pointer(&options->control, g_free);
    g_clear_pointer(&options->metrics, g_free);
}

static void parse_print_version(const struct vu_program *program,
                                const struct vu_option_table *tables, size_t n_tables)
{
    printf("%s (Outboard) %s\n", program->name, VU_PACKAGE_VERSION);
}

static void parse_print_help(const struct vu_program *program, const struct vu_option_table *tables,
                             size_t n_tables)
{
    vu_options_print_help(tables, n_tables, program->usage);
}

static void parse_print_capabilities(const struct vu_program *program,
                                     const struct vu_option_table *tables, size_t n_tables)
{
    const char *const *feature = program->capability_features;

    printf("{\n  \"type\": \"%s\",\n  \"features\": [", program->device_type);
    for (; feature != NULL && *feature != NULL; feature++)
        printf("%s\n    \"%s\"", feature == program->capability_features ? "" : ",", *feature);
    printf("%s]\n}\n", feature == program->capability_features ? "" : "\n  ");
}

static void parse_print_man(const struct vu_program *program, const struct vu_option_table *tables,
                            size_t n_tables)
{
    g_autofree char *title = g_ascii_strup(program->name, -1);

    printf(".TH %s 1 \"" VU_PACKAGE_DATE "\" \"Outboard %s\" \"User Commands\"\n", title,
           VU_PACKAGE_VERSION);
    printf(".SH NAME\n%s \\- ", program->name);
    vu_options_print_roff(program->summary ? program->summary : "");
    printf("\n.SH SYNOPSIS\n");
    vu_options_print_man_usage(program->usage);
    putchar('\n');
    if (program->man_description != NULL)
        fputs(program->man_description, stdout);
    vu_options_print_man(tables, n_tables);
    if (program->commands != NULL)
        vu_control_print_man(program->commands, "--control");
    if (program->man_text != NULL)
        fputs(program->man_text, stdout);
}

static void parse_print_completion(const struct vu_program *program,
                                   const struct vu_option_table *tables, size_t n_tables)
{
    vu_options_print_completion(tables, n_tables, VU_OPTIONS_TOP);
}

/* What prints and ends, in the order in which it is looked for. */
static const struct parse_printer {
    size_t offset;
    void (*print)(const struct vu_program *program, const struct vu_option_table *tables,
                  size_t n_tables);
} parse_printers[] = {
    {OFFSET(help), parse_print_help},
    {OFFSET(version), parse_print_version},
    {OFFSET(print_capabilities), parse_print_capabilities},
    {OFFSET(print_man), parse_print_man},
    {OFFSET(print_completion), parse_print_completion},
};

/* What no single row can tell. */
static bool parse_check(const struct vu_daemon_options *options, GError **error)
{
    const char *problem = NULL;

    if (options->fd >= 0 && options->socket_path != NULL)
        problem = "--socket-path and --fd exclude each other";
    else if (options->socket_group != NULL && options->socket_path == NULL)
        problem = "--socket-group: expected --socket-path with it";
    else if (options->background && options->fd < 0 && options->socket_path == NULL)
        problem = "--daemonize: expected --socket-path or --fd with it";
    else if (options->max_devices > 1 && options->socket_paths != NULL &&
             options->socket_paths->len > options->max_devices)
        problem = "--socket-path: more sockets than a process may have";
    else if (options->fd < 0 && options->socket_path == NULL && !vu_daemon_is_activated())
        problem = "no socket: expected --socket-path=PATH, --fd=N or socket activation";
    if (problem != NULL)
        g_set_error_literal(error, VU_OPTION_ERROR, 0, problem);
    return problem == NULL;
}

bool vu_daemon_parse(const struct vu_program *program, struct vu_daemon_options *options,
                     const struct vu_option_table *own, size_t n_own, int argc, char **argv,
                     int *ret_exit_status)
{
    g_autofree struct vu_option_table *tables = g_new(struct vu_option_table, n_own + 1);
    size_t n_tables = 0;
    g_autofree char *ignored = NULL;
    g_autoptr(GError) error = NULL;
    bool ok;

    for (; n_tables < n_own; n_tables++)
        tables[n_tables] = own[n_tables];
    tables[n_tables++] =
        (struct vu_option_table){vu_daemon_option_rows, vu_daemon_n_option_rows, options};
    options->max_devices = MAX(program->max_devices, 1);
    vu_ready_secure_standard_fds();
    ok = vu_options_parse_all(tables, n_tables, argc, argv, NULL, &ignored, &error);
    for (size_t i = 0; ok && i < G_N_ELEMENTS(parse_printers); i++)
        if (*(const bool *)((const char *)options + parse_printers[i].offset)) {
            parse_printers[i].print(program, tables, n_tables);
            *ret_exit_status = fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
            return false;
        }
    if (!ok || !parse_check(options, &error)) {
        fprintf(stderr, "%s: %s\n", program->name, error->message);
        *ret_exit_status = EXIT_FAILURE;
        return false;
    }
    vu_log_set_level((enum vu_log_level)options->log_level);
    if (options->syslog || options->background)
        vu_log_use_syslog(program->name);
    vu_options_log_ignored(ignored);
    if (options->numa == 0)
        vu_numa_learn(VU_NUMA_SYSFS);
    return true;
}
