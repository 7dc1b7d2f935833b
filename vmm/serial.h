/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COM1: a 16550A as Linux' 8250 driver and everybody's early console know it, with 16 bytes of FIFO
 * each way, and a console at the other end of the line.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct vmm_machine;
struct vmm_serial;

/* Makes the port and its console, on the machine's ports. False with *error. Main thread. */
bool vmm_serial_create(struct vmm_machine *machine, GError **error);
/* NULL is allowed. */
void vmm_serial_destroy(struct vmm_serial *serial);
/* Whether it waits for the first client of its socket, as its config says. Main thread. */
bool vmm_serial_is_awaited(const struct vmm_serial *serial);
/* As after power-on. While no vCPU runs. */
void vmm_serial_reset(struct vmm_serial *serial);
