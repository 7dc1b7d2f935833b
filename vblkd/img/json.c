/* SPDX-License-Identifier: Apache-2.0 */
/* JSON on standard output, by json-glib. */
#include "vblkd/img/json.h"

#include <stdio.h>

void img_json_add_text(JsonBuilder *json, const char *name, const char *value)
{
    g_autofree char *valid = value ? g_utf8_make_valid(value, -1) : NULL;

    if (!value)
        return;
    json_builder_set_member_name(json, name);
    json_builder_add_string_value(json, valid);
}

void img_json_add_number(JsonBuilder *json, const char *name, uint64_t value)
{
    json_builder_set_member_name(json, name);
    json_builder_add_int_value(json, (gint64)value);
}

void img_json_add_bool(JsonBuilder *json, const char *name, bool value)
{
    json_builder_set_member_name(json, name);
    json_builder_add_boolean_value(json, value);
}

void img_json_print(JsonBuilder *json)
{
    g_autoptr(JsonGenerator) generator = json_generator_new();
    JsonNode *root = json_builder_get_root(json);
    g_autofree char *text = NULL;

    json_generator_set_pretty(generator, TRUE);
    json_generator_set_indent(generator, 4);
    json_generator_set_root(generator, root);
    text = json_generator_to_data(generator, NULL);
    puts(text);
    json_node_unref(root);
    g_object_unref(json);
}
