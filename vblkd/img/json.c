/* SPDX-License-Identifier: Apache-2.0 */
/* JSON on standard output, by json-glib. */
#include "vblkd/img/json.h"

#include <stdio.h>

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
