/* SPDX-License-Identifier: Apache-2.0 */
/* See arguments.h. What the values may be is the daemon's to check; here they get their types. */
#include "vblkd/ctl/arguments.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <unistd.h>

static bool arguments_fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool arguments_fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_propagate_error(error,
                      g_error_new_valist(G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, format, args));
    va_end(args);
    return false;
}

static const char *arguments_text(JsonObject *object, const char *member)
{
    return json_object_get_string_member_with_default(object, member, "");
}

/* The object of an array of descriptions that is called so. */
static JsonObject *arguments_find(JsonArray *array, const char *name)
{
    for (guint i = 0; array && i < json_array_get_length(array); i++) {
        JsonObject *object = json_array_get_object_element(array, i);

        if (strcmp(arguments_text(object, "name"), name) == 0)
            return object;
    }
    return NULL;
}

/* --- values --- */

/* A number, with a suffix of K, M, G or T for bytes. */
static JsonNode *arguments_read_int(JsonObject *row, const char *value, GError **error)
{
    static const char suffixes[] = "KMGT";
    char *end;
    gint64 number;
    const char *suffix;
    unsigned shift = 0;

    errno = 0;
    number = g_ascii_strtoll(value, &end, 10);
    if (end != value && *end != '\0' && end[1] == '\0' &&
        (suffix = strchr(suffixes, g_ascii_toupper(*end))) != NULL) {
        shift = 10 * (unsigned)(suffix - suffixes + 1);
        end++;
    }
    if (errno != 0 || end == value || *end != '\0' || number > (G_MAXINT64 >> shift) ||
        number < (G_MININT64 >> shift)) {
        arguments_fail(error, "%s: expected a number such as 100 or 16M, got \"%s\"",
                       arguments_text(row, "name"), value);
        return NULL;
    }
    return json_node_init_int(json_node_alloc(), number * (G_GINT64_CONSTANT(1) << shift));
}

static JsonNode *arguments_read_bool(JsonObject *row, const char *value, GError **error)
{
    static const char *const words[][2] = {{"false", "true"}, {"off", "on"}, {"no", "yes"}};

    for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
        for (int is_on = 0; is_on < 2; is_on++)
            if (strcmp(words[i][is_on], value) == 0)
                return json_node_init_boolean(json_node_alloc(), is_on);
    arguments_fail(error, "%s: expected on or off, got \"%s\"", arguments_text(row, "name"), value);
    return NULL;
}

static JsonNode *arguments_read_text(JsonObject *row, const char *value, GError **error)
{
    if (g_utf8_validate(value, -1, NULL))
        return json_node_init_string(json_node_alloc(), value);
    arguments_fail(error, "%s: expected UTF-8", arguments_text(row, "name"));
    return NULL;
}

/* Elsewhere, a relative name would mean another file. */
static JsonNode *arguments_read_file(JsonObject *row, const char *value, GError **error)
{
    g_autofree char *path = g_canonicalize_filename(value, NULL);

    return arguments_read_text(row, path, error);
}

static const struct arguments_type {
    const char *name;
    JsonNode *(*read)(JsonObject *row, const char *value, GError **error);
} arguments_types[] = {
    {"int", arguments_read_int},
    {"bool", arguments_read_bool},
    {"file", arguments_read_file},
};

static JsonNode *arguments_read(JsonObject *row, const char *value, GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(arguments_types); i++)
        if (strcmp(arguments_types[i].name, arguments_text(row, "type")) == 0)
            return arguments_types[i].read(row, value, error);
    return arguments_read_text(row, value, error);
}

/* Of a command that has no rows: text, or JSON where it begins like an object or an array. */
static JsonNode *arguments_read_any(const char *name, const char *value, GError **error)
{
    JsonNode *node;

    if (!g_utf8_validate(value, -1, NULL)) {
        arguments_fail(error, "%s: expected UTF-8", name);
        return NULL;
    }
    if (value[0] != '{' && value[0] != '[')
        return json_node_init_string(json_node_alloc(), value);
    node = json_from_string(value, error);
    if (!node)
        g_prefix_error(error, "%s: ", name);
    return node;
}

/* --- files --- */

static const struct arguments_open {
    const char *name;
    int flags;
} arguments_opens[] = {
    {"read", O_RDONLY},
    {"write", O_RDWR},
    {"create", O_RDWR | O_CREAT | O_EXCL},
};

static bool arguments_open_file(struct ctl_arguments *arguments, JsonObject *row, const char *path,
                                GError **error)
{
    const char *how = arguments_text(row, "open");
    int flags = O_RDONLY, fd;

    for (size_t i = 0; i < G_N_ELEMENTS(arguments_opens); i++)
        if (strcmp(arguments_opens[i].name, how) == 0)
            flags = arguments_opens[i].flags;
    if (arguments->n_fds == CTL_MAX_FDS)
        return arguments_fail(error, "too many files");
    fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd < 0)
        return arguments_fail(error, "%s: %s", path, g_strerror(errno));
    arguments->fds[arguments->n_fds++] = fd;
    if (flags & O_CREAT) {
        g_free(arguments->created);
        arguments->created = g_strdup(path);
    }
    return true;
}

/* Opens what was named, in the order of the daemon's rows. */
static bool arguments_open_files(struct ctl_arguments *arguments, JsonArray *rows, GError **error)
{
    JsonObject *values = json_node_get_object(arguments->node);

    for (guint i = 0; i < json_array_get_length(rows); i++) {
        JsonObject *row = json_array_get_object_element(rows, i);
        const char *name = arguments_text(row, "name");

        if (strcmp(arguments_text(row, "type"), "file") == 0 &&
            json_object_has_member(values, name) &&
            !arguments_open_file(arguments, row, json_object_get_string_member(values, name),
                                 error))
            return false;
    }
    return true;
}

/* --- words --- */

static bool arguments_add(struct ctl_arguments *arguments, JsonObject *command, const char *word,
                          GError **error)
{
    const char *equals = strchr(word, '=');
    g_autofree char *name = equals ? g_strndup(word, (size_t)(equals - word)) : NULL;
    bool is_open = json_object_get_boolean_member_with_default(command, "open", FALSE);
    JsonObject *row =
        name ? arguments_find(json_object_get_array_member(command, "arguments"), name) : NULL;
    JsonNode *value;

    if (!equals)
        return arguments_fail(error, "%s: expected KEY=VALUE", word);
    if (!row && !is_open)
        return arguments_fail(error, "%s has no argument \"%s\"; \"help %s\" lists them",
                              arguments_text(command, "name"), name,
                              arguments_text(command, "name"));
    value =
        row ? arguments_read(row, equals + 1, error) : arguments_read_any(name, equals + 1, error);
    if (!value)
        return false;
    json_object_set_member(json_node_get_object(arguments->node), name, value);
    return true;
}

bool ctl_arguments_parse(struct ctl_arguments *arguments, JsonArray *commands, const char *command,
                         char **words, GError **error)
{
    JsonObject *row = arguments_find(commands, command);
    JsonArray *rows;
    bool ok = true;

    *arguments = (struct ctl_arguments){.node = json_node_new(JSON_NODE_OBJECT)};
    json_node_take_object(arguments->node, json_object_new());
    if (!row || !json_object_has_member(row, "arguments"))
        ok =
            arguments_fail(error, "the daemon has no command \"%s\"; \"help\" lists them", command);
    rows = ok ? json_object_get_array_member(row, "arguments") : NULL;
    for (; ok && *words; words++)
        ok = arguments_add(arguments, row, *words, error);
    ok = ok && arguments_open_files(arguments, rows, error);
    if (!ok)
        ctl_arguments_clear(arguments, true);
    return ok;
}

void ctl_arguments_clear(struct ctl_arguments *arguments, bool has_failed)
{
    g_clear_pointer(&arguments->node, json_node_unref);
    for (unsigned i = 0; i < arguments->n_fds; i++)
        close(arguments->fds[i]);
    arguments->n_fds = 0;
    if (arguments->created && has_failed)
        unlink(arguments->created);
    g_clear_pointer(&arguments->created, g_free);
}
