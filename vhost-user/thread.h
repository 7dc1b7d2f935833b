/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of a daemon: named, and deaf to the signals that are the main thread's business. */
#pragma once

#include <pthread.h>

/*
 * Starts run(arg) on a new joinable thread called `name` (cut to 15 bytes). All signals are blocked
 * there but those that a thread raises by itself, such as the SIGBUS that memory-fault.h contains.
 * 0, or -errno of pthread_create; *ret_thread is set on success only.
 */
int vu_thread_create(const char *name, void *(*run)(void *arg), void *arg, pthread_t *ret_thread);
