/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids inside access control lists (system.posix_acl_access, system.posix_acl_default), where
 * --translate-uid or --translate-gid are in force. A list is the value of such an attribute: a
 * header and entries of 8 bytes (<linux/posix_acl_xattr.h>). Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "virtiofsd/fs-options.h"

/* Whether the values of the attribute `name` of the host's have ids to be translated. */
bool fs_acl_ids_matter(const struct fs_options *options, const char *name);
/*
 * The guest's list as the host's, in place; value is aligned as malloc does it. 0; -EPERM: it names
 * an id that is forbidden; -EINVAL: it names two that are one on the host. What is no list stays as
 * it is: the kernel has the right answer to it.
 */
int fs_acl_ids_to_host(const struct fs_options *options, void *value, size_t len);
/*
 * The host's list as the guest sees it, in place. Entries of ids that are one to the guest become
 * one, with the rights that all of them have. Returns the new length.
 */
size_t fs_acl_ids_to_guest(const struct fs_options *options, void *value, size_t len);
