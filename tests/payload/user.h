/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ring 3, where a guest runs on the CPU on every kind of host. It has all memory and all devices in
 * memory; ports are ring 0's. Interrupts are on, and their handlers (irq.h) run in ring 0.
 */
#pragma once

/* Once, on the first CPU, after payload_irq_init. */
void payload_user_init(void);
/* Returns when run has returned. Interrupts are off then. */
void payload_user_run(void (*run)(void *argument), void *argument);
