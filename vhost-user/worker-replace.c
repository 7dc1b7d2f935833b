/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that a request keeps for long is replaced, where the device allows it (turn.h): the
 * watch makes another one, which inherits the rest of the batch, the queue, and all that belongs to
 * the worker thread. The old one knows its own struct vu_worker_run only, and ends when its request
 * does. All of this file runs on the watch's thread.
 */
#include "vhost-user/worker-thread.h"

#include <errno.h>
#include <glib.h>
#include <stddef.h>
#include <string.h>

/* Gives the queue of a thread that has lost its turn to a new one. */
static int worker_replace(struct vu_worker *worker, const struct vu_turn_rest *rest)
{
    struct vu_worker_run *run = g_try_new0(struct vu_worker_run, 1);
    int err;

    if (run == NULL)
        return -ENOMEM;
    run->worker = worker;
    run->n_todo = rest->n_todo;
    run->n_done = rest->n_done;
    memcpy(run->todo, rest->todo, rest->n_todo * sizeof(*rest->todo));
    memcpy(run->done, rest->done, rest->n_done * sizeof(*rest->done));
    err = vu_worker_make_thread(run);
    if (err != 0) {
        g_free(run);
        return err;
    }
    pthread_detach(worker->run->thread);
    worker->run = run;
    return 0;
}

void vu_worker_look(struct vu_watched *watched)
{
    struct vu_worker *worker =
        (struct vu_worker *)((char *)watched - offsetof(struct vu_worker, watched));
    struct vu_worker_run *run = worker->run;
    unsigned state = vu_turn_look(&run->turn), queue = worker->vring->index;

    if (state == 0 || state != run->seen) {
        run->seen = state;
        return;
    }
    if (!vu_turn_take(&run->turn, state))
        return;
    if (worker->ops->spare_thread(worker->device, queue)) {
        if (worker_replace(worker, &run->turn.rest) == 0) {
            vu_turn_taken(&run->turn);
            return;
        }
        worker->ops->keep_thread(worker->device, queue);
    }
    vu_turn_give_back(&run->turn);
}
