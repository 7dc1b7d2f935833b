/* SPDX-License-Identifier: Apache-2.0 */
/* What every daemon can tell of its session, for its query commands. */
#pragma once

#include <json-glib/json-glib.h>

#include "vhost-user/backend.h"

/* Adds "front-end": whether one is connected, who, what was negotiated, the rings that run. names:
 * of the device's own features, by their bit; ended by NULL; those of the rings are known. */
struct vu_feature_name {
    unsigned bit;
    const char *name;
};
void vu_control_add_front_end(JsonBuilder *json, struct vu_backend *backend,
                              const struct vu_feature_name *names, size_t n_names);
/* Adds what a ring has counted: "kicks", "notifications", "polls_won". */
void vu_control_add_ring(JsonBuilder *json, const struct vu_queue_status *queue);
