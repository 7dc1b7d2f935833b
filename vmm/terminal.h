/* SPDX-License-Identifier: Apache-2.0 */
/* The program's terminal, raw for as long as a guest has it. */
#pragma once

#include <stdbool.h>

/*
 * Starts a process that gives the terminal its settings back where this one is killed while it is
 * raw. Before there are threads, memory and descriptors that such a process would share. Does
 * nothing where fd is no terminal.
 */
void vmm_terminal_guard(int fd);

/*
 * Keys go to the guest unseen, Ctrl-C too. The settings come back by vmm_terminal_restore, which
 * exit and signals that end a program call by themselves. False: fd is no terminal. Once.
 */
bool vmm_terminal_make_raw(int fd);
/* Raw again, after the program was stopped. Does nothing where it is not, or was restored. */
void vmm_terminal_resume(void);
/* Any thread, and signal handlers. Idempotent. */
void vmm_terminal_restore(void);
