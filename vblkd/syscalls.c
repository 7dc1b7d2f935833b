/* SPDX-License-Identifier: Apache-2.0 */
/* What vblkd does to its image. Nothing is opened once it serves. */
#include "vblkd/syscalls.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/prctl.h>

static const struct vu_syscall_rule syscalls_blk[] = {
    VU_SYSCALL("preadv"),
    VU_SYSCALL("preadv2"),
    VU_SYSCALL("pwritev"),
    VU_SYSCALL("pwritev2"),
    VU_SYSCALL("fdatasync"),
    VU_SYSCALL("fsync"),

    /* a queue that starts: timers that are on time, an engine */
    VU_SYSCALL_IF("prctl", 0, PR_SET_TIMERSLACK),
    VU_SYSCALL("io_uring_setup"),
    VU_SYSCALL("io_uring_enter"),
    VU_SYSCALL("io_uring_register"),
    VU_SYSCALL("io_setup"),
    VU_SYSCALL("io_submit"),
    VU_SYSCALL("io_getevents"),
    VU_SYSCALL("io_destroy"),

    /* locks of the image, given up */
    VU_SYSCALL_IF("fcntl", 1, F_OFD_SETLK),
    /* one that comes over the control socket: its locks, alignment, sectors */
    VU_SYSCALL_IF("fcntl", 1, F_OFD_GETLK),
    VU_SYSCALL_ON_FD("statx", 0),
    VU_SYSCALL_IF("ioctl", 1, BLKPBSZGET),

    /* block devices */
    VU_SYSCALL_IF("ioctl", 1, BLKDISCARD),
    VU_SYSCALL_IF("ioctl", 1, BLKGETSIZE64),
};

const struct vu_syscall_rules blk_syscall_rules = {syscalls_blk, G_N_ELEMENTS(syscalls_blk)};
