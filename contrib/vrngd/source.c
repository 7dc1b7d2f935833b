/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of sources, and which of them a name asks for: see source.h. */
#include "contrib/vrngd/source.h"

#include <string.h>

const struct rng_source_kind rng_source_kinds[] = {
    {.prefix = "getrandom", .form = "getrandom", .create = rng_source_create_getrandom},
    {.prefix = "egd:", .form = "egd:HOST:PORT", .create = rng_source_create_egd},
    {.prefix = "egd-poll:", .form = "egd-poll:HOST:PORT", .create = rng_source_create_egd_poll},
    {.prefix = "", .form = "PATH", .create = rng_source_create_file},
};

const struct rng_source_kind *rng_source_find_kind(const char *name)
{
    const struct rng_source_kind *kind = rng_source_kinds;

    while (!g_str_has_prefix(name, kind->prefix))
        kind++;
    return kind;
}

struct rng_source *rng_source_create(const char *name, GError **error)
{
    const struct rng_source_kind *kind = rng_source_find_kind(name);
    struct rng_source *source = kind->create(name + strlen(kind->prefix), error);

    if (source)
        source->name = g_strdup(name);
    return source;
}

void rng_source_destroy(struct rng_source *source)
{
    if (!source)
        return;
    g_free(source->name);
    source->ops->destroy(source);
}
