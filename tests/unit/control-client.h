/* SPDX-License-Identifier: Apache-2.0 */
/* A control socket's client for tests: lines as they are, answers as text. Failures end the test.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Connects and takes the greeting. */
int client_connect(const char *path);
/* The same without a word; -1: refused. */
int client_open(const char *path);
void client_send(int fd, const char *text);
void client_send_bytes(int fd, const void *bytes, size_t len);
void client_send_fds(int fd, const char *text, const int *fds, unsigned n_fds);
/* The next line; g_free. NULL: the connection has ended. */
char *client_receive(int fd);
/* The next line is as the pattern ("*" stands for anything) says. */
void client_expect(int fd, const char *pattern);
/* Sends a command and expects its answer. */
void client_ask(int fd, const char *line, const char *pattern);
/* What follows, if anything, and then the end. */
void client_expect_end(int fd);
