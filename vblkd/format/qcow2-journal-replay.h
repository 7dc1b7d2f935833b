/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a killed predecessor had noted and not flushed. Its records stay in the journal until all of
 * them have been made again and are durable, so that whoever is killed or fails meanwhile leaves
 * them to the next.
 */
#pragma once

#include "vblkd/format/qcow2-image.h"

/* Makes the changes of a journal that is this image's again. 0, with all of it durable; or -errno.
 */
int qcow2_journal_replay(struct qcow2 *q);

/*
 * While these changes have not been made, no table of the file knows of their clusters: those that
 * nothing else refers to are counted once, in counts[n_counts], so that nothing is put there.
 */
void qcow2_journal_count_clusters(const struct qcow2 *q, uint32_t *counts, uint64_t n_counts);
