/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of vblkd's control socket. Their opaque is the struct blk_device. */
#pragma once

#include "vhost-user/daemon/control.h"

/* All of them: control-table.c. */
extern const struct vu_control_table blk_control_table;

/* --- control-image.c --- */

/* All that was acknowledged is durable when it returns. Slow. */
JsonNode *blk_control_flush(struct vu_control_call *call, GError **error);
