/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What virtiofsd does to the share. Every call that takes a name takes a descriptor of ours before
 * it; AT_FDCWD is no such.
 */
#include "virtiofsd/syscalls.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <sys/resource.h>

static const struct vu_syscall_rule syscalls_fs[] = {
    /* data */
    VU_SYSCALL("preadv"),
    VU_SYSCALL("preadv2"),
    VU_SYSCALL("pwritev"),
    VU_SYSCALL("pwritev2"),
    VU_SYSCALL("copy_file_range"),
    VU_SYSCALL("fsync"),
    VU_SYSCALL("fdatasync"),
    VU_SYSCALL("syncfs"),
    VU_SYSCALL_IF("getrusage", 0, RUSAGE_THREAD), /* whether a transfer slept */

    /* locks, and the signal that ends a wait for one: SIGRTMIN, of which C libraries keep some back
     */
    VU_SYSCALL("flock"),
    VU_SYSCALL_IF("fcntl", 1, F_OFD_GETLK),
    VU_SYSCALL_IF("fcntl", 1, F_OFD_SETLK),
    VU_SYSCALL_IF("fcntl", 1, F_OFD_SETLKW),
    VU_SYSCALL_IF("tgkill", 2, 34),
    VU_SYSCALL_IF("tgkill", 2, 35),

    /* attributes; statx is the most frequent of all and opens nothing */
    VU_SYSCALL("statx"),
    VU_SYSCALL("fchmod"),
    VU_SYSCALL_ON_FD("fchmodat", 0),
    VU_SYSCALL_ON_FD("fchownat", 0),
    VU_SYSCALL_ON_FD("utimensat", 0),
    VU_SYSCALL_IF("ioctl", 1, FS_IOC_GETFLAGS),
    VU_SYSCALL_IF("ioctl", 1, FS_IOC_SETFLAGS),
    VU_SYSCALL_IF("ioctl", 1, FS_IOC_FSGETXATTR),
    VU_SYSCALL_IF("ioctl", 1, FS_IOC_FSSETXATTR),

    VU_SYSCALL("fchown"),

    /* extended attributes: the names of those that take paths are our descriptors' in the thread's
     * working directory, /proc/self/fd */
    VU_SYSCALL("getxattr"),
    VU_SYSCALL("setxattr"),
    VU_SYSCALL("listxattr"),
    VU_SYSCALL("removexattr"),
    VU_SYSCALL("fgetxattr"),
    VU_SYSCALL("fremovexattr"),

    /* names */
    VU_SYSCALL_ON_FD("openat", 0),
    VU_SYSCALL_ON_FD("openat2", 0),
    VU_SYSCALL_ON_FD("name_to_handle_at", 0),
    VU_SYSCALL_ON_FD("open_by_handle_at", 0),
    VU_SYSCALL("getdents64"),
    VU_SYSCALL_ON_FD("readlinkat", 0),
    VU_SYSCALL_ON_FD("mkdirat", 0),
    VU_SYSCALL_ON_FD("mknodat", 0),
    VU_SYSCALL_ON_FD("symlinkat", 1),
    VU_SYSCALL_ON_FD("linkat", 0),
    VU_SYSCALL_ON_FD("renameat2", 0),
    VU_SYSCALL_ON_FD("renameat", 0), /* the C library's renameat2 without flags */

    /* who creates (creds.c), and a working directory and umask for each thread (thread.c) */
    VU_SYSCALL("setfsuid"),
    VU_SYSCALL("setfsgid"),
    VU_SYSCALL("capget"),
    VU_SYSCALL("capset"),
    VU_SYSCALL_IF("setgroups", 0, 0),
    VU_SYSCALL_IF("setgroups", 0, 1),
    VU_SYSCALL_IF("unshare", 0, CLONE_FS),
    VU_SYSCALL("fchdir"),
    VU_SYSCALL("umask"),
};

const struct vu_syscall_rules fs_syscall_rules = {syscalls_fs, G_N_ELEMENTS(syscalls_fs)};
