/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vblkctl: tells a running daemon what to do, over its control socket. It knows no command: what
 * there are, and what they take, it asks the daemon.
 */
#include <stdio.h>
#include <string.h>

#include "vblkd/ctl/arguments.h"
#include "vblkd/ctl/connection.h"
#include "vblkd/ctl/print.h"
#include "vblkd/ctl/snapshot-external.h"
#include "vhost-user/daemon/options-words.h"
#include "vhost-user/daemon/options.h"

#define PROGRAM "vblkctl"
#define USAGE   PROGRAM " --socket=PATH [OPTION]... [COMMAND [KEY=VALUE]...]"

struct ctl_options {
    char *socket;
    bool json, help, version, print_man, print_completion;
};

#define FIELD(member) .offset = offsetof(struct ctl_options, member)
#define GROUP         "Options"

/* clang-format off */
static const struct vu_option main_rows[] = {
    {.name = "socket", .short_name = 's', .is_long = true, .type = VU_OPTION_STRING, FIELD(socket),
     .metavar = "PATH", .group = GROUP, .help = "The daemon's control socket (its --control=PATH)."},
    {.name = "json", .is_long = true, .type = VU_OPTION_FLAG, FIELD(json), .group = GROUP,
     .help = "Print what the command returns as JSON."},
    VU_OPTION_CLOSING_ROWS(struct ctl_options, GROUP),
};
/* clang-format on */

static const char main_about[] =
    "\nCOMMAND is one of the daemon's: \"help\" lists them, \"help COMMAND\" tells what\n"
    "one takes. Without a COMMAND, lines of JSON are read from standard input and\n"
    "sent as they are.\n";

static const char main_description[] =
    ".SH DESCRIPTION\n"
    "Sends a command to a running daemon and prints what it returns. Which commands there are is\n"
    "asked of the daemon:\n"
    ".B help\n"
    "lists them, and\n"
    ".BI help\\~ COMMAND\n"
    "tells what one takes. They are described in\n"
    ".BR vblkd (1),\n"
    ".BR virtiofsd (1),\n"
    ".BR vrngd (1)\n"
    "and\n"
    ".BR vmm (1).\n"
    ".PP\n"
    "Values are as the command wants them: numbers, which may have a suffix of K, M, G or T; on "
    "or\n"
    "off; text; or names of files, which are opened here and handed to the daemon, since it has "
    "no\n"
    "way to any file in its sandbox. Where a command does not tell what it takes, as\n"
    ".B device_add\n"
    "of vmm does not, values are text, or JSON that begins with { or [.\n"
    ".PP\n"
    "One command is vblkctl's own:\n"
    ".BI snapshot\\-external\\~ FILE\n"
    "makes an empty qcow2 image with the image in use behind it, and has vblkd write there from "
    "now\n"
    "on. The daemon's name of the image in use must lead to it from here too;\n"
    ".BI backing= PATH\n"
    "says where it lies otherwise. Whoever starts vblkd anew must name the new image, with\n"
    ".BR \\-\\-format=qcow2\\~\\-\\-backing=on .\n"
    ".PP\n"
    "Without a command, lines of JSON are read from standard input and sent as they are. What "
    "comes\n"
    "back is printed, events too. The protocol is that of QEMU's QMP, a line each way.\n";

static const char main_man_text[] =
    ".SH EXIT STATUS\n"
    "0 when the command was carried out, 1 when it was not, or the daemon cannot be reached.\n"
    ".SH EXAMPLES\n"
    ".nf\n"
    "vblkctl \\-s /run/vm1.control query\\-status\n"
    "vblkctl \\-s /run/vm1.control query\\-blockstats\n"
    "vblkctl \\-s /run/vm1.control set\\-throttle iops=2000 bps=100M\n"
    "vblkctl \\-s /run/vm1.control block_resize size=200G\n"
    "vblkctl \\-s /run/vm1.control blockdev\\-snapshot\\-internal\\-sync name=before\n"
    "vblkctl \\-s /run/vm1.control snapshot\\-external /srv/vm1\\-2.qcow2\n"
    "vblkctl \\-s /run/vm1.control \\-\\-json query\\-blockstats histograms=on\n"
    ".fi\n"
    ".SH SEE ALSO\n"
    ".BR vblkd (1),\n"
    ".BR virtiofsd (1),\n"
    ".BR vrngd (1),\n"
    ".BR vmm (1),\n"
    ".BR vblk\\-img (1),\n"
    ".BR outboard\\-top (1),\n"
    ".BR outboard (7)\n";

static int fail(GError *error)
{
    fprintf(stderr, PROGRAM ": %s\n", error->message);
    g_error_free(error);
    return 1;
}

static void print_man(const struct vu_option_table *table)
{
    printf(".TH VBLKCTL 1 \"" VU_PACKAGE_DATE "\" \"Outboard " VU_PACKAGE_VERSION
           "\" \"User Commands\"\n"
           ".SH NAME\nvblkctl \\- control a running daemon\n"
           ".SH SYNOPSIS\n");
    vu_options_print_man_usage(USAGE);
    fputs(main_description, stdout);
    vu_options_print_man(table, 1);
    fputs(main_man_text, stdout);
}

/* --- what is done --- */

static bool run_help(JsonArray *commands, char **words, GError **error)
{
    bool is_own = !words[0] || strcmp(words[0], CTL_SNAPSHOT_EXTERNAL) == 0;

    if (is_own)
        puts("  " CTL_SNAPSHOT_EXTERNAL " FILE [backing=IMAGE]\n"
             "      " CTL_SNAPSHOT_EXTERNAL_HELP);
    if (ctl_print_help(commands, words[0]) || is_own)
        return true;
    g_set_error(error, VU_OPTION_ERROR, 0, "the daemon has no command \"%s\"", words[0]);
    return false;
}

static bool run_command(struct ctl_connection *connection, JsonArray *commands, bool as_json,
                        const char *command, char **words, GError **error)
{
    g_autoptr(JsonNode) result = NULL;
    struct ctl_arguments arguments;
    bool returns_nothing;

    if (!ctl_arguments_parse(&arguments, commands, command, words, error))
        return false;
    result = ctl_execute(connection, command, g_steal_pointer(&arguments.node), arguments.fds,
                         arguments.n_fds, error);
    ctl_arguments_clear(&arguments, result == NULL);
    if (!result)
        return false;
    returns_nothing =
        JSON_NODE_HOLDS_OBJECT(result) && json_object_get_size(json_node_get_object(result)) == 0;
    if (as_json)
        ctl_print_json(result);
    else if (!returns_nothing)
        ctl_print(command, result);
    return true;
}

static bool run_words(struct ctl_connection *connection, const struct ctl_options *options,
                      char **words, GError **error)
{
    g_autoptr(JsonNode) commands = ctl_execute(connection, "query-commands", NULL, NULL, 0, error);

    if (!commands)
        return false;
    if (!JSON_NODE_HOLDS_ARRAY(commands)) {
        g_set_error(error, VU_OPTION_ERROR, 0, "query-commands: not an answer");
        return false;
    }
    if (strcmp(words[0], CTL_SNAPSHOT_EXTERNAL) == 0)
        return ctl_snapshot_external(connection, words + 1, error);
    if (strcmp(words[0], "help") == 0)
        return run_help(json_node_get_array(commands), words + 1, error);
    return run_command(connection, json_node_get_array(commands), options->json, words[0],
                       words + 1, error);
}

/* Prints lines up to the one that is an answer; *ret_failed is set where that is an error. */
static bool print_answer(struct ctl_connection *connection, bool *ret_failed, GError **error)
{
    for (;;) {
        g_autofree char *line = ctl_receive(connection, error);
        g_autoptr(JsonNode) node = line ? json_from_string(line, NULL) : NULL;
        JsonObject *object =
            node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;

        if (!line)
            return false;
        puts(line);
        fflush(stdout);
        if (object && json_object_has_member(object, "event"))
            continue;
        *ret_failed = *ret_failed || !object || json_object_has_member(object, "error");
        return true;
    }
}

static int run_lines(struct ctl_connection *connection)
{
    GError *error = NULL;
    char *line = NULL;
    size_t size = 0;
    bool failed = false, ok = true;
    ssize_t len;

    while (ok && (len = getline(&line, &size, stdin)) >= 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (g_strstrip(line)[0] == '\0')
            continue;
        ok = ctl_send(connection, line, NULL, 0, &error) &&
             print_answer(connection, &failed, &error);
    }
    free(line);
    return ok ? failed : fail(error);
}

static int run(const struct ctl_options *options, char **words)
{
    struct ctl_connection *connection;
    GError *error = NULL;
    int status = 0;

    if (!options->socket) {
        g_set_error(&error, VU_OPTION_ERROR, 0, "no socket; use --socket=PATH");
        return fail(error);
    }
    connection = ctl_connect(options->socket, &error);
    if (!connection)
        return fail(error);
    if (!words[0])
        status = run_lines(connection);
    else if (!run_words(connection, options, words, &error))
        status = fail(error);
    ctl_disconnect(connection);
    return status;
}

int main(int argc, char **argv)
{
    struct ctl_options options = {0};
    const struct vu_option_table table = {main_rows, G_N_ELEMENTS(main_rows), &options};
    char **words = NULL;
    GError *error = NULL;
    int status = 0;

    if (!vu_options_parse(&table, 1, argc, argv, &words, &error)) {
        status = fail(error);
    } else if (options.help) {
        vu_options_print_help(&table, 1, USAGE);
        fputs(main_about, stdout);
    } else if (options.version) {
        puts(PROGRAM " (Outboard) " VU_PACKAGE_VERSION);
    } else if (options.print_man) {
        print_man(&table);
    } else if (options.print_completion) {
        vu_options_print_completion(&table, 1, VU_OPTIONS_TOP);
        vu_options_print_completion_row(VU_OPTIONS_TOP, "<>", "CONTROL");
    } else {
        status = run(&options, words);
    }
    g_free(words);
    g_free(options.socket);
    return status;
}
