/* SPDX-License-Identifier: Apache-2.0 */
/* One command: from its line to a call with checked arguments, and from its result to a line. */
#pragma once

#include "vhost-user/daemon/control.h"

/* What commands are looked up in, and called with. */
struct control_room {
    struct vu_control *control;
    const char *program;
    struct vu_control_table own; /* the daemon's */
    void *opaque;                /* of its commands */
    struct vu_backend *const *backends;
    unsigned n_backends;
    int stop_fd; /* what `quit` writes to */
};

struct control_request {
    JsonParser *parser; /* owns what came; NULL: it made no sense */
    JsonNode *id;       /* "id", or NULL */
    struct vu_control_call call;
    GError *error; /* it cannot be run, for this reason */
};

/* The library's own: control-builtin.c. */
extern const struct vu_control_table control_builtin_table;

/* Adds what a greeting and query-version have in common. */
void control_add_version(JsonBuilder *json, const char *program);

/* The row of a command; NULL: there is none. */
const struct vu_control_command *control_find_command(const struct control_room *room,
                                                      const char *name);

/* Parses a line of len bytes and checks it. Always to be run, and cleared, after this. */
void control_request_parse(struct control_request *request, struct control_room *room,
                           const char *line, size_t len);
/* How many descriptors the command takes: the client's next ones, which go to call.fds. */
unsigned control_request_n_files(const struct control_request *request);
/* Runs the command, if it can be; the line that answers it, g_free. */
char *control_request_run(struct control_request *request);
void control_request_clear(struct control_request *request);

/* The line of an error that is about no command; frees it. */
char *control_error_line(GError *error);
