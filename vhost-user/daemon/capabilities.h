/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a daemon keeps of root's rights. Start-up only: capabilities belong to threads, and those
 * that come later inherit the main thread's.
 */
#pragma once

#include <glib.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>

/* Sets of capabilities are masks of these. */
#define VU_CAPABILITY(number) (UINT64_C(1) << (number))

/* What --modcaps asks for. */
struct vu_capability_changes {
    uint64_t add, drop;
};

/* Adds to *changes what "+sys_admin:-chown" says. False with *error, which does not name the
 * option. */
bool vu_capabilities_parse(struct vu_capability_changes *changes, const char *text, GError **error);

/*
 * Gives up every capability but those of `wanted`, with the changes made to it, and may gain none
 * again. One that is wanted and not there is done without; one that was asked for by name and is
 * not there is an error.
 */
bool vu_capabilities_limit(uint64_t wanted, const struct vu_capability_changes *changes,
                           GError **error);
