/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vu-bench fs --count`: how many system calls the daemon makes for each kind of request.
 */
#pragma once

#include "bench-fs.h"

/*
 * Sends requests one at a time, each when all threads of the daemon sleep, and prints a row for
 * each kind: its name, system calls for one request (a wake-up and the signal included), and which.
 * 0 or -errno.
 */
int bench_fs_count(struct bench_fs *fs, int daemon_pid);
