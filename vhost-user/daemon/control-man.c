/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of a daemon's control socket in its man page, from their rows. */
#include "vhost-user/daemon/control-man.h"

#include <stdio.h>

#include "vhost-user/daemon/control-request.h"
#include "vhost-user/daemon/options-words.h"

static void man_print_argument(const struct vu_control_argument *row)
{
    puts(".TP");
    fputs("\\fI", stdout);
    vu_options_print_roff(row->name);
    fputs("\\fR", stdout);
    puts(row->is_required ? " (needed)" : "");
    vu_options_print_roff_lines(row->help);
}

static void man_print_command(const struct vu_control_command *command)
{
    puts(".TP");
    fputs("\\fB", stdout);
    vu_options_print_roff(command->name);
    puts("\\fR");
    vu_options_print_roff_lines(command->help);
    if (command->n_arguments == 0)
        return;
    puts(".RS");
    for (size_t i = 0; i < command->n_arguments; i++)
        man_print_argument(&command->arguments[i]);
    puts(".RE");
}

void vu_control_print_man(const struct vu_control_table *own, const char *option)
{
    const struct vu_control_table *tables[] = {own, &control_builtin_table};

    fputs(".SH COMMANDS\nWith \\fB", stdout);
    vu_options_print_roff(option);
    puts("\\fR, it takes these, from\n"
         ".BR vblkctl (1)\n"
         "or any client of QEMU's QMP. Sixteen clients may be connected; one more takes the place "
         "of\n"
         "the one that has been idle longest, if that is for five seconds.");
    for (size_t t = 0; t < G_N_ELEMENTS(tables); t++)
        for (size_t i = 0; i < tables[t]->n_commands; i++)
            man_print_command(&tables[t]->commands[i]);
}
