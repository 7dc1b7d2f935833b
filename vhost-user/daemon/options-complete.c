/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --print-completion: what a shell needs to know of the rows to complete a command line, a line for
 * each spelling: CONTEXT WORD VALUE. contrib/completion tells what these are, and reads them.
 */
#include <stdio.h>
#include <string.h>

#include "vhost-user/daemon/options-words.h"
#include "vhost-user/daemon/options.h"

void vu_options_print_completion_row(const char *context, const char *word, const char *value)
{
    printf("%s %s %s\n", context, word, value ? value : "-");
}

/* "never|auto", "PATH", "N", or NULL: it takes none. To be freed. */
static char *complete_value(const struct vu_option *row)
{
    if (row->choices) {
        GString *all = g_string_new(row->choices[0]);

        for (int i = 1; row->choices[i] != NULL; i++)
            g_string_append_printf(all, "|%s", row->choices[i]);
        return g_string_free(all, FALSE);
    }
    if (row->metavar)
        return g_strdelimit(g_strdup(row->metavar), " ", '_');
    return row->type == VU_OPTION_INT || row->type == VU_OPTION_STRING ? g_strdup("VALUE") : NULL;
}

static void complete_row(const struct vu_option *row, const char *context)
{
    g_autofree char *value = complete_value(row);
    g_autofree char *list = g_strconcat(context, ":-o", NULL);
    g_autofree char *long_word = g_strconcat("--", row->name, NULL);
    const char short_word[] = {'-', row->short_name, '\0'};

    if (row->is_long)
        vu_options_print_completion_row(context, long_word, value);
    if (row->short_name)
        vu_options_print_completion_row(context, short_word, value);
    if (row->in_o_list)
        vu_options_print_completion_row(list, row->name, value);
}

void vu_options_print_completion(const struct vu_option_table *tables, size_t n_tables,
                                 const char *context)
{
    bool has_list = false;

    for (size_t t = 0; t < n_tables; t++)
        for (size_t i = 0; i < tables[t].n_rows; i++) {
            const struct vu_option *row = &tables[t].rows[i];

            if (row->help == NULL)
                continue;
            complete_row(row, context);
            has_list = has_list || row->in_o_list;
        }
    if (has_list)
        vu_options_print_completion_row(context, "-o", "LIST");
}
