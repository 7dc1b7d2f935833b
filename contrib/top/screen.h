/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal, while the view is live: a screen of its own, keys at once, and all as it was at the
 * end, however that comes. Any terminal that knows the sequences of ECMA-48. */
#pragma once

#include <glib.h>
#include <stdbool.h>

enum screen_key {
    SCREEN_NONE,
    SCREEN_UP = 256, /* beyond any character */
    SCREEN_DOWN,
    SCREEN_LEFT,
    SCREEN_RIGHT,
    SCREEN_OTHER,
};

/* False where standard input and output are no terminal. */
bool screen_open(void);
void screen_close(void);
void screen_get_size(unsigned *ret_rows, unsigned *ret_columns);
/* Shows lines, number `reversed` in reverse video; those that do not fit are
 * left out. */
void screen_show(const GPtrArray *lines, unsigned reversed);
/* The next key, a character or one of the above, if there is one; SCREEN_NONE: there is not. False
 * at the end of the input. */
bool screen_read_key(int *ret_key);
