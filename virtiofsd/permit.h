/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What options forbid, whatever the operation: changes of a share that is read-only, and requests
 * of users who may not act here. Between decoding and the handler.
 */
#pragma once

#include "virtiofsd/request.h"

/* Whether any option makes fs_permit_request necessary. */
bool fs_permit_is_needed(const struct fs_options *options);

/*
 * Once for each request that was decoded, before its handler. 0: the ids of its caller, where they
 * count, and of SETATTR are those of the host from here on. -EROFS, -EPERM: it is not to be run.
 */
int fs_permit_request(struct fs_request *request);
