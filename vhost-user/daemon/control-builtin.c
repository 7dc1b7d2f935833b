/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that every daemon has. Their opaque is the struct control_room. */
#include <stdio.h>
#include <sys/eventfd.h>

#include "vhost-user/daemon/control-request.h"
#include "vhost-user/daemon/json-build.h"
#include "vhost-user/daemon/process.h"
#include "vhost-user/daemon/stats.h"
#include "vhost-user/log.h"

static const char *const builtin_types[] = {
    [VU_CONTROL_STRING] = "string", [VU_CONTROL_INT] = "int",   [VU_CONTROL_BOOL] = "bool",
    [VU_CONTROL_CHOICE] = "choice", [VU_CONTROL_FILE] = "file",
};

static const char *const builtin_opens[] = {
    [VU_CONTROL_OPEN_READ] = "read",
    [VU_CONTROL_OPEN_WRITE] = "write",
    [VU_CONTROL_OPEN_CREATE] = "create",
};

/* In the order of the thresholds, which begin with VU_LOG_OFF. */
static const char *const builtin_log_levels[] = {"off", "error", "warn", "info", "debug", NULL};

void control_add_version(JsonBuilder *json, const char *program)
{
    g_autofree char *package = g_strdup_printf("Outboard %s %s", program, VU_PACKAGE_VERSION);
    unsigned parts[3] = {0};
    static const char *const names[] = {"major", "minor", "micro"};

    /* QMP's clients look for this member. */
    sscanf(VU_PACKAGE_VERSION, "%u.%u.%u", &parts[0], &parts[1], &parts[2]);
    vu_json_begin_object(json, "qemu");
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
        vu_json_add_number(json, names[i], parts[i]);
    json_builder_end_object(json);
    vu_json_add_text(json, "package", package);
}

static JsonNode *builtin_query_version(struct vu_control_call *call, GError **error)
{
    const struct control_room *room = call->opaque;
    JsonBuilder *json = vu_json_begin();

    control_add_version(json, room->program);
    vu_json_add_text(json, "program", room->program);
    vu_json_add_text(json, "version", VU_PACKAGE_VERSION);
    return vu_json_finish(json);
}

static void builtin_add_argument(JsonBuilder *json, const struct vu_control_argument *row)
{
    json_builder_begin_object(json);
    vu_json_add_text(json, "name", row->name);
    vu_json_add_text(json, "type", builtin_types[row->type]);
    vu_json_add_bool(json, "required", row->is_required);
    if (row->type == VU_CONTROL_INT) {
        json_builder_set_member_name(json, "min");
        json_builder_add_int_value(json, row->min);
    }
    if (row->type == VU_CONTROL_INT || (row->type == VU_CONTROL_STRING && row->max > 0)) {
        json_builder_set_member_name(json, "max");
        json_builder_add_int_value(json, row->max);
    }
    if (row->type == VU_CONTROL_FILE)
        vu_json_add_text(json, "open", builtin_opens[row->open]);
    if (row->type == VU_CONTROL_CHOICE) {
        vu_json_begin_array(json, "choices");
        for (size_t i = 0; row->choices[i]; i++)
            json_builder_add_string_value(json, row->choices[i]);
        json_builder_end_array(json);
    }
    vu_json_add_text(json, "help", row->help);
    json_builder_end_object(json);
}

static void builtin_add_commands(JsonBuilder *json, const struct vu_control_table *table)
{
    for (size_t i = 0; i < table->n_commands; i++) {
        const struct vu_control_command *command = &table->commands[i];

        json_builder_begin_object(json);
        vu_json_add_text(json, "name", command->name);
        vu_json_add_text(json, "help", command->help);
        vu_json_begin_array(json, "arguments");
        for (size_t k = 0; k < command->n_arguments; k++)
            builtin_add_argument(json, &command->arguments[k]);
        json_builder_end_array(json);
        if (command->is_open)
            vu_json_add_bool(json, "open", true);
        json_builder_end_object(json);
    }
}

static JsonNode *builtin_query_commands(struct vu_control_call *call, GError **error)
{
    const struct control_room *room = call->opaque;
    JsonBuilder *json = json_builder_new();
    JsonNode *node;

    json_builder_begin_array(json);
    builtin_add_commands(json, &control_builtin_table);
    builtin_add_commands(json, &room->own);
    json_builder_end_array(json);
    node = json_builder_get_root(json);
    g_object_unref(json);
    return node;
}

static JsonNode *builtin_query_stats(struct vu_control_call *call, GError **error)
{
    return vu_stats_to_json(call->backends, call->n_backends,
                            vu_control_bool(call, "histograms", false));
}

static JsonNode *builtin_query_process(struct vu_control_call *call, GError **error)
{
    return vu_process_to_json();
}

static JsonNode *builtin_set_log_level(struct vu_control_call *call, GError **error)
{
    int level = vu_control_choice(call, "level", 0) + VU_LOG_OFF;

    vu_log_set_level((enum vu_log_level)level);
    return vu_control_nothing();
}

static JsonNode *builtin_quit(struct vu_control_call *call, GError **error)
{
    const struct control_room *room = call->opaque;

    if (!room->own.tells_shutdown)
        vu_control_event(call->control, "SHUTDOWN", NULL);
    (void)eventfd_write(room->stop_fd, 1);
    return vu_control_nothing();
}

static JsonNode *builtin_do_nothing(struct vu_control_call *call, GError **error)
{
    return vu_control_nothing();
}

static const struct vu_control_argument builtin_log_level_rows[] = {
    {.name = "level",
     .type = VU_CONTROL_CHOICE,
     .is_required = true,
     .choices = builtin_log_levels,
     .help = "The least important lines to write."},
};

static const struct vu_control_argument builtin_stats_rows[] = {
    {.name = "histograms",
     .type = VU_CONTROL_BOOL,
     .help = "Add the histograms of durations: [nanoseconds that a bucket ends before, requests]."},
};

static const struct vu_control_command builtin_commands[] = {
    {.name = "query-version", .help = "The program and its version.", .run = builtin_query_version},
    {.name = "query-commands",
     .help = "All commands with their arguments.",
     .run = builtin_query_commands},
    {.name = "query-stats",
     .help = "Requests, errors, bytes and durations of each kind of request, for each queue and in "
             "total.",
     .arguments = builtin_stats_rows,
     .n_arguments = G_N_ELEMENTS(builtin_stats_rows),
     .run = builtin_query_stats},
    {.name = "query-process",
     .help = "What the process takes of the host: memory, CPU time, threads, descriptors.",
     .run = builtin_query_process},
    {.name = "set-log-level",
     .help = "Which log lines are written from now on.",
     .arguments = builtin_log_level_rows,
     .n_arguments = G_N_ELEMENTS(builtin_log_level_rows),
     .run = builtin_set_log_level},
    {.name = "quit",
     .help = "End the daemon as SIGTERM does: requests on their way are completed.",
     .run = builtin_quit},
    {.name = "qmp_capabilities",
     .help = "Nothing; for clients that begin with it, as QMP's do. What they enable (enable: []) "
             "is not looked at.",
     .is_open = true,
     .run = builtin_do_nothing},
};

const struct vu_control_table control_builtin_table = {builtin_commands,
                                                       G_N_ELEMENTS(builtin_commands)};
