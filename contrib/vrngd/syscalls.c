/* SPDX-License-Identifier: Apache-2.0 */
/* What vrngd does to its source that not every daemon does. Files are opened before. */
#include "contrib/vrngd/syscalls.h"

/* The library waits by poll; the feeder says its moments in nanoseconds. */
static const struct vu_syscall_rule syscalls_rng[] = {
    VU_SYSCALL("ppoll"),
};

const struct vu_syscall_rules rng_syscall_rules = {syscalls_rng, G_N_ELEMENTS(syscalls_rng)};
