/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a metadata request runs. What the host has in its caches is done on the queue's thread,
 * which is quickest; when the disk has to be asked, one request would make all of its queue wait.
 * No system call tells beforehand, so the share remembers: after a request that took long the next
 * ones are asked whether they slept, and after one that did they go to helpers, until enough of
 * them were quick. The slow one itself loses its queue to another thread
 * (vhost-user/turn.h), so that nobody waits for it.
 */
#pragma once

#include "virtiofsd/request.h"

#define FS_PACE_SLOW_NS 1000000u /* no request takes that long but for waiting, or a busy host */
#define FS_PACE_HOLD    32       /* quick requests in a row before the queue's thread tries again */

/* Runs the decoded request's handler here, or hands it on. As fs_handler. */
int fs_pace_run(struct fs_request *request);
/* As after a slow request: the next ones go to helpers. Any thread. */
void fs_pace_slow_down(struct fs_share *share);
