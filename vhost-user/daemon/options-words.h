/* SPDX-License-Identifier: Apache-2.0 */
/* Words for the messages and texts that options.c and options-print.c make from the rows. */
#pragma once

#include "vhost-user/daemon/options.h"

/* How an option is spelled on the command line. */
enum vu_option_form {
    VU_OPTION_FORM_LONG,  /* --name */
    VU_OPTION_FORM_KEY,   /* -o name */
    VU_OPTION_FORM_SHORT, /* -f */
};

/* "never, auto or always"; to be freed. */
char *vu_options_join_choices(const char *const *choices);

/*
 * What somebody who wrote `name` in that form probably meant, as it is spelled ("--cache", "-o
 * xattr"): the right name in the wrong form, or one a slip away. NULL where nothing comes near; to
 * be freed.
 */
char *vu_options_suggest(const struct vu_option_table *tables, size_t n_tables,
                         enum vu_option_form form, const char *name);

/* Prints text to stdout as roff that means just this text: backslashes, dashes, dots that begin a
 * line. */
void vu_options_print_roff(const char *text);
/* The same for a text of any length, in lines of a length that can be read. */
void vu_options_print_roff_lines(const char *text);
/* Prints text in --help's right column and ends the line, which stands at `column` now. */
void vu_options_print_wrapped(const char *text, size_t column);
/* A line of --print-completion; value NULL: the word takes none. */
void vu_options_print_completion_row(const char *context, const char *word, const char *value);
/* A line of usage, "PROGRAM WORD...", as roff that tells what is typed from what it stands for. */
void vu_options_print_man_usage(const char *usage);
