/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in front of storage.h's changing calls (the linker's --wrap): records them, so that a test
 * can write the file that a power cut would have left, and lets one of them fail, or be the last
 * that the process does.
 */
#pragma once

#include <glib.h>
#include <stdint.h>

enum storage_event_kind {
    STORAGE_EVENT_WRITE,
    STORAGE_EVENT_ZERO,
    STORAGE_EVENT_DISCARD,
    STORAGE_EVENT_TRUNCATE,
    STORAGE_EVENT_FLUSH,
};

struct storage_event {
    enum storage_event_kind kind;
    uint64_t offset, len; /* TRUNCATE: the size in offset */
    uint8_t *bytes;       /* WRITE */
    char *path;           /* of the file */
};

/* struct storage_event, in the order in which they were done. One thread only. */
extern GArray *storage_events; /* NULL: nothing is recorded */
/* The n-th call from now on fails with this; 0: none. */
extern unsigned storage_fail_at;
extern int storage_fail_errno;
/* The process is killed in the n-th call from now on, of which some is done; 0: in none. */
extern unsigned storage_kill_at;

void storage_recorder_start(void);
void storage_recorder_stop(void);

/* Does an event again, on a descriptor. */
void storage_event_apply(const struct storage_event *event, int fd);
