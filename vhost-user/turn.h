/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread's turn at a queue, which it loses when a request keeps it for long: another thread takes
 * the rest of the batch and the queue, and the first one only finishes its request. That way no
 * request has to be known for slow before it is tried where it is quickest.
 *
 *   OUTSIDE --enter--> INSIDE --leave--> OUTSIDE
 *                      INSIDE --take--> TAKING --taken--> TAKEN    leave returns false, once
 *                                       TAKING --give_back--> INSIDE
 *
 * What vu_turn_enter was told of may be read by the taker between take and taken: a thread that
 * wants to leave waits for that moment.
 */
#pragma once

#include <stdbool.h>

struct vu_elem;

/* Of a batch, while one of its requests is worked on: what has not been begun, and what is done but
 * not pushed. */
struct vu_turn_rest {
    struct vu_elem *const *todo;
    struct vu_elem *const *done;
    unsigned n_todo, n_done;
};

struct vu_turn {
    unsigned state;           /* atomic: a count of requests, and in its low bits where it is */
    struct vu_turn_rest rest; /* the owner's, or between take and taken the taker's */
};

/* --- a device, in process() --- */

/* A request begins that may sleep. Without a turn (vu_turn_use) nothing happens. */
void vu_turn_enter(const struct vu_turn_rest *rest);
/*
 * It is done. False where the turn was lost meanwhile: the calling thread answers this one request,
 * pushes it by itself, and returns from process() without touching the others.
 */
bool vu_turn_leave(void);

/* --- the worker --- */

/* The calling thread's turn from now on; NULL: none. */
void vu_turn_use(struct vu_turn *turn);
/* Whether the calling thread, whose turn this is, has lost it. */
bool vu_turn_is_lost(const struct vu_turn *turn);

/* --- another thread --- */

/* The state, where a request is being worked on; 0 otherwise. The same again: still that one. */
unsigned vu_turn_look(const struct vu_turn *turn);
/* Takes what is still as vu_turn_look said: false where it is not. Then turn->rest is the caller's,
 * until taken or give_back. */
bool vu_turn_take(struct vu_turn *turn, unsigned state);
/* The turn is not looked at afterwards: its thread may be through, and its memory gone. */
void vu_turn_taken(struct vu_turn *turn);
void vu_turn_give_back(struct vu_turn *turn);
