/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clusters on their way back to being free. Each step waits for the one before:
 *
 *   unmapped: nothing in memory refers to it any more, but the disk may
 *   durable:  a flush has passed, so nothing on the disk does; requests that were told of it may
 *   free:     its users have left, its space is given back, its refcount drops
 *
 * A crash in between leaks it, no more.
 */
#pragma once

#include "vblkd/format/qcow2-image.h"

/* n clusters lose one reference each. Under the lock. */
void qcow2_free_later(struct qcow2 *q, uint64_t cluster, uint64_t n);
/* What nothing ever referred to, where its refcount is not at hand. Under the lock. */
void qcow2_free_unused(struct qcow2 *q, uint64_t cluster, uint64_t n);

/* What waits to be freed has been, by who counted everything anew. Nobody uses the image, which has
 * been flushed. */
void qcow2_free_forget(struct qcow2 *q);

/* The first n of `unmapped` are durable. Under the lock. */
void qcow2_free_passed(struct qcow2 *q, guint n);
/*
 * Frees what nobody can be using any more. The caller holds flush_lock, not the lock. -errno: the
 * rest stays for the next time.
 */
int qcow2_free_finish(struct qcow2 *q);
