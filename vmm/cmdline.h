/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's command line, as far as this machine has what it names: a row for each option, with the
 * keys of its value, from which parser, --help and the man page come.
 */
#pragma once

#include "vmm/config.h"
#include "vmm/keyval.h"

struct vmm_cmdline_option {
    const char *name;           /* after - or -- */
    const char *metavar;        /* NULL: takes no value */
    const struct vmm_key *keys; /* for help; NULL: the value has none */
    size_t n_keys;
    /* value is NULL where there is no metavar. Its error comes without the option's name. */
    bool (*parse)(struct vmm_config *config, const char *value, GError **error);
    const char *group;
    const char *help; /* NULL: accepted and not shown */
};

/* Groups of rows, each in a file of its own. */
struct vmm_cmdline_group {
    const struct vmm_cmdline_option *options;
    size_t n_options;
};
extern const struct vmm_cmdline_group vmm_cmdline_machine, vmm_cmdline_memory, vmm_cmdline_devices,
    vmm_cmdline_bridges;
extern const struct vmm_cmdline_group *const vmm_cmdline_groups[]; /* NULL ended */

enum vmm_cmdline_result {
    VMM_CMDLINE_RUN,
    VMM_CMDLINE_HELP,
    VMM_CMDLINE_VERSION,
    VMM_CMDLINE_MAN,
    VMM_CMDLINE_COMPLETION,
    VMM_CMDLINE_WRONG, /* *error is set */
};

/* Fills a config that was begun by vmm_config_init, and checks it as a whole. */
enum vmm_cmdline_result vmm_cmdline_parse(struct vmm_config *config, int argc, char **argv,
                                          GError **error);

/* One -device, as device_add has it too. False with *error. */
bool vmm_cmdline_parse_device(struct vmm_config *config, const char *value, GError **error);
/* The same, or a bridge or port, which are there from the start. */
bool vmm_cmdline_parse_device_or_place(struct vmm_config *config, const char *value,
                                       GError **error);
/* addr=: 0 to 31. */
bool vmm_cmdline_parse_slot(const char *value, int *ret_slot, GError **error);

/* --- cmdline-print.c --- */

void vmm_cmdline_print_help(void);
/* Of the man page, OPTIONS. */
void vmm_cmdline_print_man(void);
void vmm_cmdline_print_completion(void);
