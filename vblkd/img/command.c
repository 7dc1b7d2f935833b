/* SPDX-License-Identifier: Apache-2.0 */
/* The table of subcommands, and what is done from it: parsing, help, the man page. */
#include "vblkd/img/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vblkd/img/commands.h"
#include "vblkd/img/open-image.h"
#include "vhost-user/daemon/options-words.h"

#define COMMAND_PROGRAM "vblk-img"

/* clang-format off */
static const struct img_command *const commands[] = {
    &img_create,
    &img_info,
    &img_check,
    &img_resize,
    &img_snapshot,
    &img_map,
    &img_compare,
    &img_convert,
    &img_dd,
    &img_measure,
    &img_commit,
    &img_rebase,
    &img_amend,
    &img_bitmap,
    &img_bench,
};
/* clang-format on */

/* --- options of all commands --- */

#define COMMAND_GROUP    "All commands"

#define COMMAND_N_TABLES 3

struct command_common {
    bool image_opts, help;
    const struct vu_option_table *tables; /* of the command: COMMAND_N_TABLES */
};

/* What QEMU makes objects for, images have not here: only secrets do no harm. */
static bool command_parse_object(void *target, const char *name, const char *value, GError **error)
{
    if (g_str_has_prefix(value, "secret,") || g_str_has_prefix(value, "qom-type=secret,"))
        return true;
    g_set_error(error, VU_OPTION_ERROR, 0, "expected secret,..., got \"%s\"", value);
    return false;
}

/* --options LIST is -o LIST. */
static bool command_parse_list(void *target, const char *name, const char *value, GError **error)
{
    const struct command_common *common = target;
    g_autofree char *list = g_strdup(value);
    char program[] = COMMAND_PROGRAM, option[] = "-o";
    char *argv[] = {program, option, list, NULL};

    return vu_options_parse(common->tables, COMMAND_N_TABLES, 3, argv, NULL, error);
}

/* clang-format off */
static const struct vu_option command_rows[] = {
    {.name = "help", .short_name = 'h', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = offsetof(struct command_common, help), .group = COMMAND_GROUP,
     .help = "List the options of the command and exit."},
    {.name = "options", .is_long = true, .type = VU_OPTION_CALL, .parse = command_parse_list},
    {.name = "target-format-options", .is_long = true, .type = VU_OPTION_CALL,
     .parse = command_parse_list},
    {.name = "image-opts", .is_long = true, .type = VU_OPTION_FLAG,
     .offset = offsetof(struct command_common, image_opts), .group = COMMAND_GROUP,
     .help = "The image is named as driver=FORMAT,file.filename=NAME,... instead of by its name."},
    {.name = "object", .is_long = true, .type = VU_OPTION_CALL, .parse = command_parse_object,
     .metavar = "secret,...", .group = COMMAND_GROUP,
     .help = "Without effect: encrypted images, which need secrets, are not supported."},
};
/* clang-format on */

/* --- messages --- */

int img_fail(int status, GError *error)
{
    fprintf(stderr, COMMAND_PROGRAM ": %s\n", error->message);
    g_error_free(error);
    return status;
}

int img_fail_text(int status, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    fprintf(stderr, COMMAND_PROGRAM ": %s\n", text);
    return status;
}

void img_warn(const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    fprintf(stderr, COMMAND_PROGRAM ": warning: %s\n", text);
}

/* --- running one --- */

static const struct img_command *command_find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

/* Strings are what a parser allocates; an alias shares its field with another row. */
static void command_free_options(const struct img_command *command, void *options)
{
    for (size_t i = 0; i < command->n_rows; i++)
        if (command->rows[i].type == VU_OPTION_STRING)
            g_clear_pointer((char **)((char *)options + command->rows[i].offset), g_free);
    g_free(options);
}

/* All options that a command takes, and where they go. */
static void command_tables(const struct img_command *command, void *options,
                           struct img_new_image *new, struct command_common *common,
                           struct vu_option_table ret_tables[COMMAND_N_TABLES])
{
    ret_tables[0] = (struct vu_option_table){command->rows, command->n_rows, options};
    ret_tables[1] = (struct vu_option_table){
        img_new_image_rows, command->takes_new_image ? img_n_new_image_rows : 0, new};
    ret_tables[2] = (struct vu_option_table){command_rows, G_N_ELEMENTS(command_rows), common};
}

int img_command_help(const struct img_command *command)
{
    struct vu_option_table tables[COMMAND_N_TABLES];
    g_autofree char *usage =
        g_strdup_printf(COMMAND_PROGRAM " %s %s", command->name, command->usage);

    command_tables(command, NULL, NULL, NULL, tables);
    vu_options_print_help(tables, G_N_ELEMENTS(tables), usage);
    printf("\n%s\n", command->help);
    return 0;
}

static int command_run(const struct img_command *command, struct img_run *run)
{
    run->n_args = g_strv_length(run->args);
    if (run->n_args < command->min_args || run->n_args > command->max_args)
        return img_fail_text(1, "%s: usage: " COMMAND_PROGRAM " %s %s", command->name,
                             command->name, command->usage);
    return command->run(run);
}

/* Which argument is a negative number, as no option is; 0: none. */
static int command_find_negative(const struct img_command *command, int argc, char **argv)
{
    for (int i = 1; i < argc && command->takes_negative && strcmp(argv[i], "--") != 0; i++)
        if (argv[i][0] == '-' && g_ascii_isdigit(argv[i][1]))
            return i;
    return 0;
}

/* argv without it; it goes to what is no option, behind all else. */
static char **command_cut_negative(const struct img_command *command, int *argc, char **argv,
                                   char **ret_negative)
{
    char **cut = g_memdup2(argv, sizeof(*argv) * ((size_t)*argc + 1));
    int at = command_find_negative(command, *argc, argv);

    *ret_negative = at > 0 ? argv[at] : NULL;
    if (at > 0) {
        memmove(cut + at, cut + at + 1, sizeof(*argv) * (size_t)(*argc - at));
        --*argc;
    }
    return cut;
}

static char **command_append(char **args, char *last)
{
    unsigned n = g_strv_length(args);

    args = g_renew(char *, args, n + 2);
    args[n] = last;
    args[n + 1] = NULL;
    return args;
}

static int command_parse_and_run(const struct img_command *command, int argc, char **argv)
{
    struct command_common common = {0};
    struct img_new_image new;
    struct img_run run = {
        .options = g_malloc0(MAX(command->options_len, 1)),
        .new = command->takes_new_image ? &new : NULL,
    };
    struct vu_option_table tables[COMMAND_N_TABLES];
    char *negative = NULL;
    g_autofree char **cut = command_cut_negative(command, &argc, argv, &negative);
    GError *error = NULL;
    int status = 0;

    img_new_image_init(&new);
    command_tables(command, run.options, &new, &common, tables);
    for (size_t i = 0; i < G_N_ELEMENTS(tables); i++)
        tables[i].abbreviates = true;
    common.tables = tables;
    if (!vu_options_parse(tables, G_N_ELEMENTS(tables), argc, cut, &run.args, &error)) {
        status = img_fail(1, error);
    } else if (common.help) {
        img_command_help(command);
    } else if (new.help) {
        status = img_new_image_help(*(char **)((char *)run.options + command->new_format_offset));
    } else {
        run.open_flags = common.image_opts ? IMG_OPEN_OPTS : 0;
        if (negative)
            run.args = command_append(run.args, negative);
        status = command_run(command, &run);
    }
    g_free(run.args);
    img_new_image_clear(&new);
    command_free_options(command, run.options);
    return status;
}

int img_command_main(int argc, char **argv)
{
    const struct img_command *command = command_find(argv[0]);

    if (!command)
        return img_fail_text(1, "%s: no such command here; --help lists them", argv[0]);
    return command_parse_and_run(command, argc, argv);
}

/* --- help and man page --- */

void img_command_print_help(void)
{
    printf("Usage: " COMMAND_PROGRAM " COMMAND [OPTION]... FILE...\n\nCommands:\n");
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        vu_options_print_wrapped(commands[i]->help, (size_t)printf("  %s", commands[i]->name));
    printf("\n" COMMAND_PROGRAM " COMMAND --help lists the options of a command.\n");
}

static void command_print_man_entry(const struct img_command *command)
{
    g_autofree char *usage =
        g_strdup_printf(COMMAND_PROGRAM " %s %s", command->name, command->usage);

    puts(".TP");
    vu_options_print_man_usage(usage);
    vu_options_print_roff(command->help);
    putchar('\n');
}

static const char command_man_text[] =
    ".SH EXIT STATUS\n"
    "0 on success, 1 on failure. check: 2 for corruptions, 3 for leaked clusters alone, 63\n"
    "where the format has no checks. compare: 1 for images that differ, 2 where one cannot be\n"
    "opened, 3 where it cannot be told what it has, 4 where it cannot be read.\n"
    ".SH EXAMPLES\n"
    "A disk, another that begins as a copy of it, and what they take of the host:\n"
    ".PP\n"
    ".EX\n"
    "vblk\\-img create \\-f qcow2 disk.qcow2 100G\n"
    "vblk\\-img create \\-f qcow2 \\-b disk.qcow2 \\-F qcow2 overlay.qcow2\n"
    "vblk\\-img info \\-\\-backing\\-chain overlay.qcow2\n"
    ".EE\n"
    ".PP\n"
    "What was written to the second one moves into the first:\n"
    ".PP\n"
    ".EX\n"
    "vblk\\-img commit \\-p overlay.qcow2\n"
    ".EE\n"
    ".PP\n"
    "A state to come back to, and back to it:\n"
    ".PP\n"
    ".EX\n"
    "vblk\\-img snapshot \\-c before\\-upgrade disk.qcow2\n"
    "vblk\\-img snapshot \\-a before\\-upgrade disk.qcow2\n"
    ".EE\n"
    ".PP\n"
    "A packed copy, and whether it is one:\n"
    ".PP\n"
    ".EX\n"
    "vblk\\-img convert \\-p \\-c \\-O qcow2 \\-o compression_type=zstd disk.qcow2 packed.qcow2\n"
    "vblk\\-img compare disk.qcow2 packed.qcow2\n"
    ".EE\n"
    ".SH SEE ALSO\n"
    ".BR vblkd (1),\n"
    ".BR qemu\\-img (1),\n"
    ".BR outboard (7)\n";

void img_command_print_man(void)
{
    struct vu_option_table tables[G_N_ELEMENTS(commands) + 2] = {0};

    printf(".TH VBLK-IMG 1 \"" VU_PACKAGE_DATE "\" \"Outboard " VU_PACKAGE_VERSION
           "\" \"User Commands\"\n"
           ".SH NAME\nvblk\\-img \\- create, inspect and change disk images\n"
           ".SH SYNOPSIS\n");
    vu_options_print_man_usage(COMMAND_PROGRAM " COMMAND [OPTION]... FILE...");
    puts(".SH DESCRIPTION\n"
         "Works on raw and qcow2 images, with the command lines and the output of qemu\\-img(1).\n"
         "An image that another program has open for writing is refused.\n"
         "Images are named by their paths, file:PATH, or json:{...} with the keys of "
         "\\-\\-image\\-opts; a\n"
         "path with a colon before its first slash begins with ./ therefore.\n"
         "Sizes are bytes, or have a suffix: K, M, G, T, P, E, each 1024 times the one before.\n"
         ".SH COMMANDS");
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        command_print_man_entry(commands[i]);
        tables[i] = (struct vu_option_table){commands[i]->rows, commands[i]->n_rows, NULL};
    }
    tables[G_N_ELEMENTS(commands)] =
        (struct vu_option_table){img_new_image_rows, img_n_new_image_rows, NULL};
    tables[G_N_ELEMENTS(commands) + 1] =
        (struct vu_option_table){command_rows, G_N_ELEMENTS(command_rows), NULL};
    vu_options_print_man(tables, G_N_ELEMENTS(tables));
    fputs(command_man_text, stdout);
}

void img_command_print_completion(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        struct vu_option_table tables[COMMAND_N_TABLES];

        vu_options_print_completion_row(VU_OPTIONS_TOP, commands[i]->name, "COMMAND");
        vu_options_print_completion_row(commands[i]->name, "<>", "FILE");
        command_tables(commands[i], NULL, NULL, NULL, tables);
        vu_options_print_completion(tables, G_N_ELEMENTS(tables), commands[i]->name);
    }
    vu_options_print_completion_row(VU_OPTIONS_TOP, "--help", NULL);
    vu_options_print_completion_row(VU_OPTIONS_TOP, "--version", NULL);
}
