/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What INIT agrees on. The handlers themselves are among those of request.h.
 */
#pragma once

#include "virtiofsd/request.h"

/* Of the FUSE_* flags that the kernel offers (both words), those that we take under these options.
 */
uint64_t fs_init_negotiate(const struct fs_options *options, uint64_t offered);
