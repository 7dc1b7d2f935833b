/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dirty log of a migration: comes while rings run, and is switched on by SET_FEATURES. Session
 * thread. vhost-user: "Migration".
 */
#include <errno.h>
#include <glib.h>
#include <inttypes.h>

#include "vhost-user/backend-session.h"

int backend_set_log_base(struct vu_backend *backend, struct backend_call *call)
{
    const struct vu_log_desc *desc = &call->msg.payload.log;
    struct vu_dirty_log *log, *old = backend->log;
    int r = vu_dirty_log_create(call->msg.fds[0], desc->size, desc->offset, &log);

    if (r < 0)
        return backend_refuse(call, r, "%" PRIu64 " bytes at %" PRIu64 ": %s", desc->size,
                              desc->offset, g_strerror(-r));
    backend->log = log;
    backend_rings_follow_log(backend);
    vu_dirty_log_unref(old);
    return 0;
}

int backend_set_log_fd(struct vu_backend *backend, struct backend_call *call)
{
    return 0; /* an eventfd that may be signalled when the log changes: front-ends look anyway */
}
