/* SPDX-License-Identifier: Apache-2.0 */
/* A client of a daemon's control socket, for tests: a command goes out, its answer is waited for
 * while the test does something else. */
#pragma once

#include <stdbool.h>

/* Connects, and reads the greeting. */
int blk_control_connect(const char *path);
/* Sends a line made like printf's; with fd >= 0 that descriptor, too. */
void blk_control_send(int control, int fd, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The answer's line, waited for so long; NULL: not yet. g_free. */
char *blk_control_answer(int control, int timeout_ms);
/* Sends and waits. */
char *blk_control_ask(const char *path, const char *line);
