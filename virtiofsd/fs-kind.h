/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kind of file system a descriptor lies on, as far as we treat them differently.
 */
#pragma once

#include <stdbool.h>

/*
 * True where this kernel alone decides about access and errors: no server that judges by our uid,
 * and nothing to report on close that fsync would not. Unknown kinds are not local. fd may be
 * O_PATH.
 */
bool fs_kind_is_local(int fd);
/*
 * True where the kernel writes pages back by itself and notes the time of the first store into a
 * mapped page after that. fd may be O_PATH.
 */
bool fs_kind_is_written_back(int fd);
/*
 * True where file handles find only what the kernel has in memory: of an inode that was not used
 * for long, they say that it is gone. fd may be O_PATH.
 */
bool fs_kind_is_forgetful(int fd);
