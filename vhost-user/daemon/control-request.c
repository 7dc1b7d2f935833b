/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks what a client sent against the rows of the commands, so that these see nothing but what
 * they asked for. Messages name what is wrong as the client wrote it.
 */
#include "vhost-user/daemon/control-request.h"

#include <inttypes.h>
#include <string.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/json-build.h"
#include "vhost-user/daemon/json-check.h"

#define REQUEST_SHOWN_LEN 64 /* of names that nobody knows, in messages */

static const char *const request_error_classes[] = {
    [VU_CONTROL_ERROR_GENERIC] = "GenericError",
    [VU_CONTROL_ERROR_COMMAND_NOT_FOUND] = "CommandNotFound",
};

GQuark vu_control_error_quark(void)
{
    return g_quark_from_static_string("vu-control-error");
}

static bool request_fail(GError **error, enum vu_control_error code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
static bool request_fail(GError **error, enum vu_control_error code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_propagate_error(error, g_error_new_valist(VU_CONTROL_ERROR, (int)code, format, args));
    va_end(args);
    return false;
}

#define request_refuse(error, ...) request_fail(error, VU_CONTROL_ERROR_GENERIC, __VA_ARGS__)

JsonNode *vu_control_fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_propagate_error(error,
                      g_error_new_valist(VU_CONTROL_ERROR, VU_CONTROL_ERROR_GENERIC, format, args));
    va_end(args);
    return NULL;
}

JsonNode *vu_control_nothing(void)
{
    return vu_json_finish(vu_json_begin());
}

/* --- rows --- */

const struct vu_control_command *control_find_command(const struct control_room *room,
                                                      const char *name)
{
    const struct vu_control_table *tables[] = {&control_builtin_table, &room->own};

    for (size_t t = 0; t < G_N_ELEMENTS(tables); t++)
        for (size_t i = 0; i < tables[t]->n_commands; i++)
            if (strcmp(tables[t]->commands[i].name, name) == 0)
                return &tables[t]->commands[i];
    return NULL;
}

static const struct vu_control_argument *request_find_argument(
    const struct vu_control_command *command, const char *name)
{
    for (size_t i = 0; i < command->n_arguments; i++)
        if (strcmp(command->arguments[i].name, name) == 0)
            return &command->arguments[i];
    return NULL;
}

/* --- values --- */

static bool request_check_text(const struct vu_control_argument *row, JsonNode *value,
                               GError **error)
{
    const char *text;

    if (json_node_get_value_type(value) != G_TYPE_STRING)
        return request_refuse(error, "%s: expected a string", row->name);
    text = json_node_get_string(value);
    if (text[0] == '\0')
        return request_refuse(error, "%s: expected a string that is not empty", row->name);
    if (row->type == VU_CONTROL_STRING && row->max > 0 && strlen(text) > (size_t)row->max)
        return request_refuse(error, "%s: expected at most %" PRId64 " bytes, got %zu", row->name,
                              row->max, strlen(text));
    return true;
}

static bool request_check_int(const struct vu_control_argument *row, JsonNode *value,
                              GError **error)
{
    int64_t number;

    if (json_node_get_value_type(value) != G_TYPE_INT64)
        return request_refuse(error, "%s: expected an integer", row->name);
    number = json_node_get_int(value);
    if (number < row->min || number > row->max)
        return request_refuse(error, "%s: expected %" PRId64 " to %" PRId64 ", got %" PRId64,
                              row->name, row->min, row->max, number);
    return true;
}

static bool request_check_bool(const struct vu_control_argument *row, JsonNode *value,
                               GError **error)
{
    return json_node_get_value_type(value) == G_TYPE_BOOLEAN ||
           request_refuse(error, "%s: expected true or false", row->name);
}

static bool request_check_choice(const struct vu_control_argument *row, JsonNode *value,
                                 GError **error)
{
    g_autoptr(GString) choices = g_string_new(NULL);

    if (json_node_get_value_type(value) == G_TYPE_STRING &&
        g_strv_contains(row->choices, json_node_get_string(value)))
        return true;
    for (size_t i = 0; row->choices[i]; i++)
        g_string_append_printf(choices, "%s%s", i > 0 ? ", " : "", row->choices[i]);
    return request_refuse(error, "%s: expected one of %s", row->name, choices->str);
}

static bool (*const request_checks[])(const struct vu_control_argument *row, JsonNode *value,
                                      GError **error) = {
    [VU_CONTROL_STRING] = request_check_text, [VU_CONTROL_INT] = request_check_int,
    [VU_CONTROL_BOOL] = request_check_bool,   [VU_CONTROL_CHOICE] = request_check_choice,
    [VU_CONTROL_FILE] = request_check_text,
};

static bool request_check_arguments(const struct vu_control_command *command, JsonObject *arguments,
                                    GError **error)
{
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;

    if (command->is_open)
        return true;
    json_object_iter_init(&iter, arguments);
    while (json_object_iter_next(&iter, &name, &value)) {
        const struct vu_control_argument *row = request_find_argument(command, name);

        if (!row)
            return request_refuse(error, "%s has no argument \"%.*s\"", command->name,
                                  REQUEST_SHOWN_LEN, name);
        if (!request_checks[row->type](row, value, error))
            return false;
    }
    for (size_t i = 0; i < command->n_arguments; i++)
        if (command->arguments[i].is_required &&
            !json_object_has_member(arguments, command->arguments[i].name))
            return request_refuse(error, "%s: expected the argument %s", command->name,
                                  command->arguments[i].name);
    return true;
}

/* --- the line --- */

/* The object that was sent; NULL with *error. */
static JsonObject *request_read_object(struct control_request *request, const char *line,
                                       size_t len, GError **error)
{
    JsonNode *root;

    if (!vu_json_check(line, len, error))
        return NULL;
    request->parser = json_parser_new();
    if (!json_parser_load_from_data(request->parser, line, (gssize)len, error))
        return NULL;
    root = json_parser_get_root(request->parser);
    if (JSON_NODE_HOLDS_OBJECT(root))
        return json_node_get_object(root);
    request_refuse(error, "expected an object, {\"execute\": COMMAND}");
    return NULL;
}

static bool request_check_members(JsonObject *object, GError **error)
{
    static const char *const known[] = {"execute", "arguments", "id", NULL};
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;

    json_object_iter_init(&iter, object);
    while (json_object_iter_next(&iter, &name, &value))
        if (!g_strv_contains(known, name))
            return request_refuse(error, "a command has no member \"%.*s\"", REQUEST_SHOWN_LEN,
                                  name);
    value = json_object_get_member(object, "execute");
    if (!value || json_node_get_value_type(value) != G_TYPE_STRING)
        return request_refuse(error, "execute: expected the name of a command");
    value = json_object_get_member(object, "arguments");
    if (value && !JSON_NODE_HOLDS_OBJECT(value))
        return request_refuse(error, "arguments: expected an object");
    return true;
}

static void request_fill_call(struct vu_control_call *call, struct control_room *room,
                              const struct vu_control_command *command, JsonObject *arguments)
{
    call->control = room->control;
    call->opaque =
        command >= control_builtin_table.commands &&
                command < control_builtin_table.commands + control_builtin_table.n_commands
            ? (void *)room
            : room->opaque;
    call->backends = room->backends;
    call->n_backends = room->n_backends;
    call->backend = room->n_backends > 0 ? room->backends[0] : NULL;
    call->command = command;
    call->arguments = arguments ? json_object_ref(arguments) : json_object_new();
}

static bool request_read(struct control_request *request, struct control_room *room,
                         const char *line, size_t len, GError **error)
{
    JsonObject *object = request_read_object(request, line, len, error), *arguments = NULL;
    const struct vu_control_command *command;
    const char *name;

    if (!object)
        return false;
    if (json_object_has_member(object, "id"))
        request->id = json_node_copy(json_object_get_member(object, "id"));
    if (!request_check_members(object, error))
        return false;
    name = json_object_get_string_member(object, "execute");
    command = control_find_command(room, name);
    if (!command)
        return request_fail(error, VU_CONTROL_ERROR_COMMAND_NOT_FOUND,
                            "no command is called \"%.*s\"; query-commands tells them",
                            REQUEST_SHOWN_LEN, name);
    if (json_object_has_member(object, "arguments"))
        arguments = json_object_get_object_member(object, "arguments");
    request_fill_call(&request->call, room, command, arguments);
    return request_check_arguments(command, request->call.arguments, error);
}

void control_request_parse(struct control_request *request, struct control_room *room,
                           const char *line, size_t len)
{
    *request = (struct control_request){0};
    for (size_t i = 0; i < VU_CONTROL_MAX_FILES; i++)
        request->call.fds[i] = -1;
    request_read(request, room, line, len, &request->error);
}

unsigned control_request_n_files(const struct control_request *request)
{
    const struct vu_control_call *call = &request->call;
    unsigned n = 0;

    if (request->error)
        return 0;
    for (size_t i = 0; i < call->command->n_arguments; i++)
        n += call->command->arguments[i].type == VU_CONTROL_FILE &&
             vu_control_has(call, call->command->arguments[i].name);
    g_assert(n <= VU_CONTROL_MAX_FILES);
    return n;
}

/* --- answers --- */

static JsonNode *request_error_node(const GError *error)
{
    int code = error->domain == VU_CONTROL_ERROR ? error->code : VU_CONTROL_ERROR_GENERIC;
    JsonBuilder *json = vu_json_begin();

    vu_json_add_text(json, "class", request_error_classes[code]);
    vu_json_add_text(json, "desc", error->message);
    return vu_json_finish(json);
}

/* {"return": node, "id": id}; takes the node. */
static char *request_line(const char *member, JsonNode *node, JsonNode *id)
{
    JsonObject *object = json_object_new();
    JsonNode *root = json_node_new(JSON_NODE_OBJECT);

    json_object_set_member(object, member, node);
    if (id)
        json_object_set_member(object, "id", json_node_copy(id));
    json_node_take_object(root, object);
    return vu_json_to_line(root);
}

char *control_request_run(struct control_request *request)
{
    const struct vu_control_call *call = &request->call;
    JsonNode *result = NULL;

    if (!request->error)
        result = call->command->run(&request->call, &request->error);
    if (result)
        return request_line("return", result, request->id);
    g_assert(request->error);
    return request_line("error", request_error_node(request->error), request->id);
}

void control_request_clear(struct control_request *request)
{
    for (size_t i = 0; i < VU_CONTROL_MAX_FILES; i++)
        vu_clear_fd(&request->call.fds[i]);
    g_clear_pointer(&request->call.arguments, json_object_unref);
    g_clear_object(&request->parser);
    g_clear_pointer(&request->id, json_node_unref);
    g_clear_error(&request->error);
}

char *control_error_line(GError *error)
{
    char *line = request_line("error", request_error_node(error), NULL);

    g_error_free(error);
    return line;
}

/* --- arguments, for commands --- */

bool vu_control_has(const struct vu_control_call *call, const char *name)
{
    return json_object_has_member(call->arguments, name);
}

const char *vu_control_string(const struct vu_control_call *call, const char *name)
{
    return vu_control_has(call, name) ? json_object_get_string_member(call->arguments, name) : NULL;
}

int64_t vu_control_int(const struct vu_control_call *call, const char *name, int64_t fallback)
{
    return vu_control_has(call, name) ? json_object_get_int_member(call->arguments, name)
                                      : fallback;
}

bool vu_control_bool(const struct vu_control_call *call, const char *name, bool fallback)
{
    return vu_control_has(call, name) ? json_object_get_boolean_member(call->arguments, name)
                                      : fallback;
}

int vu_control_choice(const struct vu_control_call *call, const char *name, int fallback)
{
    const struct vu_control_argument *row = request_find_argument(call->command, name);
    const char *text = vu_control_string(call, name);

    for (int i = 0; text && row->choices[i]; i++)
        if (strcmp(row->choices[i], text) == 0)
            return i;
    return fallback;
}

int vu_control_take_fd(struct vu_control_call *call, const char *name)
{
    const struct vu_control_command *command = call->command;
    unsigned index = 0;

    for (size_t i = 0; i < command->n_arguments; i++) {
        const struct vu_control_argument *row = &command->arguments[i];

        if (row->type != VU_CONTROL_FILE || !vu_control_has(call, row->name))
            continue;
        if (strcmp(row->name, name) == 0)
            return vu_steal_fd(&call->fds[index]);
        index++;
    }
    return -1;
}
