/* SPDX-License-Identifier: Apache-2.0 */
/* Bitmaps as an indented list, and as JSON. */
#include "vblkd/img/bitmap-list.h"

#include <inttypes.h>
#include <stdio.h>

#include "vblkd/format/qcow2-bitmap.h"

static const struct {
    uint32_t flag;
    const char *name;
} list_flags[] = {
    {QCOW2_BITMAP_IN_USE, "in-use"},
    {QCOW2_BITMAP_AUTO, "auto"},
};

void img_bitmap_list_print(const GPtrArray *bitmaps)
{
    for (unsigned i = 0; i < bitmaps->len; i++) {
        const struct qcow2_bitmap *bitmap = bitmaps->pdata[i];
        unsigned n = 0;

        printf("        [%u]:\n            flags:\n", i);
        for (size_t f = 0; f < G_N_ELEMENTS(list_flags); f++)
            if (bitmap->flags & list_flags[f].flag)
                printf("                [%u]: %s\n", n++, list_flags[f].name);
        printf("            name: %s\n            granularity: %" PRIu64 "\n", bitmap->name,
               UINT64_C(1) << bitmap->granularity_bits);
    }
}

void img_bitmap_list_add(JsonBuilder *json, const GPtrArray *bitmaps)
{
    json_builder_set_member_name(json, "bitmaps");
    json_builder_begin_array(json);
    for (unsigned i = 0; i < bitmaps->len; i++) {
        const struct qcow2_bitmap *bitmap = bitmaps->pdata[i];

        json_builder_begin_object(json);
        json_builder_set_member_name(json, "flags");
        json_builder_begin_array(json);
        for (size_t f = 0; f < G_N_ELEMENTS(list_flags); f++)
            if (bitmap->flags & list_flags[f].flag)
                json_builder_add_string_value(json, list_flags[f].name);
        json_builder_end_array(json);
        vu_json_add_text(json, "name", bitmap->name);
        vu_json_add_number(json, "granularity", UINT64_C(1) << bitmap->granularity_bits);
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
}
