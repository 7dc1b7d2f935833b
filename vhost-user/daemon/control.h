/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket of a daemon: JSON lines in the manner of QEMU's QMP.
 *
 *   daemon  {"QMP": {"version": ..., "capabilities": []}}           when a client connects
 *   client  {"execute": NAME, "arguments": {...}, "id": ANYTHING}   on one line
 *   daemon  {"return": ..., "id": ...}  or  {"error": {"class", "desc"}, "id": ...}
 *   daemon  {"event": NAME, "data": {...}, "timestamp": {...}}      to all clients, whenever
 *
 * A daemon's commands are the rows of a table. The library checks what is sent against the rows and
 * calls a command only with arguments that are as its rows say. It has some commands itself:
 * query-version, query-commands, set-log-level, quit, qmp_capabilities (which does nothing).
 *
 * Clients are not trusted to be right, or quick: see control.c for the bounds. They are trusted
 * with the daemon, for the socket's file has mode 0600.
 *
 * Threads: everything runs on the thread "control", one command at a time, which must not wait for
 * long; but for the commands that are slow, which run on "control-slow", one of them at a time
 * unless the table says more, beside the others. A client's commands run in their order. Neither
 * thread may wait for the session thread, which waits for both at the end.
 */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VU_CONTROL_MAX_FILES 4 /* arguments of one command that are FILEs */

struct vu_backend;
struct vu_control;

enum vu_control_type {
    VU_CONTROL_STRING, /* not empty, at most max bytes (0: no limit) */
    VU_CONTROL_INT,    /* min..max */
    VU_CONTROL_BOOL,
    VU_CONTROL_CHOICE, /* a string, one of choices */
    /*
     * A string, what the client calls a file, with an open descriptor sent along (SCM_RIGHTS): one
     * for each FILE that is given, in the order of the rows. The daemon could not open it itself.
     */
    VU_CONTROL_FILE,
};

/* How the client is to open a FILE. */
enum vu_control_open {
    VU_CONTROL_OPEN_READ,
    VU_CONTROL_OPEN_WRITE,  /* read and write */
    VU_CONTROL_OPEN_CREATE, /* likewise, a new file */
};

struct vu_control_argument {
    const char *name;
    enum vu_control_type type;
    bool is_required;
    int64_t min, max;           /* INT; STRING: max */
    const char *const *choices; /* CHOICE; NULL ended */
    enum vu_control_open open;  /* FILE */
    const char *help;           /* one sentence */
};

/* A command on its way. */
struct vu_control_call {
    struct vu_control *control;
    void *opaque;               /* as vu_control_create was given */
    struct vu_backend *backend; /* what vu_daemon_run serves, for what any thread may ask of it;
                                   the first where it serves several devices */
    struct vu_backend *const *backends; /* all of them */
    unsigned n_backends;
    const struct vu_control_command *command;
    JsonObject *arguments;         /* checked; read by the functions below */
    int fds[VU_CONTROL_MAX_FILES]; /* of the FILEs given, in the order of rows; -1: none, taken */
};

struct vu_control_command {
    const char *name; /* "query-status" */
    const char *help; /* one or two sentences */
    const struct vu_control_argument *arguments;
    size_t n_arguments;
    bool is_slow; /* may wait for a disk: runs beside the others */
    bool is_open; /* has no rows: run looks at call->arguments by itself; clients are told */
    /*
     * Returns what goes under "return" (vu_control_nothing for {}), or NULL with *error: one of
     * domain VU_CONTROL_ERROR has its class, any other is a GenericError.
     */
    JsonNode *(*run)(struct vu_control_call *call, GError **error);
};

struct vu_control_table {
    const struct vu_control_command *commands;
    size_t n_commands;
    void (*begin)(void *opaque); /* on the control thread before all else; may be NULL */
    bool tells_shutdown;         /* the event SHUTDOWN, so that `quit` need not */
    unsigned n_slow;             /* slow commands at a time; 0: 1 */
};

#define VU_CONTROL_ERROR (vu_control_error_quark())
GQuark vu_control_error_quark(void);
enum vu_control_error {
    VU_CONTROL_ERROR_GENERIC,
    VU_CONTROL_ERROR_COMMAND_NOT_FOUND,
};

/* --- for a daemon's main --- */

/*
 * listen_fd: of vu_daemon_open_sockets, taken over; NULL is returned where it is -1, which is
 * allowed everywhere below. program: "vblkd". The table and what opaque points to outlive it.
 */
struct vu_control *vu_control_create(int listen_fd, const char *program,
                                     const struct vu_control_table *table, void *opaque);
void vu_control_destroy(struct vu_control *control);

/* Starts the thread; vu_daemon_run does this. The array outlives it. `quit` writes to stop_fd, an
 * eventfd. 0 or -errno. */
int vu_control_start(struct vu_control *control, struct vu_backend *const *backends,
                     unsigned n_backends, int stop_fd);
/* Waits for the commands that run, sends what is to be sent, and ends the threads. */
void vu_control_stop(struct vu_control *control);

/* --- for commands --- */

/* Whether the argument was given. */
bool vu_control_has(const struct vu_control_call *call, const char *name);
/* STRING, CHOICE, FILE; NULL where it was not given. Lives as long as the call. */
const char *vu_control_string(const struct vu_control_call *call, const char *name);
/* The others are `fallback` where they were not given. choice: the index in choices. */
int64_t vu_control_int(const struct vu_control_call *call, const char *name, int64_t fallback);
bool vu_control_bool(const struct vu_control_call *call, const char *name, bool fallback);
int vu_control_choice(const struct vu_control_call *call, const char *name, int fallback);
/* The descriptor of a FILE, from now on the caller's; -1: not given, or taken before. It is a
 * descriptor of any kind, open in any way: look at it (fstat, F_GETFL). */
int vu_control_take_fd(struct vu_control_call *call, const char *name);

JsonNode *vu_control_nothing(void);
/* Sets *error and returns NULL. */
JsonNode *vu_control_fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* --- any thread --- */

/* Tells all clients of an event, "BLOCK_RESIZED"; takes data (an object; NULL: {}). Never waits. */
void vu_control_event(struct vu_control *control, const char *name, JsonNode *data);
