/* SPDX-License-Identifier: Apache-2.0 */
/* The same for programs: whole numbers, in base units. */
#include <string.h>

#include "contrib/top/table.h"
#include "vhost-user/daemon/json-build.h"

static const char *json_state(const struct top_daemon *daemon)
{
    if (daemon->state == TOP_DOWN)
        return "down";
    return daemon->is_late ? "hung" : "running";
}

static void json_add_real(JsonBuilder *json, const char *name, double value)
{
    json_builder_set_member_name(json, name);
    json_builder_add_double_value(json, value);
}

static void json_add_now(JsonBuilder *json, const struct top_sample *now)
{
    vu_json_add_text(json, "serves", now->serves);
    vu_json_add_bool(json, "connected", now->is_connected);
    vu_json_add_number(json, "front_end_pid", now->peer_pid);
    vu_json_add_number(json, "sessions", now->n_sessions);
    vu_json_add_number(json, "requests", now->n);
    vu_json_add_number(json, "errors", now->n_failed);
    vu_json_add_number(json, "bytes", now->n_bytes);
    vu_json_add_number(json, "depth", now->depth);
    vu_json_add_number(json, "pid", now->pid);
    vu_json_add_number(json, "resident_bytes", now->resident_bytes);
    vu_json_add_number(json, "threads", now->n_threads);
    vu_json_add_number(json, "descriptors", now->n_fds);
    vu_json_add_number(json, "cpu_ns", now->cpu_ns);
    vu_json_add_number(json, "started", now->start_s);
}

static void json_add_rates(JsonBuilder *json, const struct top_rates *rates)
{
    json_add_real(json, "requests_per_s", rates->requests);
    json_add_real(json, "errors_per_s", rates->failed);
    json_add_real(json, "bytes_per_s", rates->bytes);
    json_add_real(json, "cpu_percent", rates->cpu_percent);
    vu_json_add_number(json, "p50_ns", rates->p50_ns);
    vu_json_add_number(json, "p99_ns", rates->p99_ns);
}

static void json_add_daemon(JsonBuilder *json, const struct top_daemon *daemon)
{
    json_builder_begin_object(json);
    vu_json_add_text(json, "name", daemon->name);
    vu_json_add_text(json, "socket", daemon->path);
    vu_json_add_text(json, "state", json_state(daemon));
    if (daemon->state == TOP_DOWN)
        vu_json_add_text(json, "why", daemon->why);
    if (daemon->program[0]) {
        vu_json_add_text(json, "kind", daemon->program);
        vu_json_add_text(json, "version", daemon->version);
    }
    if (daemon->has_now)
        json_add_now(json, &daemon->now);
    if (daemon->has_rates)
        json_add_rates(json, &daemon->rates);
    json_builder_end_object(json);
}

/* Controls beyond ASCII (U+0080 to U+009F: C2 80 to C2 9F), which JSON lets stand as they are, by
 * their numbers: a terminal may obey them. */
static char *json_escape_controls(const char *text)
{
    GString *escaped = g_string_sized_new(strlen(text));

    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
            g_string_append_printf(escaped, "\\u%04x", *++p);
        else
            g_string_append_c(escaped, (char)*p);
    }
    return g_string_free(escaped, FALSE);
}

char *top_to_json(const GPtrArray *daemons)
{
    g_autofree char *text = NULL;
    g_autoptr(JsonBuilder) json = json_builder_new();
    g_autoptr(JsonNode) root = NULL;

    json_builder_begin_array(json);
    for (guint i = 0; i < daemons->len; i++)
        json_add_daemon(json, g_ptr_array_index(daemons, i));
    json_builder_end_array(json);
    root = json_builder_get_root(json);
    text = json_to_string(root, FALSE);
    return json_escape_controls(text);
}
