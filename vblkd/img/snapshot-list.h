/* SPDX-License-Identifier: Apache-2.0 */
/* An image's internal snapshots, as info and snapshot -l tell of them. */
#pragma once

#include <glib.h>

#include "vblkd/format/qcow2-snapshot.h"
#include "vblkd/img/json.h"

void img_snapshot_list_print(const GPtrArray *snapshots);
/* A member "snapshots" of the object that is being built. */
void img_snapshot_list_add(JsonBuilder *json, const GPtrArray *snapshots);
