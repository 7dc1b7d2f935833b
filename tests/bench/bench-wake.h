/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs to have a request carried out by somebody else: two threads that wake each other by
 * eventfds, as a driver and a device that both sleep do, and have nothing else to do. No back-end
 * can be quicker at depth 1, unless it polls.
 */
#pragma once

#include "bench-engine.h"

/* For so long. Operations are round trips, of two wake-ups. 0, or -errno where an eventfd cannot be
 * made. */
int bench_wake_run(unsigned milliseconds, struct bench_result *ret_result);
