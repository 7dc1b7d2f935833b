/* SPDX-License-Identifier: Apache-2.0 */
/* Names of images on command lines, taken apart. */
#include "vblkd/img/image-name.h"

#include <json-glib/json-glib.h>
#include <string.h>

#include "vhost-user/daemon/options.h"

#define NAME_JSON "json:"

static bool name_fail(GError **error, const char *name, const char *what)
{
    g_set_error(error, VU_OPTION_ERROR, 0, "%s: %s", name, what);
    return false;
}

char *img_image_name_path(const char *name, GError **error)
{
    static const char *const local[] = {"file:", "host_device:"};
    const char *colon = strchr(name, ':'), *slash = strchr(name, '/');

    for (size_t i = 0; i < G_N_ELEMENTS(local); i++)
        if (g_str_has_prefix(name, local[i]))
            return g_strdup(name + strlen(local[i]));
    if (!colon || (slash && slash < colon))
        return g_strdup(name);
    name_fail(error, name,
              "no protocol of that name is known here; a file that is called so is ./NAME");
    return NULL;
}

bool img_image_name_is_json(const char *name)
{
    return g_str_has_prefix(name, NAME_JSON);
}

/* --- json: --- */

static bool name_flatten(JsonObject *object, const char *prefix, GString *opts, GError **error);

/* A value of --image-opts, in which commas and backslashes say something. */
static void name_add_text(GString *opts, const char *text)
{
    for (; *text; text++) {
        if (*text == ',' || *text == '\\')
            g_string_append_c(opts, *text);
        g_string_append_c(opts, *text);
    }
}

static bool name_add_value(JsonNode *node, const char *key, GString *opts, GError **error)
{
    if (JSON_NODE_HOLDS_OBJECT(node)) {
        g_autofree char *prefix = g_strconcat(key, ".", NULL);

        return name_flatten(json_node_get_object(node), prefix, opts, error);
    }
    if (!JSON_NODE_HOLDS_VALUE(node))
        return name_fail(error, NAME_JSON, "expected objects, texts, numbers and truth values");
    g_string_append_printf(opts, "%s%s=", opts->len ? "," : "", key);
    if (json_node_get_value_type(node) == G_TYPE_STRING)
        name_add_text(opts, json_node_get_string(node));
    else if (json_node_get_value_type(node) == G_TYPE_BOOLEAN)
        g_string_append(opts, json_node_get_boolean(node) ? "on" : "off");
    else
        g_string_append_printf(opts, "%" G_GINT64_FORMAT, json_node_get_int(node));
    return true;
}

static bool name_flatten(JsonObject *object, const char *prefix, GString *opts, GError **error)
{
    g_autoptr(GList) members = json_object_get_members(object);
    bool ok = true;

    for (GList *member = members; member && ok; member = member->next) {
        const char *name = member->data;
        g_autofree char *key = g_strconcat(prefix, name, NULL);

        ok = name_add_value(json_object_get_member(object, name), key, opts, error);
    }
    return ok;
}

char *img_image_name_opts(const char *name, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new_immutable();
    g_autoptr(GString) opts = g_string_new(NULL);
    JsonNode *root;

    if (!json_parser_load_from_data(parser, name + strlen(NAME_JSON), -1, error)) {
        g_prefix_error(error, "%s: ", name);
        return NULL;
    }
    root = json_parser_get_root(parser);
    if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
        name_fail(error, name, "expected an object");
        return NULL;
    }
    if (!name_flatten(json_node_get_object(root), "", opts, error))
        return NULL;
    return g_string_free(g_steal_pointer(&opts), FALSE);
}
