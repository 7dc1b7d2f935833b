/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of virtiofsd's options, a file for each subject. Their target, a struct fs_options, is
 * put in by fs_options_tables.
 */
#pragma once

#include "virtiofsd/fs-options.h"

/* Headings, in --help and the man page. */
#define FS_GROUP_SHARE     "Shared directory"
#define FS_GROUP_ISOLATION "Isolation"
#define FS_GROUP_CACHE     "Caching in the guest"
#define FS_GROUP_XATTR     "Extended attributes and permissions"
#define FS_GROUP_LIMITS    "Threads and limits"
#define FS_GROUP_COMPAT    "Accepted for compatibility"

#define FIELD(member)      .offset = offsetof(struct fs_options, member)

extern const struct vu_option_table fs_options_of_share;
extern const struct vu_option_table fs_options_of_identity;
extern const struct vu_option_table fs_options_of_isolation;
extern const struct vu_option_table fs_options_of_cache;
extern const struct vu_option_table fs_options_of_xattr;
extern const struct vu_option_table fs_options_of_limits;
extern const struct vu_option_table fs_options_of_compat;
