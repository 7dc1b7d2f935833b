/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines. Each is formatted on the caller's stack and leaves in one write, so that lines of
 * several threads never mix and no thread waits for another. What a guest or a peer may have put
 * into a line cannot forge a second one: control characters are replaced.
 */
#include "vhost-user/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "vhost-user/cpu.h"

#define LOG_LINE_MAX 1024 /* bytes, the line's end included; longer ones are cut */
#define LOG_DUE_NS   UINT64_C(1000000000)

static const struct log_level_info {
    const char *prefix;
    int priority;
} log_levels[] = {
    [VU_LOG_ERROR] = {"error: ", LOG_ERR},
    [VU_LOG_WARNING] = {"warning: ", LOG_WARNING},
    [VU_LOG_INFO] = {"", LOG_INFO},
    [VU_LOG_DEBUG] = {"debug: ", LOG_DEBUG},
};

static int log_threshold = VU_LOG_INFO; /* atomic */
static bool log_to_syslog;              /* atomic */

void vu_log_set_level(enum vu_log_level level)
{
    __atomic_store_n(&log_threshold, (int)level, __ATOMIC_RELAXED);
}

enum vu_log_level vu_log_get_level(void)
{
    return (enum vu_log_level)__atomic_load_n(&log_threshold, __ATOMIC_RELAXED);
}

void vu_log_use_syslog(const char *program)
{
    openlog(program, LOG_PID | LOG_NDELAY, LOG_DAEMON);
    __atomic_store_n(&log_to_syslog, true, __ATOMIC_RELEASE);
}

bool vu_log_is_due(uint64_t *next_ns)
{
    uint64_t now = vu_now_ns(), next = __atomic_load_n(next_ns, __ATOMIC_RELAXED);

    return now >= next && __atomic_compare_exchange_n(next_ns, &next, now + LOG_DUE_NS, false,
                                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* Formats into line, replaces what would break it, ends it with a newline; returns its bytes. */
static size_t log_format_line(char *line, const char *prefix, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
static size_t log_format_line(char *line, const char *prefix, const char *format, va_list args)
{
    size_t prefix_len = strlen(prefix);
    size_t room = LOG_LINE_MAX - prefix_len;
    int wanted;
    size_t len;

    memcpy(line, prefix, prefix_len);
    wanted = vsnprintf(line + prefix_len, room, format, args);
    if (wanted < 0)
        wanted = 0;
    len = prefix_len + ((size_t)wanted < room ? (size_t)wanted : room - 1);
    for (size_t i = prefix_len; i < len; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    line[len] = '\n';
    return len + 1;
}

void vu_log(enum vu_log_level level, const char *format, ...)
{
    int saved_errno = errno;
    bool to_syslog = __atomic_load_n(&log_to_syslog, __ATOMIC_ACQUIRE);
    char line[LOG_LINE_MAX];
    va_list args;
    size_t len;

    if (level > vu_log_get_level())
        return;
    va_start(args, format);
    len = log_format_line(line, to_syslog ? "" : log_levels[level].prefix, format, args);
    va_end(args);
    if (to_syslog) {
        syslog(log_levels[level].priority, "%.*s", (int)(len - 1), line);
    } else {
        /* Nobody is left to tell when stderr is gone or full. */
        ssize_t written = write(STDERR_FILENO, line, len);

        (void)written;
    }
    errno = saved_errno;
}
