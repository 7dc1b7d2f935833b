/* SPDX-License-Identifier: Apache-2.0 */
/* How the source does: in the log, and for commands and metrics. */
#include <errno.h>

#include "contrib/vrngd/feeder-parts.h"
#include "vhost-user/cpu.h"
#include "vhost-user/log.h"

/* What is no error of the system has words of its own. */
static const char *feeder_problem_text(int problem)
{
    if (problem == ENODATA)
        return "at its end for now";
    return problem == EAGAIN ? "silent" : g_strerror(problem);
}

/* A source that fails again and again says so once; one that fails and delivers in turns, once a
 * second. */
static void feeder_tell_problem(struct rng_feeder *feeder, int problem)
{
    if (problem == feeder->told ||
        !vu_log_is_due(problem != 0 ? &feeder->next_warning_ns : &feeder->next_info_ns))
        return;
    feeder->told = problem;
    if (problem != 0)
        vu_warning("vrngd: %s: %s; requests wait for it", feeder->source->name,
                   feeder_problem_text(problem));
    else
        vu_info("vrngd: %s: delivers again", feeder->source->name);
}

void feeder_set_problem(struct rng_feeder *feeder, int problem)
{
    pthread_mutex_lock(&feeder->lock);
    feeder->status.problem = problem;
    feeder->status.n_failures += problem != 0;
    pthread_mutex_unlock(&feeder->lock);
    feeder_tell_problem(feeder, problem);
}

void rng_feeder_get_status(struct rng_feeder *feeder, struct rng_feeder_status *ret_status)
{
    pthread_mutex_lock(&feeder->lock);
    *ret_status = feeder->status;
    pthread_mutex_unlock(&feeder->lock);
    /* Its thread cannot tell while it hangs. */
    if (vu_now_ns() >= __atomic_load_n(&feeder->back_ns, __ATOMIC_RELAXED))
        ret_status->problem = EAGAIN;
    if (ret_status->problem != 0)
        ret_status->problem_text = feeder_problem_text(ret_status->problem);
}

const char *rng_feeder_state(const struct rng_feeder_status *status)
{
    if (status->is_stopped)
        return "stopped";
    if (status->alarm != RNG_HEALTH_GOOD)
        return "alarm";
    if (status->problem != 0)
        return "waiting";
    return status->is_starting_up ? "testing" : "good";
}
