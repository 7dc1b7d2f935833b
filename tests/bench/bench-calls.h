/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts the system calls of another process exactly, by ptrace: all of its threads stop at each
 * call. Nothing is measured by the clock, so that a busy machine counts like an idle one.
 *
 * One thread attaches, settles and detaches, and does nothing else while the process should go on:
 * what stopped waits for bench_calls_settle.
 */
#pragma once

#include <glib.h>
#include <stdint.h>

#define BENCH_CALLS_MAX 512 /* higher numbers are counted as the last */

struct bench_calls {
    int pid;
    uint64_t counts[BENCH_CALLS_MAX]; /* begun so far, by number */
    uint64_t n_stops;
    GHashTable *threads; /* ids of those that are traced; true: inside a call */
};

/* Attaches to all threads of pid, and to those it will make. 0, or -errno (-EPERM: not allowed
 * here). */
int bench_calls_attach(int pid, struct bench_calls *calls);
/* Lets the process run until each of its threads sleeps in a system call. 0; -ESRCH: it ended;
 * -ETIMEDOUT after 20 seconds. */
int bench_calls_settle(struct bench_calls *calls);
/* The process goes on by itself. */
void bench_calls_detach(struct bench_calls *calls);
/* The name of a call, or its number. Free with g_free. */
char *bench_calls_name(unsigned number);
