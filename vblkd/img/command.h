/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A subcommand of vblk-img as a table: what it is called, its options, how many names it takes and
 * the function that does it. Parsing, --help and the man page are made from these rows.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#include "vblkd/img/new-image.h"
#include "vhost-user/daemon/options.h"

/* One use of a subcommand. */
struct img_run {
    void *options;             /* the command's own, zeros where nothing was said */
    struct img_new_image *new; /* -o; NULL unless takes_new_image */
    char **args;               /* what is no option; NULL ended */
    unsigned n_args;
    unsigned open_flags; /* enum img_open_flags: what the options of all commands say */
};

struct img_command {
    const char *name;
    const char *usage; /* what follows the name */
    const char *help;  /* a sentence */
    const struct vu_option *rows;
    size_t n_rows;
    size_t options_len;              /* of the structure that the rows fill in */
    unsigned min_args, max_args;     /* what is no option */
    bool takes_new_image;            /* the -o options of new images */
    size_t new_format_offset;        /* with these: of its format, a char *, in the structure */
    bool takes_negative;             /* a number with a dash is no option, and the last argument */
    int (*run)(struct img_run *run); /* the exit status */
};

/* Runs argv[0], a subcommand, with its arguments. The exit status of the program. */
int img_command_main(int argc, char **argv);

/* The --help of the program, its man page, and what completes its command lines, of all
 * subcommands. */
void img_command_print_help(void);
void img_command_print_man(void);
void img_command_print_completion(void);

/* The --help of one of them. 0, the exit status. */
int img_command_help(const struct img_command *command);

/* "vblk-img: TEXT" on standard error; takes the error. Returns status. */
int img_fail(int status, GError *error);
int img_fail_text(int status, const char *format, ...) G_GNUC_PRINTF(2, 3);
void img_warn(const char *format, ...) G_GNUC_PRINTF(1, 2);
