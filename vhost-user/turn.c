/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See turn.h. The owner's way costs a store and a compare-and-swap that nobody contends for.
 */
#include "vhost-user/turn.h"

#include <sched.h>
#include <stddef.h>

enum turn_place { TURN_OUTSIDE, TURN_INSIDE, TURN_TAKING, TURN_TAKEN };

#define TURN_PLACE 3u /* bits of the state */
#define TURN_STEP  4u /* one request */

static __thread struct vu_turn *turn_current;

static unsigned turn_at(unsigned state, enum turn_place place)
{
    return (state & ~TURN_PLACE) | place;
}

void vu_turn_use(struct vu_turn *turn)
{
    turn_current = turn;
}

void vu_turn_enter(const struct vu_turn_rest *rest)
{
    struct vu_turn *turn = turn_current;
    unsigned state;

    if (turn == NULL)
        return;
    turn->rest = *rest;
    state = __atomic_load_n(&turn->state, __ATOMIC_RELAXED) + TURN_STEP;
    /* Release: with vu_turn_take, for the rest and all that was done before. */
    __atomic_store_n(&turn->state, turn_at(state, TURN_INSIDE), __ATOMIC_RELEASE);
}

bool vu_turn_leave(void)
{
    struct vu_turn *turn = turn_current;
    unsigned inside, state;

    if (turn == NULL)
        return true;
    state = inside = turn_at(__atomic_load_n(&turn->state, __ATOMIC_RELAXED), TURN_INSIDE);
    while (!__atomic_compare_exchange_n(&turn->state, &state, turn_at(inside, TURN_OUTSIDE), false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
        if ((state & TURN_PLACE) == TURN_TAKEN)
            return false;
        state = inside;
        sched_yield();
    }
    return true;
}

bool vu_turn_is_lost(const struct vu_turn *turn)
{
    return (__atomic_load_n(&turn->state, __ATOMIC_RELAXED) & TURN_PLACE) == TURN_TAKEN;
}

unsigned vu_turn_look(const struct vu_turn *turn)
{
    unsigned state = __atomic_load_n(&turn->state, __ATOMIC_RELAXED);

    return (state & TURN_PLACE) == TURN_INSIDE ? state : 0;
}

bool vu_turn_take(struct vu_turn *turn, unsigned state)
{
    return __atomic_compare_exchange_n(&turn->state, &state, turn_at(state, TURN_TAKING), false,
                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void turn_put(struct vu_turn *turn, enum turn_place place)
{
    unsigned state = __atomic_load_n(&turn->state, __ATOMIC_RELAXED);

    __atomic_store_n(&turn->state, turn_at(state, place), __ATOMIC_RELEASE);
}

void vu_turn_taken(struct vu_turn *turn)
{
    turn_put(turn, TURN_TAKEN);
}

void vu_turn_give_back(struct vu_turn *turn)
{
    turn_put(turn, TURN_INSIDE);
}
