/* SPDX-License-Identifier: Apache-2.0 */
/* vblkctl snapshot-external: the one command that is made of several of the daemon's, and a file.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "vblkd/ctl/connection.h"

#define CTL_SNAPSHOT_EXTERNAL "snapshot-external"
#define CTL_SNAPSHOT_EXTERNAL_HELP \
    "Make a qcow2 overlay, and have everything written to it from now on."

/*
 * words: the overlay's name, and perhaps backing=PATH, where the daemon knows its image by a name
 * that means nothing here. False with *error, and no overlay left.
 */
bool ctl_snapshot_external(struct ctl_connection *connection, char **words, GError **error);
