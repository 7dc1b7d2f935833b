/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is strict JSON (RFC 8259), and no deeper than we want it. json-glib takes more than that
 * (comments, other quotes), and follows nesting by recursion.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#define VU_JSON_MAX_DEPTH 32

/*
 * Whether text is one JSON value, in UTF-8, with white space around it; len bytes, not ended. No
 * string holds a NUL or half a surrogate pair, each integer is an int64_t, nothing is nested beyond
 * VU_JSON_MAX_DEPTH. False with *error (VU_CONTROL_ERROR), which says where.
 */
bool vu_json_check(const char *text, size_t len, GError **error);
