/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The account of a polling queue.
 *
 * A poll buys something: no sleep, no wake-up, and no kick, which costs the guest an exit.
 * --poll-us (the cap) is the CPU time the user would pay for that; for a wait that holds up
 * requests that are under way, one more cap for each. That is what the wait is worth. So a poll
 * that is won after t earns its worth - t, and one that is lost after t costs t. Polling goes on
 * while the balance is above zero, which bounds what it can ever waste:
 *
 * SLEEPING: window 0. Gaps are watched: short ones count up, long ones count down. A gap is known
 * only with the wake-up's latency on top, so anything below POLL_NEAR times the worth may have been
 * short enough. `patience` more short gaps than long ones: polling is tried.
 *
 * POLLING begins with a loan and a window of the wait's worth. A won poll fits the window to twice
 * the wait; a lost one quarters it, or where the request came soon after, opens it to the worth.
 * Balance spent, or window below POLL_MIN_WINDOW_NS: back to SLEEPING. Of waits that are usually
 * long the first half is slept, which is booked as if it had been polled.
 *
 * A trial that ends without having been worth it doubles the patience, up to PATIENCE_MAX. That is
 * what meets a guest that needs the very CPU we spin on: its gaps look short whenever we sleep, and
 * every poll is lost; trials become so rare that their cost is below a thousandth. WORTHY wins in
 * one trial make the queue trusted again. An idle queue wakes nobody and so never polls: its
 * traffic's last gap costs one window at most.
 */
#include "vhost-user/poll-policy.h"

#define POLL_MIN_WINDOW_NS 2000
#define POLL_NEAR          4      /* times the worth of a wait */
#define POLL_BALANCE       4      /* likewise */
#define POLL_WORTH_CAPS    16     /* at most */
#define POLL_NAP_MIN_NS    200000 /* shorter waits are polled from the beginning */
#define POLL_PATIENCE_MIN  2
#define POLL_PATIENCE_MAX  4096
#define POLL_USUAL         8 /* the latest waits count for so much of the usual one */
#define POLL_WORTHY        64

static uint64_t poll_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void poll_begin(struct vu_poll_policy *policy)
{
    policy->window_ns = policy->worth_ns;
    policy->balance_ns = (int64_t)policy->worth_ns;
    policy->n_won = 0;
}

static void poll_end(struct vu_poll_policy *policy)
{
    policy->window_ns = 0;
    policy->n_near = 0;
    if (policy->n_won >= POLL_WORTHY)
        policy->patience = POLL_PATIENCE_MIN;
    else if (policy->patience < POLL_PATIENCE_MAX)
        policy->patience *= 2;
}

/* Adds to the balance; the rich are capped, so that a queue that changes its ways is noticed. */
static void poll_book(struct vu_poll_policy *policy, int64_t earned_ns)
{
    int64_t most = (int64_t)policy->worth_ns * POLL_BALANCE;

    policy->balance_ns += earned_ns;
    if (policy->balance_ns > most)
        policy->balance_ns = most;
}

void vu_poll_policy_init(struct vu_poll_policy *policy, uint64_t cap_ns)
{
    *policy = (struct vu_poll_policy){
        .cap_ns = cap_ns,
        .worth_ns = cap_ns,
        .patience = POLL_PATIENCE_MIN,
    };
}

uint64_t vu_poll_policy_begin(struct vu_poll_policy *policy, unsigned n_awaited)
{
    policy->worth_ns = policy->cap_ns * poll_min(n_awaited + UINT64_C(1), POLL_WORTH_CAPS);
    return poll_min(policy->window_ns, policy->worth_ns);
}

uint64_t vu_poll_policy_nap(const struct vu_poll_policy *policy)
{
    /* Half, since timers are late, and some waits short. */
    return policy->usual_ns >= POLL_NAP_MIN_NS ? policy->usual_ns / 2 : 0;
}

void vu_poll_policy_won(struct vu_poll_policy *policy, uint64_t waited_ns)
{
    uint64_t fitting = poll_min(2 * waited_ns + POLL_MIN_WINDOW_NS, policy->worth_ns);

    if (policy->window_ns == 0)
        return;
    policy->n_won++;
    policy->usual_ns += waited_ns / POLL_USUAL - policy->usual_ns / POLL_USUAL;
    poll_book(policy, (int64_t)policy->worth_ns - (int64_t)waited_ns);
    if (policy->balance_ns <= 0) /* a spinning thread that was preempted: the wait was long */
        poll_end(policy);
    else if (fitting > policy->window_ns)
        policy->window_ns = fitting;
    else
        policy->window_ns -= (policy->window_ns - fitting) / 16;
}

void vu_poll_policy_slept(struct vu_poll_policy *policy, uint64_t polled_ns, uint64_t gap_ns)
{
    int near = gap_ns < policy->worth_ns * POLL_NEAR;

    if (policy->cap_ns == 0)
        return;
    if (policy->window_ns == 0) {
        if (!near)
            policy->n_near -= policy->n_near > 0;
        else if (++policy->n_near >= policy->patience)
            poll_begin(policy);
        return;
    }
    poll_book(policy, -(int64_t)polled_ns);
    policy->window_ns = near ? policy->worth_ns : policy->window_ns / 4;
    if (policy->balance_ns <= 0 || policy->window_ns < poll_min(POLL_MIN_WINDOW_NS, policy->cap_ns))
        poll_end(policy);
}
