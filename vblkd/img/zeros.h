/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at what was read: zeros and differences. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Whether all of it is zero. */
static inline bool img_is_zero(const uint8_t *buf, size_t len)
{
    return len == 0 || (buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0);
}
