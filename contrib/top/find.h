/* SPDX-License-Identifier: Apache-2.0 */
/* Which daemons there are: those named, and those whose sockets lie where sockets lie. */
#pragma once

#include <glib.h>

#include "contrib/top/daemon.h"

#define TOP_MAX_DAEMONS 256

/*
 * Brings daemons (of struct top_daemon, which it frees) up to date. places: sockets, and
 * directories in which sockets called *.control, or control one level further down, are looked for;
 * NULL ended. Empty: /run/outboard and $XDG_RUNTIME_DIR/outboard.
 */
void top_find(GPtrArray *daemons, char *const *places);
