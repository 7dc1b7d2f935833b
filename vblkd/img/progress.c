/* SPDX-License-Identifier: Apache-2.0 */
/* A line that is written over, when it has changed by more than a little. */
#include "vblkd/img/progress.h"

#include <stdio.h>

static void progress_print(struct img_progress *progress, int permil)
{
    if (permil == progress->last_permil)
        return;
    progress->last_permil = permil;
    printf("    (%d.%d0/100%%)\r", permil / 10, permil % 10);
    fflush(stdout);
}

void img_progress_begin(struct img_progress *progress, bool is_shown, uint64_t total)
{
    *progress = (struct img_progress){
        .is_shown = is_shown,
        .total = total,
        .last_permil = -1,
    };
    pthread_mutex_init(&progress->lock, NULL);
    if (is_shown)
        progress_print(progress, 0);
}

void img_progress_add(struct img_progress *progress, uint64_t len)
{
    if (!progress->is_shown || progress->total == 0)
        return;
    pthread_mutex_lock(&progress->lock);
    progress->done += len;
    progress_print(progress, (int)((double)progress->done * 1000 / (double)progress->total));
    pthread_mutex_unlock(&progress->lock);
}

void img_progress_end(struct img_progress *progress, bool is_complete)
{
    if (progress->is_shown) {
        if (is_complete)
            progress_print(progress, 1000);
        putchar('\n');
    }
    pthread_mutex_destroy(&progress->lock);
}
