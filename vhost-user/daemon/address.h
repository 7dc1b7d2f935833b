/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a stream socket is, as options name it: "unix:PATH", "HOST:PORT" or "[HOST]:PORT", the last
 * for numeric IPv6.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct vu_address {
    char *path;        /* unix; NULL: it is a host and a port */
    char *host, *port; /* as they stand: nothing is looked up */
};

/* False with *error, which does not name the option. */
bool vu_address_parse(const char *where, struct vu_address *ret_address, GError **error);
void vu_address_clear(struct vu_address *address);

/* A socket that listens there; the file of a path is made with mode 0600 and removed as the others
 * of the daemon are (listen.h). Start-up, before the sandbox. -1 with *error, which names
 * the option. */
int vu_address_listen(const char *option, const char *where, GError **error);
