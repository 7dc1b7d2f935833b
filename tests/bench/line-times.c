/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line-times LAST PROGRAM [ARGUMENT]...: runs a program and prints, for each line that it prints,
 * the microseconds from its exec to the line's first byte. When a line is LAST it also prints the
 * program's CPU time (microseconds) and, once it has come to rest, its resident memory (its own:
 * anonymous and file pages, KiB), ends it, and is done.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench-stats.h"

#define LINE_MAX_LEN 256
#define REST_US      200000

struct times {
    uint64_t begin_ns;
    int pid, fd;
    char line[LINE_MAX_LEN];
    size_t line_len;
    uint64_t line_us; /* of its first byte */
};

static uint64_t times_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool times_start(struct times *times, char **argv)
{
    posix_spawn_file_actions_t actions;
    int fds[2], rc;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return false;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    times->fd = fds[0];
    times->begin_ns = times_now_ns();
    rc = posix_spawnp(&times->pid, argv[0], &actions, NULL, argv, environ);
    close(fds[1]);
    posix_spawn_file_actions_destroy(&actions);
    errno = rc;
    return rc == 0;
}

/* Takes a byte; true: with it the line is whole, and printed. */
static bool times_take(struct times *times, char c, uint64_t now_us)
{
    if (times->line_len == 0)
        times->line_us = now_us;
    if (c != '\n') {
        if (c != '\r' && times->line_len < LINE_MAX_LEN - 1)
            times->line[times->line_len++] = c;
        return false;
    }
    times->line[times->line_len] = '\0';
    times->line_len = 0;
    printf("%" PRIu64 "\t%s\n", times->line_us, times->line);
    return true;
}

static bool times_read_until(struct times *times, const char *last)
{
    char bytes[512];
    ssize_t n;

    while ((n = read(times->fd, bytes, sizeof(bytes))) > 0) {
        uint64_t now_us = (times_now_ns() - times->begin_ns) / 1000;

        for (ssize_t i = 0; i < n; i++)
            if (times_take(times, bytes[i], now_us) && strcmp(times->line, last) == 0)
                return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    struct times times = {0};
    bool found;

    if (argc < 3) {
        fprintf(stderr, "usage: line-times LAST PROGRAM [ARGUMENT]...\n");
        return 2;
    }
    if (!times_start(&times, argv + 2)) {
        fprintf(stderr, "line-times: %s: %s\n", argv[2], strerror(errno));
        return EXIT_FAILURE;
    }
    found = times_read_until(&times, argv[1]);
    if (found) {
        printf("cpu\t%" PRId64 "\n", bench_process_cpu_ns(times.pid) / 1000);
        usleep(REST_US);
        printf("resident\t%ld\n", bench_process_rss_kib(times.pid));
    }
    kill(times.pid, SIGKILL);
    waitpid(times.pid, NULL, 0);
    return found ? EXIT_SUCCESS : EXIT_FAILURE;
}
