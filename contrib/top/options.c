/* SPDX-License-Identifier: Apache-2.0 */
/* See options.h. */
#include "contrib/top/options.h"

#include <math.h>
#include <stdio.h>

#include "contrib/top/table.h"
#include "vhost-user/daemon/options-words.h"
#include "vhost-user/daemon/options.h"

#define PROGRAM           "outboard-top"
#define USAGE             PROGRAM " [OPTION]... [SOCKET|DIRECTORY]..."

#define OPTIONS_DELAY_MS  1000
#define OPTIONS_MIN_DELAY 0.05 /* s */
#define OPTIONS_MAX_DELAY 3600.0

#define FIELD(member)     .offset = offsetof(struct top_options, member)
#define GROUP             "Options"

static bool options_parse_delay(void *target, const char *name, const char *value, GError **error)
{
    struct top_options *options = target;
    char *end;
    double delay = g_ascii_strtod(value, &end);

    if (end == value || *end != '\0' || isnan(delay) || delay < OPTIONS_MIN_DELAY ||
        delay > OPTIONS_MAX_DELAY) {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected seconds from 0.05 to 3600, got \"%s\"",
                    value);
        return false;
    }
    options->delay_ms = (int)(delay * 1000);
    return true;
}

/* clang-format off */
static const struct vu_option options_rows[] = {
    {.name = "delay", .short_name = 'd', .is_long = true, .type = VU_OPTION_CALL,
     .parse = options_parse_delay, .metavar = "SECONDS", .group = GROUP,
     .help = "How long it is from one look to the next; 1."},
    {.name = "sort", .short_name = 's', .is_long = true, .type = VU_OPTION_CHOICE,
     FIELD(sort_column), .choices = top_columns, .metavar = "COLUMN", .group = GROUP,
     .help = "The column that decides on the order: name, kind, vm, requests (the default), bytes, "
             "p50, p99, depth, errors, rss, cpu or serves."},
    {.name = "reverse", .short_name = 'r', .is_long = true, .type = VU_OPTION_FLAG,
     FIELD(is_reversed), .group = GROUP, .help = "The other way round."},
    {.name = "batch", .short_name = 'b', .is_long = true, .type = VU_OPTION_FLAG, FIELD(is_batch),
     .group = GROUP, .help = "Print one table after the other, as is done where the output is no "
                             "terminal."},
    {.name = "iterations", .short_name = 'n', .is_long = true, .type = VU_OPTION_INT,
     FIELD(n_rounds), .min = 1, .max = 1000000000, .metavar = "N", .group = GROUP,
     .help = "End after so many."},
    {.name = "once", .is_long = true, .type = VU_OPTION_FLAG, FIELD(is_once), .group = GROUP,
     .help = "The same as -b -n 1."},
    {.name = "json", .is_long = true, .type = VU_OPTION_FLAG, FIELD(is_json), .group = GROUP,
     .help = "For programs: an array of objects, one to a line, instead of each table. Durations are "
             "in nanoseconds."},
    VU_OPTION_CLOSING_ROWS(struct top_options, GROUP),
};
/* clang-format on */

static const char options_description[] =
    ".SH DESCRIPTION\n"
    "Shows the running daemons of Outboard, what they do, and what they take. It asks them over\n"
    "their control sockets: those named, all that are called\n"
    ".I *.control\n"
    "or\n"
    ".I */control\n"
    "in the directories named, or, where nothing is named, in\n"
    ".I /run/outboard\n"
    "and\n"
    ".IR $XDG_RUNTIME_DIR/outboard .\n"
    "Daemons may come and go. One that hangs is shown as such, and does not keep the others "
    "waiting.\n"
    ".PP\n"
    "The columns: its\n"
    ".BR NAME ,\n"
    "which is that of its socket, or of the directory of one that is called control; the\n"
    ".B KIND\n"
    "of daemon; whether a\n"
    ".B VM\n"
    "is connected;\n"
    ".B REQ/S\n"
    "and\n"
    ".BR MB/S ,\n"
    "requests and millions of bytes a second; within which time half of them\n"
    ".RB ( P50 )\n"
    "and 99 of 100\n"
    ".RB ( P99 )\n"
    "were answered; requests that are being worked on\n"
    ".RB ( DEPTH );\n"
    "requests answered with an error since its start\n"
    ".RB ( ERRORS ),\n"
    "as a file system does for many good reasons; memory\n"
    ".RB ( RSS ,\n"
    "the guest's as far as the daemon has used it among it); the share of one\n"
    ".BR CPU ;\n"
    "and what it\n"
    ".BR SERVES .\n"
    "Rates, CPU and durations are those of the time since the last look.\n"
    ".SH KEYS\n"
    ".TP\n"
    ".BR q\n"
    "ends.\n"
    ".TP\n"
    ".BR s ,\\~ S ,\\~ right ,\\~ left\n"
    "The next column, or the last one, decides on the order.\n"
    ".TP\n"
    ".B r\n"
    "turns the order round.\n"
    ".TP\n"
    ".BR up ,\\~ down\n"
    "Where there are more daemons than lines.\n"
    ".TP\n"
    ".B space\n"
    "looks at once.\n"
    ".TP\n"
    ".B Ctrl\\-Z\n"
    "suspends it, as it does other programs.\n";

static const char options_man_text[] =
    ".SH EXIT STATUS\n"
    "0, also where there are no daemons; 1 where the command line is wrong, or the output cannot "
    "be\n"
    "written.\n"
    ".SH EXAMPLES\n"
    ".nf\n"
    "outboard\\-top\n"
    "outboard\\-top /run/vm1.control /run/vm2.control\n"
    "outboard\\-top \\-b \\-d 60 \\-\\-json >>/var/log/outboard.json\n"
    "outboard\\-top \\-\\-once \\-\\-sort=p99\n"
    ".fi\n"
    ".SH SEE ALSO\n"
    ".BR virtiofsd (1),\n"
    ".BR vblkd (1),\n"
    ".BR vrngd (1),\n"
    ".BR vblkctl (1),\n"
    ".BR outboard (7)\n";

static void options_print_completion(const struct vu_option_table *table)
{
    vu_options_print_completion(table, 1, VU_OPTIONS_TOP);
    vu_options_print_completion_row(VU_OPTIONS_TOP, "<>", "PATH");
}

static void options_print_man(const struct vu_option_table *table)
{
    printf(".TH OUTBOARD\\-TOP 1 \"" VU_PACKAGE_DATE "\" \"Outboard " VU_PACKAGE_VERSION
           "\" \"User Commands\"\n"
           ".SH NAME\noutboard\\-top \\- show what running daemons do\n"
           ".SH SYNOPSIS\n");
    vu_options_print_man_usage(USAGE);
    fputs(options_description, stdout);
    vu_options_print_man(table, 1);
    fputs(options_man_text, stdout);
}

bool top_options_parse(struct top_options *options, int argc, char **argv, int *ret_status)
{
    const struct vu_option_table table = {options_rows, G_N_ELEMENTS(options_rows), options};
    g_autoptr(GError) error = NULL;

    *options = (struct top_options){.delay_ms = OPTIONS_DELAY_MS, .sort_column = TOP_SORT_DEFAULT};
    *ret_status = 0;
    if (!vu_options_parse(&table, 1, argc, argv, &options->places, &error)) {
        fprintf(stderr, PROGRAM ": %s\n", error->message);
        *ret_status = 1;
        return false;
    }
    if (options->help)
        vu_options_print_help(&table, 1, USAGE);
    else if (options->version)
        puts(PROGRAM " (Outboard) " VU_PACKAGE_VERSION);
    else if (options->print_man)
        options_print_man(&table);
    else if (options->print_completion)
        options_print_completion(&table);
    else
        return true;
    g_free(options->places);
    return false;
}
