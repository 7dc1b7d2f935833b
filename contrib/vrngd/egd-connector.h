/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process of its own that connects to one EGD server, again and again, for a daemon whose sandbox
 * has no network, no path to a socket and no way to look a name up. The daemon can ask it for one
 * thing only: another connection to where the command line said. It keeps no descriptor of the
 * daemon's and nearly no rights, and ends when the daemon does.
 */
#pragma once

#include <glib.h>

#include "vhost-user/daemon/address.h"

/*
 * Starts one. To be called before the sandbox, while there is but one thread. Returns the
 * descriptor to ask by, not blocking, which poll says is readable when an answer is there; closing
 * it ends the process. A path that begins with @ is an abstract name. -errno.
 */
int egd_connector_start(const struct vu_address *address);

/* Asks for a connection. One at a time: the answer comes first. 0 or -errno. */
int egd_connector_ask(int fd);

/* 0: *ret_socket is connected, not blocking, the caller's; -EAGAIN: no answer yet; -EPIPE: the
 * process has ended; else -errno of the attempt: -ETIMEDOUT, -EHOSTUNREACH for a name that could
 * not be looked up, or -EBUSY for a server that takes no more for now. */
int egd_connector_answer(int fd, int *ret_socket);
