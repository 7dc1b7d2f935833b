/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls of vblkd beside those of every daemon. */
#pragma once

#include "vhost-user/daemon/seccomp.h"

extern const struct vu_syscall_rules blk_syscall_rules;
