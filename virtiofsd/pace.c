/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See pace.h. Workers and helpers; the counter is a hint, so lost updates do not matter.
 */
#include "virtiofsd/pace.h"

#include "vhost-user/cpu.h"

/* Runs the handler, on whatever thread this is, and learns from the time it took. */
static int pace_run_timed(struct fs_request *request)
{
    uint32_t *slow = &request->share->slow_metadata;
    uint64_t begin_ns = vu_now_ns();
    int result = request->operation->handler(request);
    uint32_t left = __atomic_load_n(slow, __ATOMIC_RELAXED);

    if (vu_now_ns() - begin_ns > FS_PACE_SLOW_NS)
        fs_pace_slow_down(request->share);
    else if (left > 0)
        __atomic_store_n(slow, left - 1, __ATOMIC_RELAXED);
    return result;
}

int fs_pace_run(struct fs_request *request)
{
    if (__atomic_load_n(&request->share->slow_metadata, __ATOMIC_RELAXED) > 0)
        return fs_request_hand_on(request, pace_run_timed);
    return pace_run_timed(request);
}

void fs_pace_slow_down(struct fs_share *share)
{
    __atomic_store_n(&share->slow_metadata, FS_PACE_HOLD, __ATOMIC_RELAXED);
}
