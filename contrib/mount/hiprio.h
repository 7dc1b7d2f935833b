/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The high-priority queue (virtqueue 0), which carries forgets. They are never answered; their
 * buffers come back, and are taken when the next forget needs one. Any thread of the bridge.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/driver.h"

#define HIPRIO_DEPTH   64
#define HIPRIO_BUF_LEN 4096u

struct hiprio {
    pthread_mutex_t lock; /* guards everything */
    struct vu_driver *driver;
    uint8_t *buffers; /* HIPRIO_DEPTH of HIPRIO_BUF_LEN bytes, shared */
    uint64_t gpa;     /* of buffers */
    void *free[HIPRIO_DEPTH];
    unsigned n_free;
};

/* Takes ring and buffers out of shmem. 0 or -errno. */
int hiprio_init(struct hiprio *hiprio, struct vu_shmem *shmem, uint64_t features);
void hiprio_clear(struct hiprio *hiprio);
/* Forgets what was in flight; the back-end is gone. */
void hiprio_reset(struct hiprio *hiprio);
/* Sends a copy of the request. False where there is no room for it now: it may take another queue.
 */
bool hiprio_send(struct hiprio *hiprio, const void *request, uint32_t len);
