/* SPDX-License-Identifier: Apache-2.0 */
/* The bridge between the control socket's threads and the main one; see qmp.h. */
#include "vmm/qmp.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/eventfd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/json-build.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/log.h"
#include "vmm/syscalls.h"

#define QMP_MAX_WAITING 4 /* clients whose commands wait; none waits for long but device_add */

struct vmm_qmp {
    struct vmm_machine *machine;
    struct vu_control *control;
    struct vu_control_command *rows; /* of the library, in the order of vmm_qmp_commands */
    struct vu_control_table table;
    int quit_fd; /* written by the library's `quit` */
    GSource *quit_source;
    bool is_started;

    pthread_mutex_t lock;
    pthread_cond_t done; /* a job is */
    unsigned n_jobs;     /* under lock: that wait for the main thread */
    bool is_closed;      /* under lock: it takes no more */
};

/* A command that the main thread is to carry out. */
struct vmm_qmp_job {
    struct vmm_qmp *qmp;
    const struct vmm_qmp_command *command;
    JsonObject *arguments;
    JsonNode *result;
    GError *error;
    bool is_done; /* under lock */
};

void vmm_qmp_end(struct vmm_qmp_job *job, JsonNode *result, GError *error)
{
    struct vmm_qmp *qmp = job->qmp;

    VU_LOCK_SCOPE(&qmp->lock);

    job->result = result;
    job->error = error;
    job->is_done = true;
    qmp->n_jobs--;
    pthread_cond_broadcast(&qmp->done);
}

/* Main thread. */
static gboolean qmp_run_job(gpointer opaque)
{
    struct vmm_qmp_job *job = opaque;
    struct vmm_machine *machine = job->qmp->machine;
    JsonNode *result = NULL;
    GError *error = NULL;

    if (job->command->run)
        result = job->command->run(machine, job->arguments, &error);
    else if (job->command->begin(machine, job->arguments, job, &error))
        return G_SOURCE_REMOVE;
    vmm_qmp_end(job, result, error);
    return G_SOURCE_REMOVE;
}

static bool qmp_enter(struct vmm_qmp *qmp)
{
    VU_LOCK_SCOPE(&qmp->lock);

    qmp->n_jobs += !qmp->is_closed;
    return !qmp->is_closed;
}

/* On a thread of the control socket: hands the command to the main thread and waits for it. */
static JsonNode *qmp_run(struct vu_control_call *call, GError **error)
{
    struct vmm_qmp *qmp = call->opaque;
    struct vmm_qmp_job job = {
        .qmp = qmp,
        .command = &vmm_qmp_commands[call->command - qmp->rows],
        .arguments = call->arguments,
    };

    if (!qmp_enter(qmp))
        return vu_control_fail(error, "the machine is ending");
    g_main_context_invoke(qmp->machine->context, qmp_run_job, &job);
    pthread_mutex_lock(&qmp->lock);
    while (!job.is_done)
        pthread_cond_wait(&qmp->done, &qmp->lock);
    pthread_mutex_unlock(&qmp->lock);
    if (!job.result)
        g_propagate_error(error, job.error);
    return job.result;
}

/* --- events --- */

static void qmp_on_event(void *opaque, const struct vmm_event *event)
{
    struct vmm_qmp *qmp = opaque;
    JsonBuilder *json = vu_json_begin();
    g_autofree char *path = NULL;

    if (event->has_cause) {
        vu_json_add_bool(json, "guest", event->by_guest);
        vu_json_add_text(json, "reason", event->reason);
    }
    if (event->device) {
        path = g_strdup_printf("/machine/peripheral/%s", event->device);
        vu_json_add_text(json, "device", event->device);
        vu_json_add_text(json, "path", path);
    }
    vu_control_event(qmp->control, event->name, vu_json_finish(json));
}

static gboolean qmp_on_quit(gint fd, GIOCondition condition, gpointer opaque)
{
    eventfd_t count;

    eventfd_read(fd, &count);
    vmm_machine_ask(opaque, VMM_REQUEST_QUIT);
    return G_SOURCE_CONTINUE;
}

/* --- life --- */

/* On the control thread: nobody has said anything yet. */
static void qmp_begin(void *opaque)
{
    const struct vmm_qmp *qmp = opaque;
    g_autoptr(GError) error = NULL;

    if (vmm_confine(&qmp->machine->config, VMM_THREAD_CONTROL, &error))
        return;
    vu_error("-qmp: %s (-sandbox off does without)", error->message);
    vmm_machine_ask(qmp->machine, VMM_REQUEST_ERROR);
}

static void qmp_fill_table(struct vmm_qmp *qmp)
{
    qmp->rows = g_new0(struct vu_control_command, vmm_qmp_n_commands);
    for (size_t i = 0; i < vmm_qmp_n_commands; i++)
        qmp->rows[i] = (struct vu_control_command){
            .name = vmm_qmp_commands[i].name,
            .help = vmm_qmp_commands[i].help,
            .arguments = vmm_qmp_commands[i].rows,
            .n_arguments = vmm_qmp_commands[i].n_rows,
            .is_slow = true,
            .is_open = vmm_qmp_commands[i].is_open,
            .run = qmp_run,
        };
    qmp->table = (struct vu_control_table){
        .commands = qmp->rows,
        .n_commands = vmm_qmp_n_commands,
        .begin = qmp_begin,
        .tells_shutdown = true,
        .n_slow = QMP_MAX_WAITING,
    };
}

struct vmm_qmp *vmm_qmp_create(struct vmm_machine *machine, const char *path, GError **error)
{
    struct vmm_qmp *qmp;
    int fd = vu_daemon_listen_at("-qmp unix", path, error);

    if (fd < 0)
        return NULL;
    qmp = g_new0(struct vmm_qmp, 1);
    pthread_mutex_init(&qmp->lock, NULL);
    pthread_cond_init(&qmp->done, NULL);
    qmp->machine = machine;
    qmp->quit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    qmp_fill_table(qmp);
    qmp->control = vu_control_create(fd, "vmm", &qmp->table, qmp);
    machine->on_event = qmp_on_event;
    machine->event_opaque = qmp;
    return qmp;
}

int vmm_qmp_start(struct vmm_qmp *qmp)
{
    int rc;

    if (qmp->quit_fd < 0)
        return -EMFILE;
    qmp->quit_source = g_unix_fd_source_new(qmp->quit_fd, G_IO_IN);
    g_source_set_callback(qmp->quit_source, G_SOURCE_FUNC(qmp_on_quit), qmp->machine, NULL);
    g_source_attach(qmp->quit_source, qmp->machine->context);
    rc = vu_control_start(qmp->control, NULL, 0, qmp->quit_fd);
    qmp->is_started = rc == 0;
    return rc;
}

/* Carries out what waits for us, and lets nothing more in. */
static void qmp_close(struct vmm_qmp *qmp)
{
    bool is_empty;

    for (;;) {
        pthread_mutex_lock(&qmp->lock);
        is_empty = qmp->n_jobs == 0;
        qmp->is_closed = is_empty;
        pthread_mutex_unlock(&qmp->lock);
        if (is_empty)
            return;
        g_main_context_iteration(qmp->machine->context, TRUE);
    }
}

void vmm_qmp_destroy(struct vmm_qmp *qmp)
{
    if (!qmp)
        return;
    if (qmp->is_started) {
        qmp_close(qmp);
        vu_control_stop(qmp->control);
    }
    qmp->machine->on_event = NULL;
    vu_control_destroy(qmp->control);
    if (qmp->quit_source) {
        g_source_destroy(qmp->quit_source);
        g_source_unref(qmp->quit_source);
    }
    vu_clear_fd(&qmp->quit_fd);
    pthread_cond_destroy(&qmp->done);
    pthread_mutex_destroy(&qmp->lock);
    g_free(qmp->rows);
    g_free(qmp);
}
