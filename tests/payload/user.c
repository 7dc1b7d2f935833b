/* SPDX-License-Identifier: Apache-2.0 */
/* Going to ring 3 and back; see user.h. Intel SDM volume 3, sections 6.14.2 and 8.7. */
#include "user.h"

#include "irq.h"
#include "payload.h"

#define USER_VECTOR_UD 6

static uint8_t user_stack[16384] __attribute__((aligned(16)));

/* In start.S. */
void payload_user_enter(void (*run)(void *argument), void *argument, void *stack_end);
void payload_user_called(void);
void payload_user_load_tss(void);

void payload_user_init(void)
{
    payload_user_load_tss();
    payload_irq_set_entry(USER_VECTOR_UD, payload_user_called);
}

void payload_user_run(void (*run)(void *argument), void *argument)
{
    payload_user_enter(run, argument, user_stack + sizeof(user_stack));
}
