/* SPDX-License-Identifier: Apache-2.0 */
/* See open-fds.h. */
#include "tests/unit/open-fds.h"

#include <glib.h>

unsigned count_open_fds(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    unsigned n = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir))
        n++;
    return n;
}
