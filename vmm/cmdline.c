/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: finds the row of each option and hands it its value; see cmdline.h. */
#include "vmm/cmdline.h"

#include <string.h>

const struct vmm_cmdline_group *const vmm_cmdline_groups[] = {
    &vmm_cmdline_machine, &vmm_cmdline_memory, &vmm_cmdline_devices, &vmm_cmdline_bridges, NULL,
};

/* Not about a machine. */
static const struct {
    const char *name;
    enum vmm_cmdline_result result;
} cmdline_questions[] = {
    {"h", VMM_CMDLINE_HELP},
    {"help", VMM_CMDLINE_HELP},
    {"version", VMM_CMDLINE_VERSION},
    {"print-man", VMM_CMDLINE_MAN},
    {"print-completion", VMM_CMDLINE_COMPLETION},
};

/* name is not terminated: it may be followed by = and a value. */
static const struct vmm_cmdline_option *cmdline_find(const char *name, size_t len)
{
    for (size_t g = 0; vmm_cmdline_groups[g]; g++) {
        const struct vmm_cmdline_group *group = vmm_cmdline_groups[g];

        for (size_t i = 0; i < group->n_options; i++)
            if (strlen(group->options[i].name) == len &&
                memcmp(group->options[i].name, name, len) == 0)
                return &group->options[i];
    }
    return NULL;
}

/* Handles argv[*at] and moves *at to the last word it took. */
static bool cmdline_parse_one(struct vmm_config *config, int argc, char **argv, int *at,
                              GError **error)
{
    const char *word = argv[*at];
    const char *name = word + strspn(word, "-");
    size_t len = strcspn(name, "=");
    const struct vmm_cmdline_option *option;
    const char *value = NULL;

    if (name == word || name - word > 2)
        return vmm_config_fail(error, "%s: unexpected argument; options begin with -", word);
    option = cmdline_find(name, len);
    if (!option)
        return vmm_config_fail(error, "%s: unknown option; --help lists them", word);
    if (name[len] == '=') {
        if (!option->metavar)
            return vmm_config_fail(error, "-%s: expected no value, got \"%s\"", option->name,
                                   name + len + 1);
        value = name + len + 1;
    } else if (option->metavar) {
        if (*at + 1 >= argc)
            return vmm_config_fail(error, "-%s: expected %s, got nothing", option->name,
                                   option->metavar);
        value = argv[++*at];
    }
    if (option->parse && !option->parse(config, value, error)) {
        g_prefix_error(error, "-%s%s%s: ", option->name, value ? " " : "", value ? value : "");
        return false;
    }
    return true;
}

enum vmm_cmdline_result vmm_cmdline_parse(struct vmm_config *config, int argc, char **argv,
                                          GError **error)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i] + strspn(argv[i], "-");

        for (size_t q = 0; q < G_N_ELEMENTS(cmdline_questions); q++)
            if (name != argv[i] && strcmp(name, cmdline_questions[q].name) == 0)
                return cmdline_questions[q].result;
        if (!cmdline_parse_one(config, argc, argv, &i, error))
            return VMM_CMDLINE_WRONG;
    }
    return vmm_config_check(config, error) ? VMM_CMDLINE_RUN : VMM_CMDLINE_WRONG;
}
