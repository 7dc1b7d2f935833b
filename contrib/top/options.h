/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of outboard-top, its help and its man page. */
#pragma once

#include <stdbool.h>

struct top_options {
    int delay_ms;
    int n_rounds;    /* that are shown; 0: without end */
    int sort_column; /* of top_columns */
    bool is_reversed;
    bool is_batch, is_once, is_json;
    bool help, version, print_man, print_completion;
    char **places; /* NULL ended; g_free */
};

/* True to go on. False with the exit status, where that was all, or wrong. */
bool top_options_parse(struct top_options *options, int argc, char **argv, int *ret_status);
