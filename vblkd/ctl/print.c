/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See print.h. What a daemon says may hold names of files, which may hold anything: control
 * characters are not passed on to a terminal.
 */
#include "vblkd/ctl/print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vhost-user/daemon/options-words.h"
#include "vhost-user/daemon/printable.h"

#define PRINT_INDENT      2
#define PRINT_HELP_COLUMN 30

static void print_text(const char *text)
{
    g_autofree char *printable = vu_printable(text);

    fputs(printable, stdout);
}

static void print_padded(const char *text, int width)
{
    g_autofree char *printable = vu_printable(text);

    fputs(printable, stdout);
    for (int len = (int)g_utf8_strlen(printable, -1); len < width; len++)
        putchar(' ');
}

static void print_scalar(JsonNode *node)
{
    GType type = json_node_get_value_type(node);

    if (JSON_NODE_HOLDS_NULL(node))
        fputs("-", stdout);
    else if (type == G_TYPE_STRING)
        print_text(json_node_get_string(node));
    else if (type == G_TYPE_BOOLEAN)
        fputs(json_node_get_boolean(node) ? "yes" : "no", stdout);
    else if (type == G_TYPE_DOUBLE)
        printf("%g", json_node_get_double(node));
    else
        printf("%" PRId64, json_node_get_int(node));
}

/* --- anything --- */

static void print_node(JsonNode *node, int indent);

static bool print_is_plain_array(JsonArray *array)
{
    for (guint i = 0; i < json_array_get_length(array); i++)
        if (!JSON_NODE_HOLDS_VALUE(json_array_get_element(array, i)))
            return false;
    return true;
}

static void print_object(JsonObject *object, int indent)
{
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;

    json_object_iter_init_ordered(&iter, object);
    while (json_object_iter_next_ordered(&iter, &name, &value)) {
        printf("%*s", indent, "");
        print_text(name);
        putchar(':');
        print_node(value, indent + PRINT_INDENT);
    }
}

static void print_array(JsonArray *array, int indent)
{
    for (guint i = 0; i < json_array_get_length(array); i++) {
        printf("%*s-", indent, "");
        print_node(json_array_get_element(array, i), indent + PRINT_INDENT);
    }
}

/* What follows a name, or a dash: on the same line where it is short. */
static void print_node(JsonNode *node, int indent)
{
    if (JSON_NODE_HOLDS_OBJECT(node)) {
        putchar('\n');
        print_object(json_node_get_object(node), indent);
    } else if (JSON_NODE_HOLDS_ARRAY(node) && !print_is_plain_array(json_node_get_array(node))) {
        putchar('\n');
        print_array(json_node_get_array(node), indent);
    } else {
        JsonArray *array = JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;

        for (guint i = 0; array && i < json_array_get_length(array); i++) {
            putchar(' ');
            print_scalar(json_array_get_element(array, i));
        }
        if (!array) {
            putchar(' ');
            print_scalar(node);
        }
        putchar('\n');
    }
}

/* --- query-stats --- */

static int64_t print_number(JsonObject *object, const char *name)
{
    return json_object_get_int_member_with_default(object, name, 0);
}

static double print_us(JsonObject *object, const char *name)
{
    return (double)print_number(object, name) / 1000;
}

/* A line for each kind of request that there was. */
static void print_stats_of(const char *title, JsonObject *stats)
{
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;

    json_object_iter_init_ordered(&iter, stats);
    while (json_object_iter_next_ordered(&iter, &name, &value)) {
        JsonObject *kind = JSON_NODE_HOLDS_OBJECT(value) ? json_node_get_object(value) : NULL;

        if (!kind || print_number(kind, "operations") == 0)
            continue;
        print_padded(title, 7);
        print_padded(name, 20);
        printf("%12" PRId64 " %8" PRId64 " %12.1f %11.1f %11.1f %12.1f\n",
               print_number(kind, "operations"), print_number(kind, "failed"),
               (double)print_number(kind, "bytes") / (1 << 20), print_us(kind, "p50_ns"),
               print_us(kind, "p99_ns"), print_us(kind, "max_ns"));
    }
}

static bool print_stats(JsonNode *result)
{
    JsonObject *object = JSON_NODE_HOLDS_OBJECT(result) ? json_node_get_object(result) : NULL;
    JsonArray *queues;
    JsonObject *total;

    if (!object || !json_object_has_member(object, "queues") ||
        !json_object_has_member(object, "total"))
        return false;
    queues = json_object_get_array_member(object, "queues");
    total = json_object_get_object_member(object, "total");
    printf("%-7s%-20s%12s %8s %12s %11s %11s %12s\n", "queue", "kind", "requests", "failed", "MiB",
           "p50 us", "p99 us", "max us");
    for (guint i = 0; i < json_array_get_length(queues); i++) {
        JsonObject *queue = json_array_get_object_element(queues, i);
        g_autofree char *title = g_strdup_printf("%" PRId64, print_number(queue, "queue"));

        print_stats_of(title, queue);
    }
    print_stats_of("all", total);
    printf("in flight: %" PRId64 ", most at a time in one queue: %" PRId64 "\n",
           print_number(total, "depth"), print_number(total, "max_depth"));
    return true;
}

/* --- an array of objects with the same plain members --- */

static char *print_cell(JsonNode *value)
{
    GType type = value ? json_node_get_value_type(value) : G_TYPE_INVALID;

    if (!value || !JSON_NODE_HOLDS_VALUE(value))
        return g_strdup("-");
    if (type == G_TYPE_STRING)
        return g_strdup(json_node_get_string(value));
    if (type == G_TYPE_BOOLEAN)
        return g_strdup(json_node_get_boolean(value) ? "yes" : "no");
    return json_to_string(value, FALSE);
}

static int print_column_width(JsonArray *rows, const char *name)
{
    glong width = g_utf8_strlen(name, -1);

    for (guint i = 0; i < json_array_get_length(rows); i++) {
        JsonObject *row = json_array_get_object_element(rows, i);
        g_autofree char *cell = print_cell(json_object_get_member(row, name));

        width = MAX(width, g_utf8_strlen(cell, -1));
    }
    return (int)width + 2;
}

static void print_row(JsonArray *rows, GList *names, JsonObject *row)
{
    for (GList *name = names; name; name = name->next) {
        g_autofree char *cell =
            row ? print_cell(json_object_get_member(row, name->data)) : g_strdup(name->data);

        print_padded(cell, name->next ? print_column_width(rows, name->data) : 0);
    }
    putchar('\n');
}

static bool print_table(JsonNode *result)
{
    JsonArray *rows = JSON_NODE_HOLDS_ARRAY(result) ? json_node_get_array(result) : NULL;
    g_autoptr(GList) names = NULL;

    for (guint i = 0; rows && i < json_array_get_length(rows); i++)
        if (!JSON_NODE_HOLDS_OBJECT(json_array_get_element(rows, i)))
            return false;
    if (!rows || json_array_get_length(rows) == 0)
        return false;
    names = json_object_get_members(json_array_get_object_element(rows, 0));
    print_row(rows, names, NULL);
    for (guint i = 0; i < json_array_get_length(rows); i++)
        print_row(rows, names, json_array_get_object_element(rows, i));
    return true;
}

/* --- help --- */

static void print_help_line(JsonObject *object, const char *suffix, int indent)
{
    g_autofree char *left =
        g_strdup_printf("%*s%s%s", indent, "",
                        json_object_get_string_member_with_default(object, "name", "?"), suffix);
    const char *help = json_object_get_string_member_with_default(object, "help", "");

    print_text(left);
    vu_options_print_wrapped(help, strlen(left));
}

static void print_help_arguments(JsonObject *command)
{
    JsonArray *rows = json_object_get_array_member(command, "arguments");

    for (guint i = 0; i < json_array_get_length(rows); i++) {
        JsonObject *row = json_array_get_object_element(rows, i);
        const char *type = json_object_get_string_member_with_default(row, "type", "?");
        bool is_required = json_object_get_boolean_member_with_default(row, "required", FALSE);
        g_autofree char *suffix = g_strdup_printf("=%s%s", type, is_required ? " (needed)" : "");

        print_help_line(row, suffix, 4);
    }
}

bool ctl_print_help(JsonArray *commands, const char *name)
{
    bool found = false;

    for (guint i = 0; i < json_array_get_length(commands); i++) {
        JsonObject *command = json_array_get_object_element(commands, i);

        if (name && strcmp(json_object_get_string_member_with_default(command, "name", ""), name))
            continue;
        found = true;
        print_help_line(command, "", PRINT_INDENT);
        print_help_arguments(command);
    }
    return found;
}

static bool print_commands(JsonNode *result)
{
    return JSON_NODE_HOLDS_ARRAY(result) && ctl_print_help(json_node_get_array(result), NULL);
}

/* --- all --- */

static const struct print_command {
    const char *name;
    bool (*print)(JsonNode *result); /* false: it does not look like that */
} print_own[] = {
    {"query-blockstats", print_stats},
    {"query-stats", print_stats},
    {"query-commands", print_commands},
};

void ctl_print(const char *command, JsonNode *result)
{
    for (size_t i = 0; i < G_N_ELEMENTS(print_own); i++)
        if (strcmp(print_own[i].name, command) == 0 && print_own[i].print(result))
            return;
    if (print_table(result))
        return;
    if (JSON_NODE_HOLDS_OBJECT(result)) {
        print_object(json_node_get_object(result), 0);
    } else if (JSON_NODE_HOLDS_ARRAY(result)) {
        print_array(json_node_get_array(result), 0);
    } else {
        print_scalar(result);
        putchar('\n');
    }
}

void ctl_print_json(JsonNode *result)
{
    g_autofree char *text = json_to_string(result, TRUE);

    puts(text);
}
