/* SPDX-License-Identifier: Apache-2.0 */
/* See printable.h. */
#include "vhost-user/daemon/printable.h"

#include <glib.h>
#include <string.h>

char *vu_printable(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *printable = g_string_sized_new(strlen(valid));

    for (char *p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        g_string_append_unichar(printable, g_unichar_isprint(c) ? c : '?');
    }
    return g_string_free(printable, FALSE);
}
