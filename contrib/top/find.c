/* SPDX-License-Identifier: Apache-2.0 */
/* See find.h. */
#include "contrib/top/find.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIND_SYSTEM "/run/outboard"
#define FIND_OWN    "outboard" /* below $XDG_RUNTIME_DIR */
#define FIND_SUFFIX ".control"
#define FIND_IN     "control" /* in the directory of a service */

/* Takes path over. */
static void find_note(GPtrArray *daemons, char *path)
{
    struct top_daemon *daemon;

    for (guint i = 0; i < daemons->len; i++) {
        daemon = g_ptr_array_index(daemons, i);
        if (strcmp(daemon->path, path) == 0) {
            daemon->is_found = true;
            g_free(path);
            return;
        }
    }
    if (daemons->len >= TOP_MAX_DAEMONS) {
        g_free(path);
        return;
    }
    daemon = top_daemon_create(path);
    daemon->is_found = true;
    g_ptr_array_add(daemons, daemon);
}

static void find_in(GPtrArray *daemons, const char *dir)
{
    g_autoptr(GDir) opened = g_dir_open(dir, 0, NULL);
    const char *name;

    while (opened && (name = g_dir_read_name(opened))) {
        bool is_control = g_str_has_suffix(name, FIND_SUFFIX);
        g_autofree char *path = g_build_filename(dir, name, is_control ? NULL : FIND_IN, NULL);
        struct stat st;

        if (stat(path, &st) == 0 && S_ISSOCK(st.st_mode))
            find_note(daemons, g_steal_pointer(&path));
    }
}

/* Also for who has no session, and so no variable. */
static char *find_own_dir(void)
{
    const char *dir = g_getenv("XDG_RUNTIME_DIR");

    return dir ? g_build_filename(dir, FIND_OWN, NULL)
               : g_strdup_printf("/run/user/%u/" FIND_OWN, (unsigned)getuid());
}

static void find_named(GPtrArray *daemons, const char *place)
{
    if (g_file_test(place, G_FILE_TEST_IS_DIR))
        find_in(daemons, place);
    else
        find_note(daemons, g_strdup(place));
}

void top_find(GPtrArray *daemons, char *const *places)
{
    for (guint i = 0; i < daemons->len; i++)
        ((struct top_daemon *)g_ptr_array_index(daemons, i))->is_found = false;
    for (size_t i = 0; places[i]; i++)
        find_named(daemons, places[i]);
    if (!places[0]) {
        g_autofree char *own = find_own_dir();

        find_in(daemons, FIND_SYSTEM);
        find_in(daemons, own);
    }
    for (guint i = daemons->len; i-- > 0;)
        if (!((struct top_daemon *)g_ptr_array_index(daemons, i))->is_found)
            g_ptr_array_remove_index(daemons, i);
}
