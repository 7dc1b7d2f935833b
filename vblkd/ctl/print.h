/* SPDX-License-Identifier: Apache-2.0 */
/* What a command has returned, for people. */
#pragma once

#include <json-glib/json-glib.h>
#include <stdbool.h>

/* Prints to stdout: tables of the commands that have one, else names and values, indented. */
void ctl_print(const char *command, JsonNode *result);
/* Prints as JSON, indented. */
void ctl_print_json(JsonNode *result);
/* Prints the daemon's commands, or one with its arguments (false: there is none of that name). */
bool ctl_print_help(JsonArray *commands, const char *name);
