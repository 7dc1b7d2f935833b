/* SPDX-License-Identifier: Apache-2.0 */
/* A line that is written over, when it has changed by more than a little; without it, a line on
 * standard error for each SIGUSR1. */
#include "vblkd/img/progress.h"

#include <signal.h>
#include <stdio.h>

static volatile sig_atomic_t progress_is_asked; /* of the command that runs */

static void progress_ask(int signal)
{
    progress_is_asked = 1;
}

static void progress_listen(bool listens)
{
    struct sigaction action = {.sa_flags = SA_RESTART};

    action.sa_handler = listens ? progress_ask : SIG_IGN;
    sigemptyset(&action.sa_mask);
    sigaction(SIGUSR1, &action, NULL);
}

static void progress_answer(const struct img_progress *progress)
{
    if (!progress_is_asked)
        return;
    progress_is_asked = 0;
    fprintf(stderr, "    (%3.2f/100%%)\n", (double)progress->done * 100 / (double)progress->total);
}

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
    else
        progress_listen(true);
}

void img_progress_add(struct img_progress *progress, uint64_t len)
{
    if (progress->total == 0)
        return;
    pthread_mutex_lock(&progress->lock);
    progress->done += len;
    if (progress->is_shown)
        progress_print(progress, (int)((double)progress->done * 1000 / (double)progress->total));
    else
        progress_answer(progress);
    pthread_mutex_unlock(&progress->lock);
}

void img_progress_end(struct img_progress *progress, bool is_complete)
{
    if (progress->is_shown) {
        if (is_complete)
            progress_print(progress, 1000);
        putchar('\n');
    } else {
        progress_listen(false);
    }
    pthread_mutex_destroy(&progress->lock);
}
