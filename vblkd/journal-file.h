/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a qcow2 image's journal (format/qcow2-journal.h): beside the socket unless its place
 * is given. It is there for the successor of a daemon that was killed, and removed at an orderly
 * end.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct blk_journal_file {
    int fd; /* -1: none */
    int dir_fd;
    char *name;
};

/*
 * `place`: a path, "none", or NULL for SOCKET_PATH.journal (none without a socket_path). False with
 * *error where it was asked for and cannot be made. To be cleared in either case.
 */
bool blk_journal_file_open(const char *place, const char *socket_path,
                           struct blk_journal_file *ret_file, GError **error);
void blk_journal_file_remove(const struct blk_journal_file *file);
void blk_journal_file_clear(struct blk_journal_file *file);
