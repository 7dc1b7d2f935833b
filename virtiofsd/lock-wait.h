/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that wait for somebody else's lock, perhaps for ever: each on a thread of its own, so
 * that neither a queue nor a helper waits with them. Their number is bounded, and they can be told
 * to give up.
 */
#pragma once

#include "virtiofsd/request.h"

struct fs_lock_waits;

int fs_lock_waits_create(unsigned max_waits, struct fs_lock_waits **ret_waits);
/* Cancels all that wait. */
void fs_lock_waits_destroy(struct fs_lock_waits *waits);

/*
 * Runs `handler` on a copy of the request, on a new thread that then completes the element. Where
 * the wait is cancelled a system call in `handler` fails with EINTR, which it must give back; the
 * guest gets ENOLCK. FS_LATER, or -ENOLCK: too many wait already, or the queue was told to stop.
 */
int fs_lock_wait_start(struct fs_lock_waits *waits, struct fs_request *request, fs_handler handler);

#define FS_LOCK_WAIT_ALL (-1)

/* Cancels those of a queue (or FS_LOCK_WAIT_ALL), and returns when they are completed. More for
 * that queue (not for all) fail with -ENOLCK until they are allowed again. */
void fs_lock_waits_cancel(struct fs_lock_waits *waits, int queue);
/* The queue starts. */
void fs_lock_waits_allow(struct fs_lock_waits *waits, unsigned queue);
