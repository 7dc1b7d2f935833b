/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of options, their defaults, and what they own. */
#include "virtiofsd/fs-options.h"

#include <assert.h>

#include "virtiofsd/fs-options-rows.h"

static const struct vu_option_table *const options_tables[] = {
    &fs_options_of_share, &fs_options_of_identity, &fs_options_of_isolation, &fs_options_of_cache,
    &fs_options_of_xattr, &fs_options_of_limits,   &fs_options_of_compat,
};
static_assert(G_N_ELEMENTS(options_tables) == FS_N_OPTION_TABLES, "");

void fs_options_tables(struct fs_options *options,
                       struct vu_option_table ret_tables[FS_N_OPTION_TABLES])
{
    for (size_t i = 0; i < FS_N_OPTION_TABLES; i++) {
        ret_tables[i] = *options_tables[i];
        ret_tables[i].target = options;
    }
}

void fs_options_init(struct fs_options *options)
{
    *options = (struct fs_options){
        .cache = FS_CACHE_AUTO,
        .timeout = -1,
        .entry_timeout = -1,
        .attr_timeout = -1,
        .negative_timeout = -1,
        .readdirplus = true,
        .announce_submounts = true,
        .xattr = -1,
        .killpriv_v2 = -1,
        .n_request_queues = 1,
        .max_helpers = 64,
        .rlimit_nofile = FS_NOFILE_MAX,
    };
}

void fs_options_clear(struct fs_options *options)
{
    g_clear_pointer(&options->source, g_free);
    g_clear_pointer(&options->tag, g_free);
    g_clear_pointer(&options->state, g_free);
    fs_idmap_clear(&options->translate_uid);
    fs_idmap_clear(&options->translate_gid);
    vu_id_map_clear(&options->uid_map);
    vu_id_map_clear(&options->gid_map);
    g_clear_pointer(&options->xattrmap, fs_xattrmap_free);
}
