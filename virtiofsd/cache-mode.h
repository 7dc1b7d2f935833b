/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What --cache and the options beside it mean: for how long the guest may keep names and
 * attributes, and how far it may trust its page cache. Start-up, and then read only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtiofsd/fs-options.h"

/* One row of the table of modes. Seconds. */
struct fs_cache_mode {
    const char *name;
    enum fs_cache mode;
    double entry;                         /* that a name leads to this inode */
    double attr;                          /* attributes */
    double negative;                      /* that a name is not there */
    uint32_t file_flags, directory_flags; /* FOPEN_* */
};

/* What holds under these options: those of single kinds first, then --timeout, then the mode. */
struct fs_cache_timeouts {
    double entry, attr, negative;
};

/* By the name of an option's value; NULL where there is none of that name. */
const struct fs_cache_mode *fs_cache_mode_by_name(const char *name);
const struct fs_cache_mode *fs_cache_mode_of(const struct fs_options *options);
struct fs_cache_timeouts fs_cache_timeouts_of(const struct fs_options *options);
/* Whether the guest keeps written data: --writeback, in a mode that keeps data at all. */
bool fs_cache_is_writeback(const struct fs_options *options);
/* Whether attributes that come along with names are worth their price. */
bool fs_cache_wants_readdirplus(const struct fs_options *options);
