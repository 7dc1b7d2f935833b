/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread: clients come and go, their commands run, events are sent.
 *
 * No client can make another wait for it, nor the daemon grow: there are at most 16
 * (control-clients.h), a line has at most 64 KiB, who does not read its answers is not listened to,
 * and who does not read events is disconnected. One line of each client is looked at in turn.
 *
 * A slow command is run by a helper ("control-slow"). It comes back by `done`, as do events by
 * `events`.
 */
#include "vhost-user/daemon/control.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/control-clients.h"
#include "vhost-user/daemon/control-request.h"
#include "vhost-user/daemon/json-build.h"
#include "vhost-user/helpers.h"
#include "vhost-user/log.h"
#include "vhost-user/thread.h"

/* A slow command on its way. */
struct control_job {
    struct vu_job job; /* first */
    struct vu_control *control;
    struct control_client *client; /* busy, so that it stays */
    struct control_request request;
    char *answer;
    struct control_job *next; /* of those that are done */
};

struct vu_control {
    struct control_room room;
    int listen_fd, wake_fd;
    pthread_t thread;
    bool is_running;            /* main's: the thread exists */
    bool is_stopping;           /* atomic */
    struct vu_helpers *helpers; /* for slow commands */

    struct control_clients clients; /* the thread's */

    pthread_mutex_t lock; /* guards what follows */
    struct control_job *done;
    GString *events; /* lines for everybody */
};

static void control_wake(struct vu_control *control)
{
    (void)eventfd_write(control->wake_fd, 1);
}

/* --- commands --- */

static void control_run_job(struct vu_job *opaque)
{
    struct control_job *job = (struct control_job *)opaque;
    struct vu_control *control = job->control;

    job->answer = control_request_run(&job->request);
    pthread_mutex_lock(&control->lock);
    job->next = control->done;
    control->done = job;
    pthread_mutex_unlock(&control->lock);
    control_wake(control);
}

static void control_run_slow(struct vu_control *control, struct control_client *client,
                             const struct control_request *request)
{
    struct control_job *job = g_new0(struct control_job, 1);

    *job = (struct control_job){
        .job = {.run = control_run_job},
        .control = control,
        .client = client,
        .request = *request,
    };
    client->is_busy = true;
    vu_helpers_run(control->helpers, &job->job);
}

static bool control_is_blank(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!g_ascii_isspace(line[i]))
            return false;
    return true;
}

static void control_run_line(struct vu_control *control, struct control_client *client, size_t len)
{
    struct control_request request;
    g_autofree char *answer = NULL;
    unsigned n_files;

    if (control_is_blank(client->in->str, len)) {
        control_client_drop_line(client, len);
        return;
    }
    control_request_parse(&request, &control->room, client->in->str, len);
    control_client_drop_line(client, len);
    n_files = control_request_n_files(&request);
    if (!control_client_take_fds(client, request.call.fds, n_files))
        g_set_error(&request.error, VU_CONTROL_ERROR, VU_CONTROL_ERROR_GENERIC,
                    "%s: expected %u open descriptors with it (SCM_RIGHTS), got %u",
                    request.call.command->name, n_files, client->n_fds);
    if (!request.error && request.call.command->is_slow) {
        control_run_slow(control, client, &request);
        return;
    }
    answer = control_request_run(&request);
    control_client_answer(client, answer);
    control_request_clear(&request);
}

/* --- what comes back --- */

static void control_end_job(struct control_job *job)
{
    job->client->is_busy = false;
    control_client_note(job->client);
    control_client_answer(job->client, job->answer);
    control_request_clear(&job->request);
    g_free(job->answer);
    g_free(job);
}

static void control_send_event(struct control_client *client, const char *lines)
{
    if (client->is_bad)
        return;
    control_client_answer(client, lines);
    client->is_bad = client->out->len > CONTROL_MAX_OUT;
}

/* Hands out answers of slow commands, and events. */
static void control_collect(struct vu_control *control)
{
    g_autoptr(GString) events = NULL;
    struct control_job *job, *next;

    pthread_mutex_lock(&control->lock);
    job = control->done;
    control->done = NULL;
    events = control->events;
    control->events = g_string_new(NULL);
    pthread_mutex_unlock(&control->lock);
    /* What a command told of comes before its answer. */
    for (unsigned i = 0; i < control->clients.n && events->len > 0; i++)
        control_send_event(control->clients.list[i], events->str);
    for (; job; job = next) {
        next = job->next;
        control_end_job(job);
    }
}

/* One line of each; whether there may be more. */
static bool control_run_lines(struct vu_control *control)
{
    bool has_more = false;
    size_t len;

    for (unsigned i = 0; i < control->clients.n; i++)
        if (control_client_next_line(control->clients.list[i], &len)) {
            control_run_line(control, control->clients.list[i], len);
            has_more = true;
        }
    return has_more;
}

/* --- the thread --- */

static void control_poll(struct vu_control *control, int timeout_ms)
{
    enum { WAKE, LISTEN, CLIENTS };
    struct pollfd fds[CLIENTS + CONTROL_MAX_CLIENTS] = {
        [WAKE] = {.fd = control->wake_fd, .events = POLLIN},
        [LISTEN] = {.fd = control->listen_fd, .events = POLLIN},
    };
    unsigned n = control->clients.n;
    eventfd_t count;

    control_clients_prepare_poll(&control->clients, &fds[CLIENTS]);
    if (poll(fds, CLIENTS + n, timeout_ms) < 0)
        return;
    if (fds[WAKE].revents)
        (void)eventfd_read(control->wake_fd, &count);
    control_clients_receive(&control->clients, &fds[CLIENTS]);
    if (fds[LISTEN].revents)
        control_clients_accept(&control->clients, &control->room, control->listen_fd);
}

static void *control_thread(void *opaque)
{
    struct vu_control *control = opaque;
    bool has_more = false;

    if (control->room.own.begin)
        control->room.own.begin(control->room.opaque);
    while (!__atomic_load_n(&control->is_stopping, __ATOMIC_ACQUIRE)) {
        control_poll(control, has_more ? 0 : -1);
        control_collect(control);
        has_more = control_run_lines(control);
        control_collect(control);
        control_clients_send(&control->clients);
        control_clients_drop_done(&control->clients);
    }
    g_clear_pointer(&control->helpers, vu_helpers_destroy); /* waits for the slow one */
    control_collect(control);
    control_clients_send(&control->clients);
    control_clients_clear(&control->clients);
    return NULL;
}

/* --- life --- */

struct vu_control *vu_control_create(int listen_fd, const char *program,
                                     const struct vu_control_table *table, void *opaque)
{
    struct vu_control *control;

    if (listen_fd < 0)
        return NULL;
    control = g_new0(struct vu_control, 1);
    control->room = (struct control_room){
        .control = control,
        .program = program,
        .own = *table,
        .opaque = opaque,
        .stop_fd = -1,
    };
    control->listen_fd = listen_fd;
    control->wake_fd = -1;
    control->events = g_string_new(NULL);
    pthread_mutex_init(&control->lock, NULL);
    return control;
}

void vu_control_destroy(struct vu_control *control)
{
    if (!control)
        return;
    vu_control_stop(control);
    vu_clear_fd(&control->listen_fd);
    g_string_free(control->events, TRUE);
    pthread_mutex_destroy(&control->lock);
    g_free(control);
}

int vu_control_start(struct vu_control *control, struct vu_backend *const *backends,
                     unsigned n_backends, int stop_fd)
{
    int err;

    if (!control)
        return 0;
    control->room.backends = backends;
    control->room.n_backends = n_backends;
    control->room.stop_fd = stop_fd;
    control->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (control->wake_fd < 0)
        return -errno;
    control->helpers = vu_helpers_create(&(struct vu_helpers_options){
        .name = "control-slow", .max_threads = MAX(control->room.own.n_slow, 1)});
    err = vu_thread_create("control", control_thread, control, &control->thread);
    if (err < 0) {
        g_clear_pointer(&control->helpers, vu_helpers_destroy);
        vu_clear_fd(&control->wake_fd);
    }
    control->is_running = err == 0;
    return err;
}

void vu_control_stop(struct vu_control *control)
{
    if (!control || !control->is_running)
        return;
    __atomic_store_n(&control->is_stopping, true, __ATOMIC_RELEASE);
    control_wake(control);
    pthread_join(control->thread, NULL);
    control->is_running = false;
    pthread_mutex_lock(&control->lock);
    vu_clear_fd(&control->wake_fd);
    pthread_mutex_unlock(&control->lock);
}

/* --- events --- */

void vu_control_event(struct vu_control *control, const char *name, JsonNode *data)
{
    int64_t now_us = g_get_real_time();
    g_autofree char *line = NULL;
    JsonBuilder *json;

    if (!data)
        data = vu_control_nothing();
    json = vu_json_begin();
    vu_json_add_text(json, "event", name);
    json_builder_set_member_name(json, "data");
    json_builder_add_value(json, data);
    vu_json_begin_object(json, "timestamp");
    vu_json_add_number(json, "seconds", (uint64_t)(now_us / G_USEC_PER_SEC));
    vu_json_add_number(json, "microseconds", (uint64_t)(now_us % G_USEC_PER_SEC));
    json_builder_end_object(json);
    line = vu_json_to_line(vu_json_finish(json));
    if (!control)
        return;
    VU_LOCK_SCOPE(&control->lock);
    if (control->wake_fd < 0)
        return;
    g_string_append(control->events, line);
    control_wake(control);
}
