/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a killed process had acknowledged and not yet flushed. Every change of an L2 entry is noted
 * in a file that is mapped and survives the process (not the machine: after a power cut nothing is
 * owed that was not flushed). A successor that is given the same file makes the changes again.
 *
 * While a journal is in use, an autoclear feature bit of ours is set in the image: whoever else
 * writes to the image clears it, as the format demands, and then the journal no longer counts.
 */
#pragma once

#include "vblkd/format/qcow2-image.h"

#define QCOW2_AUTOCLEAR_JOURNAL (UINT64_C(1) << 63)
#define QCOW2_JOURNAL_RECORDS   (1u << 16) /* that can be there before a flush */

/*
 * Maps the file of options->journal_fd, and makes the changes again that it has for this image.
 * False with *error. Without a journal, or with version 2 of the format, nothing is noted.
 */
bool qcow2_journal_open(struct qcow2 *q, const struct vblk_image_options *options, GError **error);
/* Everything is flushed: the next one begins empty. */
void qcow2_journal_close(struct qcow2 *q);

/* --- under the lock --- */

/* Room for n entries that will change. -EAGAIN with *need. */
int qcow2_journal_reserve(struct qcow2 *q, uint64_t n, struct qcow2_need *need);
void qcow2_journal_unreserve(struct qcow2 *q, uint64_t n);
/* An entry has changed. There is room for it. */
void qcow2_journal_note(struct qcow2 *q, uint64_t guest_cluster, struct qcow2_l2_entry entry);
/* How far it is, and that all up to there is durable. */
uint64_t qcow2_journal_head(const struct qcow2 *q);
void qcow2_journal_forget(struct qcow2 *q, uint64_t head);
