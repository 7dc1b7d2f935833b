/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --help and the OPTIONS of the man page, from the rows. A row without a help text is an alias kept
 * for compatibility, and is not shown. Groups come in the order in which they first appear.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "vhost-user/daemon/options-words.h"
#include "vhost-user/daemon/options.h"

#define PRINT_WIDTH       79
#define PRINT_HELP_COLUMN 28
#define PRINT_ROFF_WIDTH  64 /* less than 80 also where dashes become longer */

typedef void (*print_row_fn)(const struct vu_option *row);
typedef void (*print_group_fn)(const char *group);

/* The value of a row as the user would see it: "PATH", "never|auto|always", or NULL for none. */
static char *print_value(const struct vu_option *row)
{
    if (row->metavar != NULL)
        return g_strdup(row->metavar);
    if (row->type == VU_OPTION_CHOICE) {
        GString *all = g_string_new(NULL);

        for (int i = 0; row->choices[i] != NULL; i++)
            g_string_append_printf(all, "%s%s", i > 0 ? "|" : "", row->choices[i]);
        return g_string_free(all, FALSE);
    }
    if (row->type == VU_OPTION_INT)
        return g_strdup("N");
    if (row->type == VU_OPTION_STRING)
        return g_strdup("VALUE");
    return NULL;
}

/* "=PATH", "[=PATH]" or "". */
static char *print_suffix(const struct vu_option *row)
{
    g_autofree char *value = print_value(row);

    if (value == NULL)
        return g_strdup("");
    return g_strdup_printf(row->value_optional ? "[=%s]" : "=%s", value);
}

/* Every visible row, each under its group. */
static void print_rows(const struct vu_option_table *tables, size_t n_tables, print_group_fn group,
                       print_row_fn row)
{
    g_autoptr(GPtrArray) groups = g_ptr_array_new();

    for (size_t t = 0; t < n_tables; t++)
        for (size_t i = 0; i < tables[t].n_rows; i++) {
            const struct vu_option *r = &tables[t].rows[i];

            if (r->help != NULL &&
                !g_ptr_array_find_with_equal_func(groups, r->group, g_str_equal, NULL))
                g_ptr_array_add(groups, (gpointer)(uintptr_t)r->group);
        }
    for (unsigned g = 0; g < groups->len; g++) {
        group(groups->pdata[g]);
        for (size_t t = 0; t < n_tables; t++)
            for (size_t i = 0; i < tables[t].n_rows; i++) {
                const struct vu_option *r = &tables[t].rows[i];

                if (r->help != NULL && strcmp(r->group, groups->pdata[g]) == 0)
                    row(r);
            }
    }
}

void vu_options_print_wrapped(const char *text, size_t column)
{
    while (*text != '\0') {
        size_t room = PRINT_WIDTH - PRINT_HELP_COLUMN, len = strlen(text);

        if (len > room) {
            for (len = room; len > 0 && text[len] != ' '; len--)
                ;
            if (len == 0)
                len = room;
        }
        if (column >= PRINT_HELP_COLUMN) {
            putchar('\n');
            column = 0;
        }
        printf("%*s%.*s", (int)(PRINT_HELP_COLUMN - column), "", (int)len, text);
        column = PRINT_WIDTH;
        text += len;
        text += *text == ' ';
    }
    putchar('\n');
}

static void print_help_group(const char *group)
{
    printf("\n%s:\n", group);
}

static void print_help_row(const struct vu_option *row)
{
    g_autofree char *suffix = print_suffix(row);
    g_autoptr(GString) left = g_string_new("  ");

    if (row->short_name != '\0')
        g_string_append_printf(left, "-%c%s", row->short_name, row->is_long ? ", " : "");
    else
        g_string_append(left, row->is_long ? "    " : "");
    if (row->is_long)
        g_string_append_printf(left, "--%s%s", row->name, suffix);
    if (row->in_o_list) {
        g_autofree char *key = g_strdup_printf("-o %s%s", row->name, suffix);

        if (row->is_long && left->len + strlen(", ") + strlen(key) > PRINT_WIDTH) {
            printf("%s,\n", left->str);
            g_string_assign(left, "      ");
        } else {
            g_string_append(left, row->is_long ? ", " : "    ");
        }
        g_string_append(left, key);
    }
    fputs(left->str, stdout);
    vu_options_print_wrapped(row->help, left->len);
}

void vu_options_print_help(const struct vu_option_table *tables, size_t n_tables, const char *usage)
{
    printf("Usage: %s\n", usage);
    print_rows(tables, n_tables, print_help_group, print_help_row);
}

void vu_options_print_roff(const char *text)
{
    bool at_start = true;

    for (; *text != '\0'; text++) {
        if (at_start && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
        at_start = *text == '\n';
    }
}

void vu_options_print_roff_lines(const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    size_t column = 0;

    for (char **word = words; *word != NULL; word++) {
        size_t len = strlen(*word);

        if (column > 0 && column + 1 + len > PRINT_ROFF_WIDTH) {
            putchar('\n');
            column = 0;
        } else if (column > 0) {
            putchar(' ');
            column++;
        }
        vu_options_print_roff(*word);
        column += len;
    }
    putchar('\n');
}

static void print_roff_name(const char *dashes, const char *name, const char *suffix)
{
    fputs("\\fB", stdout);
    vu_options_print_roff(dashes);
    vu_options_print_roff(name);
    fputs("\\fR\\fI", stdout);
    vu_options_print_roff(suffix);
    fputs("\\fR", stdout);
}

void vu_options_print_man_usage(const char *usage)
{
    g_auto(GStrv) words = g_strsplit(usage, " ", -1);

    for (char **word = words; *word != NULL; word++) {
        size_t len = strcspn(*word, "=");
        g_autofree char *typed = g_strndup(*word, len);

        if (word != words)
            putchar(' ');
        fputs(typed[0] == '[' ? "" : "\\fB", stdout);
        vu_options_print_roff(typed);
        fputs(typed[0] == '[' ? "" : "\\fR", stdout);
        if ((*word)[len] != '\0') {
            fputs("\\fI", stdout);
            vu_options_print_roff(*word + len);
            fputs("\\fR", stdout);
        }
    }
    putchar('\n');
}

static void print_man_group(const char *group)
{
    fputs(".SS ", stdout);
    vu_options_print_roff(group);
    putchar('\n');
}

static void print_man_row(const struct vu_option *row)
{
    g_autofree char *suffix = print_suffix(row);
    const char short_name[] = {row->short_name, '\0'};
    const char *comma = "";

    puts(".TP");
    if (row->short_name != '\0') {
        print_roff_name("-", short_name, "");
        comma = ", ";
    }
    if (row->is_long) {
        fputs(comma, stdout);
        print_roff_name("--", row->name, suffix);
        comma = ", ";
    }
    if (row->in_o_list) {
        fputs(comma, stdout);
        print_roff_name("-o ", row->name, suffix);
    }
    putchar('\n');
    vu_options_print_roff_lines(row->help);
}

void vu_options_print_man(const struct vu_option_table *tables, size_t n_tables)
{
    puts(".SH OPTIONS");
    print_rows(tables, n_tables, print_man_group, print_man_row);
}
