/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests which would make a queue sleep: a worker copies the request into a job and goes on with
 * its queue; a helper runs the handler and pushes the element itself.
 */
#include <glib.h>

#include "virtiofsd/request.h"
#include "virtiofsd/thread.h"

struct hand_on {
    struct vu_job job;
    fs_handler handler;
    struct fs_request request; /* a copy: the worker's is reused at once */
};

static void hand_on_run(struct vu_job *job)
{
    struct hand_on *hand_on = (struct hand_on *)job;
    int result = hand_on->handler(&hand_on->request);

    if (result != FS_LATER)
        fs_request_complete(&hand_on->request, result);
    g_free(hand_on);
}

int fs_request_hand_on(struct fs_request *request, fs_handler handler)
{
    struct vu_helpers *helpers = request->share->helpers;
    struct hand_on *hand_on = helpers ? g_try_new(struct hand_on, 1) : NULL;

    if (!hand_on)
        return handler(request);
    hand_on->job.run = hand_on_run;
    hand_on->handler = handler;
    hand_on->request = *request;
    hand_on->request.clock_ns = 0;
    if (vu_helpers_take(helpers, &hand_on->job))
        return FS_LATER;
    g_free(hand_on);
    return handler(request);
}

/* Working directory and umask of its own: some handlers change them. One that fails here is tried
 * again where it is needed. */
static void helper_start(void)
{
    fs_thread_init();
}

struct vu_helpers *fs_helpers_create(unsigned max_threads)
{
    return vu_helpers_create(&(struct vu_helpers_options){
        .name = "helper", .max_threads = max_threads, .thread_start = helper_start});
}
