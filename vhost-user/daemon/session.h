/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's front-ends, one after another, on a thread of its own. A process has one such thread
 * for each of its devices, which all end by one stop_fd.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "vhost-user/backend.h"

struct daemon;

struct vu_session {
    const struct vu_device *device;
    void *opaque; /* the device's */
    struct vu_backend *backend;
    int socket_fd; /* listens, or is connected: then it serves that one front-end */
    int stop_fd;   /* readable: it is to end; borrowed */
    bool exit_on_disconnect;
    void (*ended)(struct vu_session *session); /* its thread's last action */
    struct daemon *daemon;                     /* its owner's */
    pthread_t thread;
    int exit_status; /* its thread's until that is joined */
};

/* 0 or -errno. The thread is to be joined by the caller. */
int vu_session_start(struct vu_session *session);
