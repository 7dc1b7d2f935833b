/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command-line options as tables: one row holds the spelling, the type, the default, the help text
 * and where the value goes; the parser, --help and the man page come from the same rows. Long
 * options (--name=value, --name value), short ones (-f), and `-o key=value,key,no_key` lists, whose
 * keys are looked up in all tables, with - and _ alike, and \ before a comma that belongs to a
 * value, or two commas. Errors name the option and say what was expected.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

enum vu_option_type {
    VU_OPTION_FLAG,    /* bool: present; -o no_NAME clears it */
    VU_OPTION_NO_FLAG, /* bool: present clears it; -o no_NAME sets it */
    VU_OPTION_STRING,  /* char *, owned by the target */
    VU_OPTION_INT,     /* int, min..max */
    VU_OPTION_CHOICE,  /* int: index into choices, in whatever case */
    VU_OPTION_CALL,    /* parse() decides */
    VU_OPTION_IGNORED, /* accepted for compatibility, with or without a value; logged */
};

struct vu_option {
    const char *name;    /* "socket-path"; for -o lists the bare key */
    char short_name;     /* 'f', or 0 */
    bool in_o_list;      /* accepted as -o name[=value] */
    bool is_long;        /* accepted as --name[=value] */
    bool value_optional; /* CALL: value may be NULL */
    enum vu_option_type type;
    size_t offset; /* of the field in the target structure */
    long min, max;
    const char *const *choices; /* NULL ended */
    /* CALL. The message of its error comes without the option's name: the parser puts it in front.
     */
    bool (*parse)(void *target, const char *name, const char *value, GError **error);
    const char *metavar; /* "PATH"; IGNORED: NULL where it takes no value */
    const char *group;   /* heading in --help and the man page */
    const char *help;    /* one or more sentences; NULL: an alias that is not shown */
};

/* Rows and the structure their values go to. */
struct vu_option_table {
    const struct vu_option *rows;
    size_t n_rows;
    void *target;
    bool abbreviates; /* a long option may be cut short, as long as no other of these begins so */
};

/* The rows that a program's table ends with, whose target is of this structure: it has bools of
 * their names. */
/* clang-format off */
#define VU_OPTION_FLAG_OF(structure, member, spelling, letter, heading, text)               \
    {.name = spelling, .short_name = letter, .is_long = true, .type = VU_OPTION_FLAG,       \
     .offset = offsetof(structure, member), .group = heading, .help = text}
#define VU_OPTION_CLOSING_ROWS(structure, heading)                                          \
    VU_OPTION_FLAG_OF(structure, help, "help", 'h', heading, "Print this help and exit."),  \
    VU_OPTION_FLAG_OF(structure, version, "version", 'V', heading,                          \
                      "Print the version and exit."),                                       \
    VU_OPTION_FLAG_OF(structure, print_man, "print-man", 0, heading,                        \
                      "Print the man page and exit."),                                      \
    VU_OPTION_FLAG_OF(structure, print_completion, "print-completion", 0, heading,          \
                      "Print the options for a shell that completes them, and exit.")
/* clang-format on */

#define VU_OPTION_ERROR (vu_option_error_quark())
GQuark vu_option_error_quark(void);

/*
 * Parses argv against tables[0..n_tables). Non-option arguments are collected in *ret_rest when it
 * is not NULL (NULL-terminated; free the array, its strings are argv's), else they are an error.
 * False with *error "--x: expected ..., got ..." at the first mistake.
 */
bool vu_options_parse(const struct vu_option_table *tables, size_t n_tables, int argc, char **argv,
                      char ***ret_rest, GError **error);

/* The same for programs that have a log to set up first: *ret_ignored (NULL: none; to be freed) is
 * for vu_options_log_ignored, which tells in one line what was accepted and does nothing. */
bool vu_options_parse_all(const struct vu_option_table *tables, size_t n_tables, int argc,
                          char **argv, char ***ret_rest, char **ret_ignored, GError **error);
void vu_options_log_ignored(const char *ignored);

/* Prints usage and every row to stdout, grouped, wrapped at 79 columns. */
void vu_options_print_help(const struct vu_option_table *tables, size_t n_tables,
                           const char *usage);
/* Prints the OPTIONS section of a man page (roff) to stdout. */
void vu_options_print_man(const struct vu_option_table *tables, size_t n_tables);
/* Prints what completes a command line of them, for contrib/completion. context: VU_OPTIONS_TOP, or
 * the subcommand whose options they are. */
#define VU_OPTIONS_TOP "."
void vu_options_print_completion(const struct vu_option_table *tables, size_t n_tables,
                                 const char *context);
