/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this process takes of the host: memory, time, descriptors. It is asked inside the sandbox,
 * where there is no /proc, so what tells it is opened before. Whoever started the daemon may know
 * another process, the one that stays outside. Any thread, but for prepare.
 */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdint.h>

struct vu_process_usage {
    int pid; /* as the host has it; 0: not known, as are the numbers below */
    uint64_t resident_bytes, virtual_bytes;
    uint64_t n_threads;
    uint64_t n_fds; /* 0: not known (Linux before 6.2) */
    uint64_t cpu_ns, start_s;
};

/* Opens what is asked later. In the process that is to serve, while there is a /proc. */
void vu_process_prepare(void);
/* A descriptor (O_PATH) of its own /proc/self/fd, which it copies: one that may be kept inside. */
void vu_process_count_fds(int proc_fds);
/* How many descriptors there are; 0: not known. */
uint64_t vu_process_n_fds(void);

/* What this process takes by now; 0 where it cannot be told. Any thread. */
void vu_process_read(struct vu_process_usage *ret_usage);
/* query-process: {"pid", "resident-bytes", ...}. */
JsonNode *vu_process_to_json(void);
/* By the names that programs of all kinds use for this. */
void vu_process_add_metrics(GString *text);
