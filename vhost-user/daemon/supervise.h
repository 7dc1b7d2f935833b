/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that was started, while a child of it does the work: whoever started it knows this
 * one, sends it signals and waits for it.
 *
 *   RUNNING --the child has ended--> its exit status, or its signal
 *   RUNNING --the child takes its leave--> ENDING
 *   ENDING --the child has ended--> the same
 *   ENDING --VU_SUPERVISE_END_S: the kernel holds a thread of it--> it is left behind, status 1
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The signals that a daemon handles: SIGTERM, SIGINT, and SIGHUP unless it was started to ignore
 * that, as by nohup(1), which end it; and SIGUSR1. */
void vu_supervise_signals(sigset_t *ret_set);

#define VU_SUPERVISE_END_S 5

/* What both sides know of each other. */
struct vu_supervision {
    pid_t child; /* 0 in the child */
    int life_fd; /* hangs up when the other side has gone, or the child has taken its leave */
    /* Outside only: */
    int ready_fd;     /* a byte comes when the child is ready (ready.h); -1 after that */
    int signal_fd;    /* signalfd: what is to be passed on, and the child's end */
    int64_t leave_ms; /* ENDING: until then it is waited for; 0: RUNNING */
};

/*
 * Forks. In the child, those signals stay blocked until somebody handles them (vu_daemon_run),
 * so that none is lost; what it announces (ready.h) goes through the process outside. 0 or -errno.
 */
int vu_supervise_fork(struct vu_supervision *ret_supervision);
/*
 * In the child, with its final credentials: it is killed when the process outside ends, however
 * that comes. Takes life_fd over. False where the process outside has gone already.
 */
bool vu_supervise_bind(struct vu_supervision *supervision);
/*
 * In the child: it does nothing more but to end, and the process outside need not wait for it for
 * long. Nothing happens where there is no such process. Once; any thread.
 */
void vu_supervise_take_leave(void);
/*
 * Outside: passes signals and the child's readiness on until it has ended, or is left behind, which
 * is said, and removes the socket file. Returns the child's exit status; where a signal killed it,
 * says so and dies of the same.
 */
int vu_supervise_wait(struct vu_supervision *supervision, const char *program);
