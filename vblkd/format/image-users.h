/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is using an image's extents, so that a freed cluster is not used for anything else while a
 * request that was told of it is still on its way.
 *
 * Time is divided into epochs. A user counts itself in the epoch in which it enters, in its queue's
 * own cache line; an epoch ends when nobody is left of the one before. What was freed in epoch E
 * and could no longer be found after that is unused by everybody from epoch E + 2 on.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vblk_users;

struct vblk_users *vblk_users_create(void);
void vblk_users_destroy(struct vblk_users *users); /* NULL is allowed; nobody is inside */

/* Any thread; vblk_image_enter and _leave are these. */
unsigned vblk_users_enter(struct vblk_users *users, unsigned queue);
void vblk_users_leave(struct vblk_users *users, unsigned queue, unsigned ticket);

/* The epoch now: a stamp for what was made unreachable before the call. Any thread. */
uint64_t vblk_users_epoch(struct vblk_users *users);
/* Whether everybody has left who was inside when the stamp was taken. Never waits; to be asked
 * again later. Any thread. */
bool vblk_users_have_left(struct vblk_users *users, uint64_t stamp);
