/* SPDX-License-Identifier: Apache-2.0 */
/* -pidfile: locked for as long as the program runs, so that two of them never share one. */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct vmm_pidfile {
    int fd, folder_fd; /* -1: there is none */
    char *name;        /* in its folder */
};

/* False with *error, which names the option; there is nothing to remove then. */
bool vmm_pidfile_create(struct vmm_pidfile *pidfile, const char *path, GError **error);
/* Removes the file, unless another has taken its place. One that was never made is allowed, as
 * {-1, -1}. */
void vmm_pidfile_remove(struct vmm_pidfile *pidfile);
