/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls of vrngd beside those of every daemon. */
#pragma once

#include "vhost-user/daemon/seccomp.h"

extern const struct vu_syscall_rules rng_syscall_rules;
