/* SPDX-License-Identifier: Apache-2.0 */
/* The program's terminal, raw for as long as a guest has it. */
#pragma once

#include <stdbool.h>

/*
 * Keys go to the guest unseen, Ctrl-C too. The settings come back by vmm_terminal_restore, which
 * exit and signals that end a program call by themselves. False: fd is no terminal. Once.
 */
bool vmm_terminal_make_raw(int fd);
/* Raw again, after the program was stopped. Does nothing where it is not, or was restored. */
void vmm_terminal_resume(void);
/* Any thread, and signal handlers. Idempotent. */
void vmm_terminal_restore(void);
