/* SPDX-License-Identifier: Apache-2.0 */
/* Options: what the guest may keep, and for how long. */
#include "virtiofsd/fs-options-rows.h"

#include <math.h>
#include <string.h>

static const struct options_cache {
    const char *name;
    enum fs_cache mode;
    double timeout; /* seconds */
} options_caches[] = {
    {"never", FS_CACHE_NEVER, 0},       {"none", FS_CACHE_NEVER, 0},
    {"auto", FS_CACHE_AUTO, 1},         {"metadata", FS_CACHE_METADATA, 86400},
    {"always", FS_CACHE_ALWAYS, 86400},
};

static bool options_parse_cache(void *target, const char *name, const char *value, GError **error)
{
    struct fs_options *options = target;

    for (size_t i = 0; i < G_N_ELEMENTS(options_caches); i++)
        if (strcmp(options_caches[i].name, value) == 0) {
            options->cache = (int)options_caches[i].mode;
            return true;
        }
    g_set_error(error, VU_OPTION_ERROR, 0,
                "expected never (or none), metadata, auto or always, got \"%s\"", value);
    return false;
}

static bool options_parse_timeout(void *target, const char *name, const char *value, GError **error)
{
    struct fs_options *options = target;
    char *end = NULL;
    double seconds = g_ascii_strtod(value, &end);

    if (end == value || *end != '\0' || !isfinite(seconds) || seconds < 0 || seconds > 1e9) {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected seconds from 0 to 1e9, got \"%s\"", value);
        return false;
    }
    options->timeout = seconds;
    return true;
}

double fs_options_timeout(const struct fs_options *options)
{
    if (options->timeout >= 0)
        return options->timeout;
    for (size_t i = 0; i < G_N_ELEMENTS(options_caches); i++)
        if ((int)options_caches[i].mode == options->cache)
            return options_caches[i].timeout;
    return 0;
}

static const struct vu_option options_cache_rows[] = {
    {.name = "cache",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_cache,
     .metavar = "never|metadata|auto|always",
     .group = FS_GROUP_CACHE,
     .help = "never (or none): every access asks the host; metadata: names and attributes are kept "
             "for a day, data is not; auto (the default): names and attributes are kept for a "
             "second, data as long as the file does not change; always: everything is kept, for "
             "directories that only this guest changes."},
    {.name = "timeout",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_timeout,
     .metavar = "SECONDS",
     .group = FS_GROUP_CACHE,
     .help = "How long the guest may keep names and attributes, instead of what --cache says."},
    {.name = "readdirplus",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(readdirplus),
     .group = FS_GROUP_CACHE,
     .help = "Hand out attributes along with names when a directory is read (the default, where "
             "the guest may cache them)."},
    {.name = "no-readdirplus",
     .is_long = true,
     .type = VU_OPTION_NO_FLAG,
     FIELD(readdirplus),
     .group = FS_GROUP_CACHE,
     .help = "Hand out names alone."},
    {.name = "allow-mmap",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(allow_mmap),
     .group = FS_GROUP_CACHE,
     .help = "Allow shared mappings of files with --cache=never and metadata too. What is mapped "
             "is then cached."},
};
const struct vu_option_table fs_options_of_cache = {.rows = options_cache_rows,
                                                    .n_rows = G_N_ELEMENTS(options_cache_rows)};
