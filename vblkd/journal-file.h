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
    bool (*is_one)(int fd); /* whether what is there may be overwritten */
    bool is_missed;         /* there is none, and nobody said that there should not be */
};

/*
 * `place`: a path, "none", or NULL for SOCKET_PATH.journal (none without a socket_path). False with
 * *error where it was asked for and cannot be made. To be cleared in either case.
 */
bool blk_journal_file_open(const char *place, const char *socket_path,
                           struct blk_journal_file *ret_file, GError **error);
/* Ours alone until the process ends. False with *error, G_FILE_ERROR_AGAIN: another daemon has it,
 * or has just ended and removed it; file->fd may be another one afterwards. */
bool blk_journal_file_lock(struct blk_journal_file *file, GError **error);
/* The same for what the guest chose: the journal's place with ".guest" behind, or
 * SOCKET_PATH.guest. Without it one can do. */
void blk_journal_file_open_choice(const char *place, const char *socket_path,
                                  struct blk_journal_file *ret_file);
void blk_journal_file_remove(const struct blk_journal_file *file);
/* Removes one that nothing was noted in, unless another daemon has it. */
void blk_journal_file_remove_blank(const struct blk_journal_file *file);
void blk_journal_file_clear(struct blk_journal_file *file);
