/* SPDX-License-Identifier: Apache-2.0 */
/* See process.h. */
#include "vhost-user/daemon/process.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"

#define PROCESS_STAT     "/proc/self/stat"
#define PROCESS_MAX_STAT 1024

/* Set at start-up, by one thread. */
static struct {
    int stat_fd, proc_fds; /* -1: none */
    uint64_t start_s;
} process_own = {.stat_fd = -1, .proc_fds = -1};

void vu_process_prepare(void)
{
    vu_clear_fd(&process_own.stat_fd);
    process_own.stat_fd = open(PROCESS_STAT, O_RDONLY | O_CLOEXEC);
    process_own.start_s = (uint64_t)time(NULL);
}

void vu_process_count_fds(int proc_fds)
{
    vu_clear_fd(&process_own.proc_fds);
    process_own.proc_fds = fcntl(proc_fds, F_DUPFD_CLOEXEC, 0);
}

/* proc(5): pid (name) state and 10 numbers, utime, stime, 4 more, threads, 2 more, virtual bytes,
 * resident pages. The name may hold anything. */
static void process_parse(const char *text, struct vu_process_usage *ret_usage)
{
    const char *end = strrchr(text, ')');
    uint64_t resident_pages;

    if (sscanf(text, "%d", &ret_usage->pid) != 1 || !end ||
        sscanf(end,
               ") %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64
               " %*s %*s %" SCNu64 " %" SCNu64,
               &ret_usage->n_threads, &ret_usage->virtual_bytes, &resident_pages) != 3) {
        ret_usage->pid = 0;
        return;
    }
    ret_usage->resident_bytes = resident_pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The size of this directory is the number of its entries, since Linux 6.2. */
uint64_t vu_process_n_fds(void)
{
    struct stat st;

    return process_own.proc_fds >= 0 && fstat(process_own.proc_fds, &st) == 0 ? (uint64_t)st.st_size
                                                                              : 0;
}

void vu_process_read(struct vu_process_usage *ret_usage)
{
    char text[PROCESS_MAX_STAT];
    struct timespec cpu = {0};
    ssize_t n = -1;

    *ret_usage = (struct vu_process_usage){.start_s = process_own.start_s};
    if (process_own.stat_fd >= 0)
        n = pread(process_own.stat_fd, text, sizeof(text) - 1, 0);
    if (n > 0) {
        text[n] = '\0';
        process_parse(text, ret_usage);
    }
    ret_usage->n_fds = vu_process_n_fds();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    ret_usage->cpu_ns = (uint64_t)cpu.tv_sec * UINT64_C(1000000000) + (uint64_t)cpu.tv_nsec;
}
