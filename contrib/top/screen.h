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

/* False where standard input and output are no terminal, or one that knows no sequences. */
bool screen_open(void);
/* May be called by a signal's handler. */
void screen_close(void);
/* Stops the program, as SIGTSTP does where it is not blocked, without the screen; returns when it
 * goes on. */
void screen_stop(void);
/* What stopped may have found its terminal otherwise than it left it. */
void screen_resume(void);
void screen_get_size(unsigned *ret_rows, unsigned *ret_columns);
/* Shows lines, number `reversed` in reverse video; those that do not fit are
 * left out. */
void screen_show(const GPtrArray *lines, unsigned reversed);
/* The next key, a character or one of the above, if there is one; SCREEN_NONE: there is not. False
 * at the end of the input. */
bool screen_read_key(int *ret_key);
