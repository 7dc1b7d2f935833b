/* SPDX-License-Identifier: Apache-2.0 */
/* The list of what a predecessor left undone, for both kinds of ring: see inflight-log.h. */
#include "vhost-user/inflight-log.h"

#include <glib.h>
#include <stdlib.h>

struct vu_resubmit *vu_resubmit_create(unsigned max)
{
    struct vu_resubmit *resubmit = g_malloc(sizeof(*resubmit) + max * sizeof(resubmit->entries[0]));

    resubmit->n = 0;
    resubmit->next = 0;
    return resubmit;
}

static int resubmit_compare(const void *a, const void *b)
{
    const struct vu_resubmit_entry *x = a, *y = b;

    if (x->counter != y->counter)
        return x->counter < y->counter ? -1 : 1;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

struct vu_resubmit *vu_resubmit_sort(struct vu_resubmit *resubmit)
{
    if (resubmit->n == 0) {
        g_free(resubmit);
        return NULL;
    }
    qsort(resubmit->entries, resubmit->n, sizeof(resubmit->entries[0]), resubmit_compare);
    return resubmit;
}
