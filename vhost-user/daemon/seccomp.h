/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A filter of system calls (seccomp(2)), from tables of what a daemon needs: a call without a row
 * is not made. Rows may look at one argument. What all daemons need is in seccomp-rules.c; a daemon
 * brings the rest.
 *
 * A call that libraries make when something went wrong already (syslog(3) connecting anew, a table
 * of character sets) has a row that lets it fail instead: the daemon lives on.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What happens on a call without a row: the process is killed, gets SIGSYS, or the call is made and
 * logged by the kernel. */
enum vu_seccomp_mode { VU_SECCOMP_KILL, VU_SECCOMP_TRAP, VU_SECCOMP_LOG, VU_SECCOMP_NONE };
extern const char *const vu_seccomp_modes[]; /* their names, for a row of options */

/*
 * Applies to calls whose argument number `arg` has `value` in the bits of `mask` (the lower 32; 0:
 * to all). They are made, or fail with `error` where it is not 0. A name that this machine does not
 * have is passed over.
 */
struct vu_syscall_rule {
    const char *name;
    unsigned arg;
    uint32_t mask, value;
    int error;
};

#define VU_SYSCALL(n) \
    {                 \
        .name = (n)   \
    }
#define VU_SYSCALL_IF(n, a, v)                                              \
    {                                                                       \
        .name = (n), .arg = (a), .mask = UINT32_MAX, .value = (uint32_t)(v) \
    }
#define VU_SYSCALL_BITS(n, a, m, v)                        \
    {                                                      \
        .name = (n), .arg = (a), .mask = (m), .value = (v) \
    }
#define VU_SYSCALL_FAILS(n, e)    \
    {                             \
        .name = (n), .error = (e) \
    }
#define VU_SYSCALL_IF_FAILS(n, a, v, e)                                                   \
    {                                                                                     \
        .name = (n), .arg = (a), .mask = UINT32_MAX, .value = (uint32_t)(v), .error = (e) \
    }
/* Argument a is a descriptor, and not AT_FDCWD. */
#define VU_SYSCALL_ON_FD(n, a)                                \
    {                                                         \
        .name = (n), .arg = (a), .mask = 1u << 31, .value = 0 \
    }
#define VU_SYSCALL_OFF_FD_FAILS(n, a, e)                                           \
    {                                                                              \
        .name = (n), .arg = (a), .mask = 1u << 31, .value = 1u << 31, .error = (e) \
    }

struct vu_syscall_rules {
    const struct vu_syscall_rule *rules;
    size_t n_rules;
};

/* Of every daemon: main loop, threads, memory, log, and the vhost-user session. */
extern const struct vu_syscall_rules vu_seccomp_daemon_rules;

/*
 * Installs the filter for all threads there are and will be; it cannot be taken off again. own: the
 * daemon's rows, NULL: it has none. To be called at the end of start-up. False with *error,
 * "--seccomp: ...". In a build with a sanitizer, whose run-time library makes calls of its own, it
 * says that there is no filter and does nothing.
 */
bool vu_seccomp_install(enum vu_seccomp_mode mode, const struct vu_syscall_rules *own,
                        GError **error);

/* The same for the calling thread alone, and for those it starts: the tables, NULL ended, have
 * everything that they may do. A thread can only do what every filter it has allows. */
bool vu_seccomp_install_for_thread(enum vu_seccomp_mode mode,
                                   const struct vu_syscall_rules *const *tables, GError **error);
