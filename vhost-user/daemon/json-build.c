/* SPDX-License-Identifier: Apache-2.0 */
/* See json-build.h. */
#include "vhost-user/daemon/json-build.h"

void vu_json_add_text(JsonBuilder *json, const char *name, const char *value)
{
    g_autofree char *valid = value ? g_utf8_make_valid(value, -1) : NULL;

    if (!value)
        return;
    json_builder_set_member_name(json, name);
    json_builder_add_string_value(json, valid);
}

void vu_json_add_number(JsonBuilder *json, const char *name, uint64_t value)
{
    json_builder_set_member_name(json, name);
    json_builder_add_int_value(json, (gint64)MIN(value, INT64_MAX));
}

void vu_json_add_bool(JsonBuilder *json, const char *name, bool value)
{
    json_builder_set_member_name(json, name);
    json_builder_add_boolean_value(json, value);
}

void vu_json_begin_object(JsonBuilder *json, const char *name)
{
    json_builder_set_member_name(json, name);
    json_builder_begin_object(json);
}

void vu_json_begin_array(JsonBuilder *json, const char *name)
{
    json_builder_set_member_name(json, name);
    json_builder_begin_array(json);
}

JsonBuilder *vu_json_begin(void)
{
    JsonBuilder *json = json_builder_new();

    json_builder_begin_object(json);
    return json;
}

JsonNode *vu_json_finish(JsonBuilder *json)
{
    JsonNode *node;

    json_builder_end_object(json);
    node = json_builder_get_root(json);
    g_object_unref(json);
    return node;
}

char *vu_json_to_line(JsonNode *node)
{
    g_autofree char *text = json_to_string(node, FALSE);

    json_node_unref(node);
    return g_strconcat(text, "\n", NULL);
}
