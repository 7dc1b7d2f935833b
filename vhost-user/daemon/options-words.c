/* SPDX-License-Identifier: Apache-2.0 */
/* Choices as a sentence, and the guess behind "is --cache meant?". */
#include "vhost-user/daemon/options-words.h"

#include <string.h>

#define WORDS_NAME_MAX 63 /* longer names are not guessed at */

char *vu_options_join_choices(const char *const *choices)
{
    GString *all = g_string_new(NULL);

    for (int i = 0; choices[i] != NULL; i++) {
        if (i > 0)
            g_string_append(all, choices[i + 1] != NULL ? ", " : " or ");
        g_string_append(all, choices[i]);
    }
    return g_string_free(all, FALSE);
}

static unsigned words_min(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/*
 * How many letters must be added, dropped, replaced or swapped with their neighbour to make b of a.
 * One row of the usual matrix at a time; the two before it are kept for the swaps.
 */
static unsigned words_distance(const char *a, const char *b)
{
    unsigned rows[3][WORDS_NAME_MAX + 1];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];
    size_t a_len = strlen(a), b_len = strlen(b);

    if (a_len > WORDS_NAME_MAX || b_len > WORDS_NAME_MAX)
        return G_MAXUINT;
    for (unsigned j = 0; j <= b_len; j++)
        last[j] = before[j] = j;
    for (unsigned i = 1; i <= a_len; i++) {
        unsigned *oldest = before;

        now[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            now[j] = last[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = words_min(now[j], words_min(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = words_min(now[j], before[j - 2] + 1);
        }
        before = last;
        last = now;
        now = oldest;
    }
    return last[b_len];
}

static char *words_spell(const struct vu_option *row, enum vu_option_form preferred)
{
    if (row->in_o_list && (preferred == VU_OPTION_FORM_KEY || !row->is_long))
        return g_strdup_printf("-o %s", row->name);
    if (row->is_long)
        return g_strdup_printf("--%s", row->name);
    return NULL;
}

char *vu_options_suggest(const struct vu_option_table *tables, size_t n_tables,
                         enum vu_option_form form, const char *name)
{
    unsigned best = (unsigned)strlen(name) / 3 + 1; /* worse guesses confuse more than they help */
    const struct vu_option *best_row = NULL;
    g_autofree char *folded = g_strdelimit(g_strdup(name), "_", '-');

    if (form == VU_OPTION_FORM_SHORT && strlen(name) < 3)
        return NULL;
    for (size_t t = 0; t < n_tables; t++)
        for (size_t i = 0; i < tables[t].n_rows; i++) {
            const struct vu_option *row = &tables[t].rows[i];
            g_autofree char *row_folded = g_strdelimit(g_strdup(row->name), "_", '-');
            unsigned distance = words_distance(folded, row_folded);

            if (distance < best && (row->is_long || row->in_o_list)) {
                best = distance;
                best_row = row;
            }
        }
    return best_row ? words_spell(best_row, form) : NULL;
}
