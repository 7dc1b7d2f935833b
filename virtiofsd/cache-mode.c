/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of cache modes.
 *
 * A name that is missing is believed for no more than a second in any mode: what waits in the guest
 * for the host to create something must not wait for a day. What the guest itself creates replaces
 * that belief at once.
 */
#include "virtiofsd/cache-mode.h"

#include "virtiofsd/fuse-wire.h"

#define CACHE_DAY          86400.0
#define CACHE_DIRECT       (FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES)
#define CACHE_NEGATIVE_MAX 1.0

static const struct fs_cache_mode cache_modes[] = {
    {"never", FS_CACHE_NEVER, 0, 0, 0, .file_flags = CACHE_DIRECT},
    {"none", FS_CACHE_NEVER, 0, 0, 0, .file_flags = CACHE_DIRECT},
    {"metadata", FS_CACHE_METADATA, CACHE_DAY, CACHE_DAY, CACHE_NEGATIVE_MAX,
     .file_flags = CACHE_DIRECT},
    {"auto", FS_CACHE_AUTO, 1, 1, CACHE_NEGATIVE_MAX},
    {"always", FS_CACHE_ALWAYS, CACHE_DAY, CACHE_DAY, CACHE_NEGATIVE_MAX,
     .file_flags = FOPEN_KEEP_CACHE, .directory_flags = FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR},
};

const struct fs_cache_mode *fs_cache_mode_by_name(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(cache_modes); i++)
        if (g_ascii_strcasecmp(cache_modes[i].name, name) == 0)
            return &cache_modes[i];
    return NULL;
}

const struct fs_cache_mode *fs_cache_mode_of(const struct fs_options *options)
{
    for (size_t i = 0; i < G_N_ELEMENTS(cache_modes); i++)
        if ((int)cache_modes[i].mode == options->cache)
            return &cache_modes[i];
    g_assert_not_reached();
}

static double cache_choose(double of_kind, double of_all, double of_mode)
{
    return of_kind >= 0 ? of_kind : of_all >= 0 ? of_all : of_mode;
}

struct fs_cache_timeouts fs_cache_timeouts_of(const struct fs_options *options)
{
    const struct fs_cache_mode *mode = fs_cache_mode_of(options);
    double negative = options->timeout >= 0 ? MIN(options->timeout, CACHE_NEGATIVE_MAX) : -1;

    return (struct fs_cache_timeouts){
        .entry = cache_choose(options->entry_timeout, options->timeout, mode->entry),
        .attr = cache_choose(options->attr_timeout, options->timeout, mode->attr),
        .negative = cache_choose(options->negative_timeout, negative, mode->negative),
    };
}

bool fs_cache_is_writeback(const struct fs_options *options)
{
    return options->writeback && !(fs_cache_mode_of(options)->file_flags & FOPEN_DIRECT_IO);
}

bool fs_cache_wants_readdirplus(const struct fs_options *options)
{
    return options->readdirplus && options->cache != FS_CACHE_NEVER &&
           fs_cache_timeouts_of(options).entry > 0;
}
