/* SPDX-License-Identifier: Apache-2.0 */
/* Members of JSON objects, in one call each. */
#pragma once

#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Members of the object that is being built. A NULL text adds nothing; what of it is no UTF-8 is
 * replaced. Numbers beyond INT64_MAX become that. */
void vu_json_add_text(JsonBuilder *json, const char *name, const char *value);
void vu_json_add_number(JsonBuilder *json, const char *name, uint64_t value);
void vu_json_add_bool(JsonBuilder *json, const char *name, bool value);
/* Begins a member that is an object or an array; json_builder_end_object or _array ends it. */
void vu_json_begin_object(JsonBuilder *json, const char *name);
void vu_json_begin_array(JsonBuilder *json, const char *name);

/* A builder in whose object members can be added; vu_json_finish ends the object, frees the builder
 * and returns what was built. */
JsonBuilder *vu_json_begin(void);
JsonNode *vu_json_finish(JsonBuilder *json);

/* One line, its end included; takes the node. g_free. */
char *vu_json_to_line(JsonNode *node);
