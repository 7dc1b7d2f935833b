/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Epochs of users. Entering and leaving are one addition each in a cache line of the queue's own;
 * only who frees looks at all of them.
 *
 * All accesses are sequentially consistent: a user that counted itself and then still finds its
 * epoch current was counted before any later look at the counters.
 */
#include "vblkd/format/image-users.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "vblkd/format/image.h"

#define USERS_LINE 64

struct users_queue {
    uint32_t n_inside[2]; /* atomic; by the epoch's lowest bit */
} __attribute__((aligned(USERS_LINE)));

struct vblk_users {
    uint64_t epoch; /* atomic */
    struct users_queue queues[VBLK_MAX_QUEUES + 1];
};

struct vblk_users *vblk_users_create(void)
{
    struct vblk_users *users = aligned_alloc(USERS_LINE, sizeof(*users));

    g_assert(users);
    memset(users, 0, sizeof(*users));
    users->epoch = 1;
    return users;
}

void vblk_users_destroy(struct vblk_users *users)
{
    free(users);
}

unsigned vblk_users_enter(struct vblk_users *users, unsigned queue)
{
    struct users_queue *counters = &users->queues[MIN(queue, VBLK_MAX_QUEUES)];

    for (;;) {
        uint64_t epoch = __atomic_load_n(&users->epoch, __ATOMIC_SEQ_CST);
        unsigned ticket = epoch & 1;

        __atomic_fetch_add(&counters->n_inside[ticket], 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&users->epoch, __ATOMIC_SEQ_CST) == epoch)
            return ticket;
        __atomic_fetch_sub(&counters->n_inside[ticket], 1, __ATOMIC_SEQ_CST);
    }
}

void vblk_users_leave(struct vblk_users *users, unsigned queue, unsigned ticket)
{
    struct users_queue *counters = &users->queues[MIN(queue, VBLK_MAX_QUEUES)];

    __atomic_fetch_sub(&counters->n_inside[ticket], 1, __ATOMIC_SEQ_CST);
}

/*
 * Adds nothing, but is no mere load: that could be done before the caller's stores are seen, by
 * which something became unreachable, and then somebody who enters the next epoch might still find
 * it. Whoever ends this epoch, and all who enter the next, come after this addition.
 */
uint64_t vblk_users_epoch(struct vblk_users *users)
{
    return __atomic_fetch_add(&users->epoch, 0, __ATOMIC_SEQ_CST);
}

static bool users_epoch_is_empty(struct vblk_users *users, uint64_t epoch)
{
    for (unsigned i = 0; i <= VBLK_MAX_QUEUES; i++) {
        if (__atomic_load_n(&users->queues[i].n_inside[epoch & 1], __ATOMIC_SEQ_CST) > 0)
            return false;
    }
    return true;
}

bool vblk_users_have_left(struct vblk_users *users, uint64_t stamp)
{
    uint64_t epoch = vblk_users_epoch(users);

    while (epoch < stamp + 2) {
        /* Nobody enters the epoch before this one any more, so once empty it stays so. */
        if (!users_epoch_is_empty(users, epoch - 1))
            return false;
        __atomic_compare_exchange_n(&users->epoch, &epoch, epoch + 1, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        epoch = vblk_users_epoch(users);
    }
    return true;
}

unsigned vblk_image_enter(struct vblk_image *image, unsigned queue)
{
    return image->users ? vblk_users_enter(image->users, queue) : 0;
}

void vblk_image_leave(struct vblk_image *image, unsigned queue, unsigned ticket)
{
    if (image->users)
        vblk_users_leave(image->users, queue, ticket);
}
