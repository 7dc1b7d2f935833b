/* SPDX-License-Identifier: Apache-2.0 */
/* From KEY=VALUE to the arguments of a command, as the daemon describes it. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

#include "vblkd/ctl/connection.h"

struct ctl_arguments {
    JsonNode *node;       /* an object; NULL: taken */
    int fds[CTL_MAX_FDS]; /* files that the command takes, in the order of the daemon's rows */
    unsigned n_fds;
    char *created; /* the last of them that did not exist before; NULL: none */
};

/*
 * commands: what query-commands returns. words: KEY=VALUE, NULL ended. Opens the files that are
 * named. False with *error, and nothing to be cleared.
 */
bool ctl_arguments_parse(struct ctl_arguments *arguments, JsonArray *commands, const char *command,
                         char **words, GError **error);
/* Closes the files; where the command failed, what was created for it is removed again. */
void ctl_arguments_clear(struct ctl_arguments *arguments, bool has_failed);
