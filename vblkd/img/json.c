/* SPDX-License-Identifier: Apache-2.0 */
/* JSON on standard output, by json-glib. */
#include "vblkd/img/json.h"

#include <stdbool.h>
#include <stdio.h>

/* The generator writes `"name" : value`; scripts that read qemu-img's output look for `"name": `.
 */
static void json_close_up(char *text)
{
    bool is_string = false;
    char *to = text;

    for (const char *from = text; *from; from++) {
        if (!is_string && from[0] == ' ' && from[1] == ':')
            continue;
        if (is_string && *from == '\\')
            *to++ = *from++;
        else if (*from == '"')
            is_string = !is_string;
        *to++ = *from;
    }
    *to = '\0';
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
    json_close_up(text);
    puts(text);
    json_node_unref(root);
    g_object_unref(json);
}
