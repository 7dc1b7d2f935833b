/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of sources, and which of them a name asks for: see source.h. */
#include "contrib/vrngd/source.h"

#include <string.h>

struct source_kind {
    const char *prefix;
    struct rng_source *(*create)(const char *what, GError **error);
};

/* In the order in which prefixes are looked for; the last one is any path's. */
static const struct source_kind source_kinds[] = {
    {"getrandom", rng_source_create_getrandom},
    {"egd:", rng_source_create_egd},
    {"egd-poll:", rng_source_create_egd_poll},
    {"", rng_source_create_file},
};

static const struct source_kind *source_find_kind(const char *name)
{
    const struct source_kind *kind = source_kinds;

    while (!g_str_has_prefix(name, kind->prefix))
        kind++;
    return kind;
}

struct rng_source *rng_source_create(const char *name, GError **error)
{
    const struct source_kind *kind = source_find_kind(name);
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
