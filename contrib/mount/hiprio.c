/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forgets through virtqueue 0; see hiprio.h.
 */
#include "contrib/mount/hiprio.h"

#include <errno.h>
#include <string.h>

#include "vhost-user/cleanup.h"

int hiprio_init(struct hiprio *hiprio, struct vu_shmem *shmem, uint64_t features)
{
    struct vu_driver_config config = {.index = 0, .num = HIPRIO_DEPTH, .features = features};
    int rc;

    *hiprio = (struct hiprio){0};
    pthread_mutex_init(&hiprio->lock, NULL);
    rc = vu_driver_create(shmem, &config, &hiprio->driver);
    if (rc < 0)
        return rc;
    hiprio->buffers =
        vu_shmem_alloc(shmem, HIPRIO_DEPTH * HIPRIO_BUF_LEN, HIPRIO_BUF_LEN, &hiprio->gpa);
    if (!hiprio->buffers)
        return -ENOMEM;
    hiprio_reset(hiprio);
    return 0;
}

void hiprio_clear(struct hiprio *hiprio)
{
    vu_driver_destroy(hiprio->driver);
    pthread_mutex_destroy(&hiprio->lock);
}

void hiprio_reset(struct hiprio *hiprio)
{
    VU_LOCK_SCOPE(&hiprio->lock);

    vu_driver_reset(hiprio->driver);
    vu_driver_disarm_call(hiprio->driver);
    hiprio->n_free = HIPRIO_DEPTH;
    for (unsigned i = 0; i < HIPRIO_DEPTH; i++)
        hiprio->free[i] = hiprio->buffers + (size_t)i * HIPRIO_BUF_LEN;
}

/* Buffers that the back-end is done with. One that lies gets no more forgets here. */
static void hiprio_collect_locked(struct hiprio *hiprio)
{
    struct vu_driver_used used[HIPRIO_DEPTH];
    int n = vu_driver_harvest(hiprio->driver, used, HIPRIO_DEPTH);

    for (int i = 0; i < n; i++)
        hiprio->free[hiprio->n_free++] = used[i].token;
}

bool hiprio_send(struct hiprio *hiprio, const void *request, uint32_t len)
{
    struct vu_sg sg = {.len = len};
    uint8_t *buffer;

    if (len > HIPRIO_BUF_LEN)
        return false;
    VU_LOCK_SCOPE(&hiprio->lock);

    hiprio_collect_locked(hiprio);
    if (hiprio->n_free == 0)
        return false;
    buffer = hiprio->free[hiprio->n_free - 1];
    memcpy(buffer, request, len);
    sg.gpa = hiprio->gpa + (uint64_t)(buffer - hiprio->buffers);
    if (vu_driver_add(hiprio->driver, &sg, 1, 0, buffer) < 0)
        return false;
    hiprio->n_free--;
    vu_driver_kick(hiprio->driver);
    return true;
}
