/* SPDX-License-Identifier: Apache-2.0 */
/* --help, the man page's OPTIONS and what a shell completes, from the rows of cmdline.h. */
#include <stdio.h>
#include <string.h>

#include "vhost-user/daemon/options-words.h"
#include "vmm/cmdline.h"

static const char *const print_questions[] = {"-help", "-version", "-print-man", NULL};

typedef void (*print_row_fn)(const struct vmm_cmdline_option *option);

static void print_all(void (*group)(const char *name), print_row_fn row)
{
    for (size_t g = 0; vmm_cmdline_groups[g]; g++) {
        group(vmm_cmdline_groups[g]->options[0].group);
        for (size_t i = 0; i < vmm_cmdline_groups[g]->n_options; i++)
            if (vmm_cmdline_groups[g]->options[i].help)
                row(&vmm_cmdline_groups[g]->options[i]);
    }
}

static void print_help_group(const char *name)
{
    printf("\n%s:\n", name);
}

static void print_help_row(const struct vmm_cmdline_option *option)
{
    int column = printf("  -%s %s", option->name, option->metavar ? option->metavar : "");

    vu_options_print_wrapped(option->help, (size_t)column);
    for (size_t i = 0; i < option->n_keys; i++) {
        const struct vmm_key *key = &option->keys[i];

        if (!key->help)
            continue;
        column = printf("      %s=%s", key->name, key->metavar);
        vu_options_print_wrapped(key->help, (size_t)column);
    }
}

void vmm_cmdline_print_help(void)
{
    puts("Usage: vmm -kernel FILE [OPTION]...\n"
         "Runs a Linux guest on KVM whose devices are vhost-user back-ends. Options are\n"
         "those of QEMU.");
    print_all(print_help_group, print_help_row);
}

static void print_man_group(const char *name)
{
    printf(".SS %s\n", name);
}

static void print_man_row(const struct vmm_cmdline_option *option)
{
    fputs(".TP\n\\fB\\-", stdout);
    vu_options_print_roff(option->name);
    fputs("\\fR", stdout);
    if (option->metavar) {
        fputs(" \\fI", stdout);
        vu_options_print_roff(option->metavar);
        fputs("\\fR", stdout);
    }
    putchar('\n');
    vu_options_print_roff_lines(option->help);
    for (size_t i = 0; i < option->n_keys; i++) {
        const struct vmm_key *key = &option->keys[i];

        if (!key->help)
            continue;
        fputs(".br\n\\fB", stdout);
        vu_options_print_roff(key->name);
        fputs("=\\fR\\fI", stdout);
        vu_options_print_roff(key->metavar);
        fputs("\\fR: ", stdout);
        vu_options_print_roff_lines(key->help);
    }
}

void vmm_cmdline_print_man(void)
{
    puts(".SH OPTIONS");
    print_all(print_man_group, print_man_row);
}

/* --- completion --- */

static void print_completion_group(const char *name)
{
}

/* A value with keys is a list; what its metavar has before the first comma begins it. */
static void print_completion_row(const struct vmm_cmdline_option *option)
{
    g_autofree char *word = g_strconcat("-", option->name, NULL);
    g_autofree char *list = g_strconcat(VU_OPTIONS_TOP ":", word, NULL);
    g_autofree char *value = g_strdup(option->metavar);

    if (value && option->n_keys > 0)
        value[strcspn(value, ",")] = '\0';
    vu_options_print_completion_row(VU_OPTIONS_TOP, word, value);
    for (size_t i = 0; i < option->n_keys; i++)
        if (option->keys[i].help)
            vu_options_print_completion_row(list, option->keys[i].name, option->keys[i].metavar);
}

void vmm_cmdline_print_completion(void)
{
    print_all(print_completion_group, print_completion_row);
    for (const char *const *word = print_questions; *word; word++)
        vu_options_print_completion_row(VU_OPTIONS_TOP, *word, NULL);
}
