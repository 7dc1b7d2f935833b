/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread that looks at busy workers every VU_WATCH_TICK_MS. It starts with the first, ends with
 * the last, and sleeps for good while all of them do.
 */
#pragma once

#include <stdbool.h>

#define VU_WATCH_TICK_MS 10

struct vu_watched {
    struct vu_watched *next; /* the watch's own */
    /* Called on the watch's thread, every tick. */
    void (*look)(struct vu_watched *watched);
    bool asleep; /* atomic; set false by vu_watch_awake */
};

/* 0 or -errno of the thread. */
int vu_watch_add(struct vu_watched *watched);
/* `look` does not run any more when this returns. */
void vu_watch_remove(struct vu_watched *watched);

/* Any thread, about a watched one: it will do nothing that needs watching, or may do so again. */
void vu_watch_asleep(struct vu_watched *watched);
void vu_watch_awake(struct vu_watched *watched);
