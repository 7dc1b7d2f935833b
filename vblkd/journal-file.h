/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that a killed daemon leaves to its successor, beside the socket unless the place is
 * given, and removed at an orderly end: the journal of a qcow2 image (format/qcow2-journal.h), and
 * what the guest chose (guest-choice.h).
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
/* The same for what the guest chose: the journal's place with ".guest" behind, or
 * SOCKET_PATH.guest. Without it one can do. */
void blk_journal_file_open_choice(const char *place, const char *socket_path,
                                  struct blk_journal_file *ret_file);
void blk_journal_file_remove(const struct blk_journal_file *file);
void blk_journal_file_clear(struct blk_journal_file *file);
