/* SPDX-License-Identifier: Apache-2.0 */
/* See daemon.h. */
#include "contrib/top/daemon.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/daemon/json-check.h"

#define DAEMON_SUFFIX     ".control"
#define DAEMON_FILE       "control"
#define DAEMON_MAX_ANSWER (4u << 20)
#define DAEMON_S_NS       UINT64_C(1000000000)
#define DAEMON_GREETING_S 5
#define DAEMON_RETRY_S    30 /* where there was no greeting */

static const char *const daemon_questions[] = {
    "{\"execute\":\"query-status\"}\n",
    "{\"execute\":\"query-stats\",\"arguments\":{\"histograms\":true}}\n",
    "{\"execute\":\"query-process\"}\n",
};
static void (*const daemon_answers[])(struct top_sample *sample, JsonObject *answer) = {
    top_sample_add_status,
    top_sample_add_stats,
    top_sample_add_process,
};

/* The socket's file without what all of them end in, or its directory. */
static char *daemon_name(const char *path)
{
    char *name = g_path_get_basename(path);

    if (strcmp(name, DAEMON_FILE) == 0) {
        g_autofree char *dir = g_path_get_dirname(path);

        g_free(name);
        return g_path_get_basename(dir);
    }
    if (g_str_has_suffix(name, DAEMON_SUFFIX) && name[0] != '.')
        name[strlen(name) - strlen(DAEMON_SUFFIX)] = '\0';
    return name;
}

struct top_daemon *top_daemon_create(char *path)
{
    struct top_daemon *daemon = g_new0(struct top_daemon, 1);

    daemon->path = path;
    daemon->name = daemon_name(path);
    daemon->fd = -1;
    daemon->in = g_string_new(NULL);
    return daemon;
}

void top_daemon_destroy(struct top_daemon *daemon)
{
    vu_clear_fd(&daemon->fd);
    g_string_free(daemon->in, TRUE);
    g_free(daemon->path);
    g_free(daemon->name);
    g_free(daemon);
}

static void daemon_drop(struct top_daemon *daemon, const char *why)
{
    vu_clear_fd(&daemon->fd);
    g_string_truncate(daemon->in, 0);
    g_strlcpy(daemon->why, why, sizeof(daemon->why));
    daemon->state = TOP_DOWN;
    daemon->is_late = false;
    daemon->has_now = daemon->has_rates = false;
}

static void daemon_connect(struct top_daemon *daemon)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (g_strlcpy(address.sun_path, daemon->path, sizeof(address.sun_path)) >=
        sizeof(address.sun_path)) {
        daemon_drop(daemon, "its name is too long");
        return;
    }
    daemon->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* A queue of connections that is full is a daemon that takes none. */
    if (daemon->fd < 0 ||
        connect(daemon->fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        daemon_drop(daemon, errno == EAGAIN ? "no answer" : g_strerror(errno));
        return;
    }
    daemon->state = TOP_GREETING;
    daemon->asked_ns = vu_now_ns();
}

/* Whoever does not greet may take us for somebody else, a vhost-user front-end for one. */
static void daemon_give_up(struct top_daemon *daemon, uint64_t now_ns)
{
    daemon_drop(daemon, "no greeting: not a control socket, or it hangs");
    daemon->retry_ns = now_ns + DAEMON_RETRY_S * DAEMON_S_NS;
}

void top_daemon_ask(struct top_daemon *daemon)
{
    uint64_t now_ns = vu_now_ns();

    if (daemon->state == TOP_GREETING &&
        now_ns >= daemon->asked_ns + DAEMON_GREETING_S * DAEMON_S_NS)
        daemon_give_up(daemon, now_ns);
    if (daemon->state == TOP_DOWN && now_ns < daemon->retry_ns)
        return;
    daemon->is_late = daemon->state == TOP_GREETING || daemon->state == TOP_ASKED;
    if (daemon->state == TOP_DOWN)
        daemon_connect(daemon);
    if (daemon->state != TOP_IDLE)
        return;
    daemon->coming = (struct top_sample){0};
    daemon->n_answers = 0;
    daemon->state = TOP_ASKED;
    daemon->asked_ns = now_ns;
    for (size_t i = 0; i < G_N_ELEMENTS(daemon_questions); i++) {
        size_t len = strlen(daemon_questions[i]);

        if (send(daemon->fd, daemon_questions[i], len, MSG_NOSIGNAL) != (ssize_t)len) {
            daemon_drop(daemon, g_strerror(errno));
            return;
        }
    }
}

/* {"QMP": {"version": {"package": "Outboard PROGRAM VERSION"}}}: anything else is no daemon of
 * ours.
 */
static bool daemon_take_greeting(struct top_daemon *daemon, JsonObject *object)
{
    static const char *const path[] = {"QMP", "version"};
    g_auto(GStrv) words = NULL;
    JsonNode *node = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(path) && object; i++) {
        node = json_object_get_member(object, path[i]);
        object = node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    }
    node = object ? json_object_get_member(object, "package") : NULL;
    if (!node || json_node_get_value_type(node) != G_TYPE_STRING)
        return false;
    words = g_strsplit(json_node_get_string(node), " ", 3);
    if (g_strv_length(words) != 3 || strcmp(words[0], "Outboard") != 0)
        return false;
    g_strlcpy(daemon->program, words[1], sizeof(daemon->program));
    g_strlcpy(daemon->version, words[2], sizeof(daemon->version));
    daemon->state = TOP_IDLE;
    return true;
}

static void daemon_take_answer(struct top_daemon *daemon, JsonObject *object)
{
    JsonNode *node = json_object_get_member(object, "return");

    /* A daemon that does not know the command has nothing to tell of it. */
    if (node && JSON_NODE_HOLDS_OBJECT(node))
        daemon_answers[daemon->n_answers](&daemon->coming, json_node_get_object(node));
    if (++daemon->n_answers < G_N_ELEMENTS(daemon_answers))
        return;
    daemon->coming.at_ns = vu_now_ns();
    daemon->has_rates =
        daemon->has_now && top_sample_compare(&daemon->now, &daemon->coming, &daemon->rates);
    daemon->now = daemon->coming;
    daemon->has_now = true;
    daemon->is_late = false;
    daemon->state = TOP_IDLE;
}

/* False where it says what it should not. */
static bool daemon_take_line(struct top_daemon *daemon, const char *line, size_t len)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    JsonObject *object;

    if (!vu_json_check(line, len, NULL) ||
        !json_parser_load_from_data(parser, line, (gssize)len, NULL) ||
        !JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser)))
        return false;
    object = json_node_get_object(json_parser_get_root(parser));
    if (daemon->state == TOP_GREETING)
        return daemon_take_greeting(daemon, object);
    if (json_object_has_member(object, "event"))
        return true;
    if (daemon->state != TOP_ASKED)
        return false;
    daemon_take_answer(daemon, object);
    return true;
}

static bool daemon_take_lines(struct top_daemon *daemon)
{
    const char *end;

    while ((end = memchr(daemon->in->str, '\n', daemon->in->len))) {
        if (!daemon_take_line(daemon, daemon->in->str, (size_t)(end - daemon->in->str)))
            return false;
        g_string_erase(daemon->in, 0, end - daemon->in->str + 1);
    }
    return daemon->in->len < DAEMON_MAX_ANSWER;
}

void top_daemon_read(struct top_daemon *daemon)
{
    enum top_state before = daemon->state;
    char part[16384];
    ssize_t n = recv(daemon->fd, part, sizeof(part), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        daemon_drop(daemon, n == 0 ? "it has ended" : g_strerror(errno));
        return;
    }
    g_string_append_len(daemon->in, part, n);
    if (!daemon_take_lines(daemon)) {
        daemon_drop(daemon, "not a control socket of Outboard");
        return;
    }
    /* In the round in which it was found. */
    if (before == TOP_GREETING && daemon->state == TOP_IDLE)
        top_daemon_ask(daemon);
}

bool top_daemon_is_pending(const struct top_daemon *daemon)
{
    return (daemon->state == TOP_GREETING || daemon->state == TOP_ASKED) && !daemon->is_late;
}
