/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the seccomp filter that virtiofsd adds to those of every daemon: whoever makes a new
 * system call in this room adds it there. */
#pragma once

#include "vhost-user/daemon/seccomp.h"

extern const struct vu_syscall_rules fs_syscall_rules;
