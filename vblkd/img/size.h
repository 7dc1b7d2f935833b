/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes as people write and read them: 10G, 1.5T; "10 GiB". */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Bytes, or with a suffix b, K, M, G, T, P, E (powers of 1024, either case), with a fraction where
 * there is one. False with *error, which says what was expected.
 */
bool img_size_parse(const char *text, uint64_t *ret_size, GError **error);

/* "10 GiB", three digits at most; g_free it. */
char *img_size_format(uint64_t size);
