/* SPDX-License-Identifier: Apache-2.0 */
/* An image's persistent bitmaps, as info tells of them. */
#pragma once

#include <glib.h>

#include "vblkd/img/json.h"

/* Of struct qcow2_bitmap, both. */
void img_bitmap_list_print(const GPtrArray *bitmaps);
/* A member "bitmaps" of the object that is being built. */
void img_bitmap_list_add(JsonBuilder *json, const GPtrArray *bitmaps);
