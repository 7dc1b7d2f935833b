/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of vblkd's control socket. Their opaque is the struct blk_device. */
#pragma once

#include "vhost-user/daemon/control.h"

/* All of them: control-table.c. */
extern const struct vu_control_table blk_control_table;

/* --- control-status.c --- */

JsonNode *blk_control_query_status(struct vu_control_call *call, GError **error);
JsonNode *blk_control_query_nodes(struct vu_control_call *call, GError **error);
/* query-blockstats: query-stats by the name that QEMU has for it. */
JsonNode *blk_control_query_stats(struct vu_control_call *call, GError **error);

/* --- control-throttle.c --- */

JsonNode *blk_control_query_throttle(struct vu_control_call *call, GError **error);
JsonNode *blk_control_set_throttle(struct vu_control_call *call, GError **error);

/* --- control-image.c --- */

/* All that was acknowledged is durable when it returns. Slow. */
JsonNode *blk_control_flush(struct vu_control_call *call, GError **error);

/* --- control-live.c: slow, all of them --- */

JsonNode *blk_control_resize(struct vu_control_call *call, GError **error);
JsonNode *blk_control_query_snapshots(struct vu_control_call *call, GError **error);
JsonNode *blk_control_snapshot_create(struct vu_control_call *call, GError **error);
JsonNode *blk_control_snapshot_delete(struct vu_control_call *call, GError **error);
JsonNode *blk_control_snapshot_apply(struct vu_control_call *call, GError **error);
JsonNode *blk_control_snapshot_external(struct vu_control_call *call, GError **error);
