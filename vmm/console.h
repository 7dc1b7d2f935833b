/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of the serial line: the terminal, a file, or whoever connects to a unix socket.
 *
 * A terminal is raw while the console exists and gets its settings back whenever the program ends.
 * There Ctrl-A begins a command: x leaves, h helps, b sends a break, Ctrl-A sends itself.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/config.h"

struct vmm_console;

/* Whom it belongs to. All but quit are the serial port's; all are called on the main thread. */
struct vmm_console_user {
    size_t (*room)(void *opaque); /* how many bytes it takes now */
    void (*receive)(void *opaque, const uint8_t *bytes, size_t len);
    void (*receive_break)(void *opaque);
    void (*writable)(void *opaque); /* after a write that did not take everything */
    void (*quit)(void *opaque);
    void *opaque;
};

/* NULL with *error. context is the main thread's. A socket's file goes with
 * vu_daemon_remove_socket. */
struct vmm_console *vmm_console_create(const struct vmm_serial_config *config,
                                       const struct vmm_console_user *user, GMainContext *context,
                                       GError **error);
void vmm_console_destroy(struct vmm_console *console);

/* Whether the config says to wait for the first client, and nobody has come yet. Main thread. */
bool vmm_console_is_awaited(const struct vmm_console *console);

/* Writes what can be written at once and returns how many bytes that were; user->writable follows
 * where it were not all. Nobody there: all are taken. Any thread. */
size_t vmm_console_write(struct vmm_console *console, const uint8_t *bytes, size_t len);

/* There is room again, after there was none. Any thread. */
void vmm_console_resume_input(struct vmm_console *console);
