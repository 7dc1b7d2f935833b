/* SPDX-License-Identifier: Apache-2.0 */
/* JSON on standard output. */
#pragma once

#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Members of the object that is being built. A NULL text adds nothing. */
void img_json_add_text(JsonBuilder *json, const char *name, const char *value);
void img_json_add_number(JsonBuilder *json, const char *name, uint64_t value);
void img_json_add_bool(JsonBuilder *json, const char *name, bool value);

/* Prints what was built, indented, and a newline; takes the builder. */
void img_json_print(JsonBuilder *json);
