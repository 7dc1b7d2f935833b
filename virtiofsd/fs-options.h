/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of virtiofsd: the -o keys of QEMU's C daemon and the long options of the Rust one, from
 * one table.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/daemon/options.h"

enum fs_cache { FS_CACHE_NEVER, FS_CACHE_METADATA, FS_CACHE_AUTO, FS_CACHE_ALWAYS };

struct fs_options {
    char *source;   /* --shared-dir, -o source= */
    char *tag;      /* at most 36 bytes of UTF-8 */
    int cache;      /* enum fs_cache; -o cache=none is never */
    double timeout; /* seconds; negative: by cache mode */
    int n_request_queues;
    int max_helpers;
    int rlimit_nofile; /* 0: leave as it is, raised to the hard limit otherwise */
};

extern const struct vu_option fs_option_rows[];
extern const size_t fs_n_option_rows;
void fs_options_init(struct fs_options *options);
void fs_options_clear(struct fs_options *options);
/* What single rows cannot check (no source, a tag too long). False with *error naming the option.
 */
bool fs_options_check(const struct fs_options *options, GError **error);
