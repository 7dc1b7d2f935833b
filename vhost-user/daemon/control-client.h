/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the control socket: lines in, with the descriptors that came along, and lines out.
 * All of it belongs to the control thread, and nothing here waits.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTROL_MAX_LINE 65536u     /* bytes of a command, its end included */
#define CONTROL_MAX_FDS  8          /* that came and no command has taken yet */
#define CONTROL_MUCH_OUT 65536u     /* unread bytes beyond which no further command is looked at */
#define CONTROL_MAX_OUT  (4u << 20) /* ... beyond which an event disconnects the client */

struct control_client {
    int fd;
    GString *in;       /* received, not looked at */
    size_t in_scanned; /* bytes of it that hold no end of a line */
    int fds[CONTROL_MAX_FDS];
    unsigned n_fds;
    GString *out;      /* to be sent */
    int64_t active_ms; /* when something of it came, went or ended last */
    bool is_busy;      /* its slow command runs: nothing else of it is looked at */
    bool at_end;       /* it sends no more */
    bool is_bad;       /* to be disconnected, once what can be sent is */
};

/* Takes fd over, which does not block. */
struct control_client *control_client_create(int fd);
void control_client_destroy(struct control_client *client);

/* What to poll for; 0: nothing. */
short control_client_events(const struct control_client *client);
/* Receives what there is, at most what fits. What is wrong makes it bad, with an answer why. */
void control_client_receive(struct control_client *client);
/* The next line to look at: its length, without its end; it begins client->in. False: none now. */
bool control_client_next_line(struct control_client *client, size_t *ret_len);
void control_client_drop_line(struct control_client *client, size_t len);
/* Moves the first n descriptors to ret_fds; false: there are not as many. */
bool control_client_take_fds(struct control_client *client, int *ret_fds, unsigned n);
/* Something of it has happened now. */
void control_client_note(struct control_client *client);
/* It is to be disconnected, and told why. */
void control_client_dismiss(struct control_client *client, const char *why);
/* Appends a line, its end included. */
void control_client_answer(struct control_client *client, const char *line);
/* Sends what can be sent. */
void control_client_send(struct control_client *client);
/* Nothing more is to be expected of it. */
bool control_client_is_done(const struct control_client *client);
