/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A share with extended attributes, and the guest's requests for them, on top of fs-client.h.
 */
#pragma once

#include "tests/unit/fs-client.h"

struct fs_xattr_setup {
    const char *map; /* NULL: none */
    int posix_acl;
    int security_label;
};

/* Opens the share, with --xattr, and does INIT as a kernel that offers all flags. */
void fs_xattr_set_up(struct fs_fixture *fixture, const struct fs_xattr_setup *setup);

/* --- requests of root; bytes, 0, or -errno --- */

/* `size` is what the guest says; `room` what it gives. Size 0 returns the length it is told. */
int fs_xattr_get_sized(struct fs_fixture *fixture, uint64_t nodeid, const char *name, void *value,
                       uint32_t size, size_t room, size_t piece);
int fs_xattr_get_value(struct fs_fixture *fixture, uint64_t nodeid, const char *name, void *value,
                       uint32_t size);
int fs_xattr_list_names(struct fs_fixture *fixture, uint64_t nodeid, uint32_t user, char *names,
                        uint32_t size);
int fs_xattr_set_value(struct fs_fixture *fixture, uint64_t nodeid, const char *name,
                       const void *value, uint32_t size, uint32_t flags);
int fs_xattr_remove_name(struct fs_fixture *fixture, uint64_t nodeid, const char *name);

/* Whether a list of names, each with its NUL, has `name`. */
bool fs_xattr_list_has(const char *names, int len, const char *name);
