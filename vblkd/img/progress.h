/* SPDX-License-Identifier: Apache-2.0 */
/* How far a command is: on standard output where that was asked for, else on standard error when
 * SIGUSR1 comes. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct img_progress {
    bool is_shown;
    uint64_t total;
    pthread_mutex_t lock;
    uint64_t done;   /* under `lock` */
    int last_permil; /* under `lock`; what was printed */
};

void img_progress_begin(struct img_progress *progress, bool is_shown, uint64_t total);
/* So many more are done. Any thread. */
void img_progress_add(struct img_progress *progress, uint64_t len);
/* Ends the line; nothing more is shown. */
void img_progress_end(struct img_progress *progress, bool is_complete);
