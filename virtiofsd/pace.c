/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See pace.h. Workers and helpers; the counters are hints, so lost updates do not matter.
 */
#include "virtiofsd/pace.h"

#include "vhost-user/cpu.h"
#include "virtiofsd/thread.h"

/* Takes one from a counter. False where it was 0. */
static bool pace_take(uint32_t *counter)
{
    uint32_t left = __atomic_load_n(counter, __ATOMIC_RELAXED);

    if (left > 0)
        __atomic_store_n(counter, left - 1, __ATOMIC_RELAXED);
    return left > 0;
}

/* Runs the handler, on whatever thread this is, and learns from the time it took. */
static int pace_run_timed(struct fs_request *request)
{
    struct fs_share *share = request->share;
    bool in_doubt = pace_take(&share->doubt_metadata);
    long n_waits = in_doubt ? fs_thread_n_waits() : 0;
    uint64_t begin_ns = request->clock_ns ? request->clock_ns : vu_now_ns();
    int result = request->operation->handler(request);

    request->clock_ns = vu_now_ns();
    if (request->clock_ns - begin_ns <= FS_PACE_SLOW_NS)
        pace_take(&share->slow_metadata);
    else if (!in_doubt)
        __atomic_store_n(&share->doubt_metadata, FS_PACE_HOLD, __ATOMIC_RELAXED);
    else if (fs_thread_n_waits() > n_waits)
        fs_pace_slow_down(share);
    return result;
}

int fs_pace_run(struct fs_request *request)
{
    if (request->share->options->max_helpers == 0) {
        request->clock_ns = 0;
        return request->operation->handler(request);
    }
    if (__atomic_load_n(&request->share->slow_metadata, __ATOMIC_RELAXED) > 0)
        return fs_request_hand_on(request, pace_run_timed);
    return pace_run_timed(request);
}

void fs_pace_slow_down(struct fs_share *share)
{
    __atomic_store_n(&share->doubt_metadata, FS_PACE_HOLD, __ATOMIC_RELAXED);
    __atomic_store_n(&share->slow_metadata, FS_PACE_HOLD, __ATOMIC_RELAXED);
}
