/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a queue that ran dry is worth polling before its worker sleeps: a pure function of what
 * happened before. No clock, no thread, no I/O; poll-policy.c tells how it decides.
 */
#pragma once

#include <stdint.h>

struct vu_poll_policy {
    uint64_t cap_ns;    /* the price of one wake-up; 0: never polls */
    uint64_t worth_ns;  /* of the present wait, which is the longest window, too */
    uint64_t window_ns; /* how long to poll next time; 0: sleep at once */
    uint64_t usual_ns;  /* what waits that were won have lately taken */
    int64_t balance_ns; /* what polling has earned since it began */
    unsigned n_near;    /* sleeping: short gaps, long ones subtracted */
    unsigned patience;  /* sleeping: short gaps wanted before polling is tried */
    unsigned n_won;     /* polling: polls won since it began */
};

/* cap_ns: --poll-us in nanoseconds, 0 to switch polling off. */
void vu_poll_policy_init(struct vu_poll_policy *policy, uint64_t cap_ns);

/*
 * The queue runs dry. n_awaited requests are under way, and polling sees their completion, too.
 * Returns for how long to poll.
 */
uint64_t vu_poll_policy_begin(struct vu_poll_policy *policy, unsigned n_awaited);

/* For how long of that the caller may as well sleep first; 0: not at all. */
uint64_t vu_poll_policy_nap(const struct vu_poll_policy *policy);

/* It was polled for waited_ns, and a request or a completion came. */
void vu_poll_policy_won(struct vu_poll_policy *policy, uint64_t waited_ns);

/*
 * It was polled in vain for polled_ns (0: not at all), and its worker slept. gap_ns is the time
 * from running dry to being awake again, polling and the wake-up included.
 */
void vu_poll_policy_slept(struct vu_poll_policy *policy, uint64_t polled_ns, uint64_t gap_ns);
