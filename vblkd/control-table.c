/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of vblkd's commands: name, help, arguments, function. */
#include "vblkd/control.h"

static const struct vu_control_command control_commands[] = {
    {.name = "flush",
     .help = "Make durable all that the guest was told is written.",
     .is_slow = true,
     .run = blk_control_flush},
};

const struct vu_control_table blk_control_table = {control_commands,
                                                   G_N_ELEMENTS(control_commands)};
