/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of a daemon's control socket in its man page. */
#pragma once

#include "vhost-user/daemon/control.h"

/* Prints the section COMMANDS (roff) to stdout: the program's own, and those that all have. option:
 * what it takes for them to be there. */
void vu_control_print_man(const struct vu_control_table *own, const char *option);
