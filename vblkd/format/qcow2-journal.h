/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a killed process had acknowledged and not yet flushed. Every change of an L2 entry is noted
 * in a file that is mapped and survives the process (not the machine: after a power cut nothing is
 * owed that was not flushed). A successor that is given the same file makes the changes again.
 *
 * While a journal is in use, autoclear feature bits of ours are set in the image: one that says so,
 * and a number that no other journal of the image has had lately. Whoever else writes to the image
 * clears them, as the format demands, and then the journal no longer counts.
 */
#pragma once

#include "vblkd/format/qcow2-image.h"

#define QCOW2_AUTOCLEAR_JOURNAL (UINT64_C(1) << 63)
#define QCOW2_AUTOCLEAR_CLAIM_1 (UINT64_C(1) << 48) /* bits 48 to 62: the number */
#define QCOW2_AUTOCLEAR_CLAIM   UINT64_C(0xffff000000000000)
#define QCOW2_JOURNAL_RECORDS   (1u << 16) /* that can be there before a flush */

/* What journals take from files of the system, for processes that will not be able to open any. */
void qcow2_journals_init(void);
/* What tells this boot of the machine from others; empty where that cannot be known. */
void qcow2_journals_boot_id(char *ret_id, size_t len);

/* Whether a file is a journal, of whatever version, or may become one: it is empty, or was being
 * made when its daemon was killed. */
bool qcow2_journal_is_one(int fd);
/* Whether nothing has been noted in it since it was made. */
bool qcow2_journal_is_blank(int fd);
/* Whether the image at path may be served with that journal, which may know of an overlay in front
 * of it, or have changes that another image lacks. Before it is opened. False with *error. */
bool qcow2_journal_check(int journal_fd, const char *path, GError **error);

/*
 * Maps the file of options->journal_fd, where there is one. It is a predecessor's until it is
 * opened: nothing is noted in it, and nothing forgotten. False with *error.
 */
bool qcow2_journal_map(struct qcow2 *q, const struct vblk_image_options *options, GError **error);
/*
 * Makes the changes again that it has for this image. False with *error. Without a journal nothing
 * is noted, and one that somebody has no longer counts; the image becomes eager, if options say so.
 * Version 2 of the format has no bits that others clear, so no journal could be trusted: the image
 * becomes eager instead.
 */
bool qcow2_journal_open(struct qcow2 *q, const struct vblk_image_options *options, GError **error);
/* Whether a successor will know that what is noted is of this boot. */
bool qcow2_journal_can_count(void);
/* Whether what is in a journal's file counts, and is about that image. */
bool qcow2_journal_is_of(const struct qcow2_journal *journal, const struct qcow2 *q);
/* It is about the image, and counts no longer. */
bool qcow2_journal_is_outdated(const struct qcow2 *q);
/* The autoclear bits of the journal in use; 0: there is none. */
uint64_t qcow2_journal_claim(const struct qcow2 *q);
/* Everything is flushed: the next one begins empty. */
void qcow2_journal_close(struct qcow2 *q);

/*
 * The journal follows the disk from one image to another, of which nothing has been noted yet:
 * `from`, of any format, has been settled. From now on it is `to` that a successor may make changes
 * in. -errno: everything is as it was.
 */
int qcow2_journal_move(struct vblk_image *from, struct qcow2 *to, int journal_fd);

/* --- under the lock --- */

/* Room for n entries that will change. -EAGAIN with *need. */
int qcow2_journal_reserve(struct qcow2 *q, uint64_t n, struct qcow2_need *need);
void qcow2_journal_unreserve(struct qcow2 *q, uint64_t n);
/* An entry has changed. There is room for it. */
void qcow2_journal_note(struct qcow2 *q, uint64_t guest_cluster, struct qcow2_l2_entry entry);
/* How far it is, and that all up to there is durable. */
uint64_t qcow2_journal_head(const struct qcow2 *q);
void qcow2_journal_forget(struct qcow2 *q, uint64_t head);
