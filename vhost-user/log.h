/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines, tagged "device: queue: message", to stderr or syslog. Any thread; never blocks on
 * another's line. Library code logs here; nobody calls exit or abort on anything a guest or a peer
 * controls.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* VU_LOG_OFF is a threshold only; no line has it. */
enum vu_log_level { VU_LOG_OFF = -1, VU_LOG_ERROR, VU_LOG_WARNING, VU_LOG_INFO, VU_LOG_DEBUG };

/* Lines above `level` are dropped. Default: VU_LOG_INFO. */
void vu_log_set_level(enum vu_log_level level);
enum vu_log_level vu_log_get_level(void);
/* Sends further lines to syslog(3) under `program`, instead of stderr. */
void vu_log_use_syslog(const char *program);

/* One line; control characters become '?', a line beyond 1 KiB is cut. Leaves errno alone. */
void vu_log(enum vu_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For a line that a guest can cause at will: true once a second at most. *next_ns (atomic) is the
 * line's own, and begins as 0. */
bool vu_log_is_due(uint64_t *next_ns);

#define vu_error(...)   vu_log(VU_LOG_ERROR, __VA_ARGS__)
#define vu_warning(...) vu_log(VU_LOG_WARNING, __VA_ARGS__)
#define vu_info(...)    vu_log(VU_LOG_INFO, __VA_ARGS__)
/* The arguments are not evaluated unless debug lines are wanted. */
#define vu_debug(...)                           \
    do {                                        \
        if (vu_log_get_level() >= VU_LOG_DEBUG) \
            vu_log(VU_LOG_DEBUG, __VA_ARGS__);  \
    } while (0)
