/* SPDX-License-Identifier: Apache-2.0 */
/* Daemons as rows: the columns, their order, and the text of each, for people and as JSON. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "contrib/top/daemon.h"

/* Of the columns, in their order; NULL ended: for a row of options. */
extern const char *const top_columns[];
#define TOP_SORT_DEFAULT 3 /* requests */
unsigned top_n_columns(void);

/* Numbers the largest first, text from A to Z; is_reversed: the other way round. Rows that are
 * equal, or have nothing there, by name. */
void top_sort(GPtrArray *daemons, unsigned column, bool is_reversed);

/* Lines without an end, of at most `width` cells (0: no limit). sorted_by: to be marked; -1: none.
 * g_free. */
char *top_header_line(int sorted_by, unsigned width);
char *top_daemon_line(const struct top_daemon *daemon, unsigned width);
/* One line about all of them. */
char *top_summary_line(const GPtrArray *daemons);
/* An array of objects, in one line. */
char *top_to_json(const GPtrArray *daemons);
