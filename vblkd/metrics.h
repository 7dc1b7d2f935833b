/* SPDX-License-Identifier: Apache-2.0 */
/* What vblkd tells Prometheus. */
#pragma once

#include <glib.h>

#include "vhost-user/backend.h"

/* collect_metrics of struct vu_device. */
void blk_metrics_collect(void *device, struct vu_backend *backend, GString *text);
