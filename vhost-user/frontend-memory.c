/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sharing memory with the back-end: the whole table at once, or region by region where it has
 * memory slots; and the dirty log of a migration. Runs on the calling thread, under the session's
 * lock. vhost-user: "Memory region description", "Migration".
 */
#include <errno.h>
#include <string.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/frontend-session.h"

static bool frontend_same_region(const struct vu_region_desc *a, const struct vu_region_desc *b)
{
    return a->gpa == b->gpa && a->size == b->size && a->uva == b->uva &&
           a->mmap_offset == b->mmap_offset;
}

static int frontend_send_table(struct vu_frontend *frontend)
{
    const struct vu_shmem *shmem = frontend->shmem;
    struct vu_message msg;

    if (shmem->n_regions > VU_TABLE_MAX)
        return -E2BIG;
    msg = frontend_message(VU_SET_MEM_TABLE,
                           (uint32_t)(offsetof(struct vu_mem_table, regions) +
                                      shmem->n_regions * sizeof(struct vu_region_desc)));
    msg.payload.table.n_regions = shmem->n_regions;
    msg.payload.table.padding = 0;
    for (unsigned i = 0; i < shmem->n_regions; i++) {
        msg.payload.table.regions[i] = vu_shmem_describe(&shmem->regions[i]);
        msg.fds[msg.n_fds++] = shmem->regions[i].fd;
    }
    return frontend_call_locked(frontend, &msg);
}

static int frontend_send_region(struct vu_frontend *frontend, uint32_t request,
                                const struct vu_region_desc *desc, int fd)
{
    struct vu_message msg = frontend_message(request, sizeof(msg.payload.mem_reg));

    msg.payload.mem_reg = (struct vu_mem_reg){.region = *desc};
    if (fd >= 0)
        msg.fds[msg.n_fds++] = fd;
    return frontend_call_locked(frontend, &msg);
}

/* Takes back the regions that are no longer there. */
static int frontend_remove_regions(struct vu_frontend *frontend)
{
    for (unsigned i = frontend->n_shared; i-- > 0;) {
        bool kept = false;
        int rc;

        for (unsigned j = 0; j < frontend->shmem->n_regions && !kept; j++) {
            struct vu_region_desc desc = vu_shmem_describe(&frontend->shmem->regions[j]);

            kept = frontend_same_region(&frontend->shared[i], &desc);
        }
        if (kept)
            continue;
        rc = frontend_send_region(frontend, VU_REM_MEM_REG, &frontend->shared[i], -1);
        if (rc < 0)
            return rc;
        frontend->shared[i] = frontend->shared[--frontend->n_shared];
    }
    return 0;
}

static int frontend_add_regions(struct vu_frontend *frontend)
{
    for (unsigned j = 0; j < frontend->shmem->n_regions; j++) {
        struct vu_region_desc desc = vu_shmem_describe(&frontend->shmem->regions[j]);
        bool known = false;
        int rc;

        for (unsigned i = 0; i < frontend->n_shared && !known; i++)
            known = frontend_same_region(&frontend->shared[i], &desc);
        if (known)
            continue;
        rc = frontend_send_region(frontend, VU_ADD_MEM_REG, &desc, frontend->shmem->regions[j].fd);
        if (rc < 0)
            return rc;
        frontend->shared[frontend->n_shared++] = desc;
    }
    return 0;
}

static int frontend_update_slots(struct vu_frontend *frontend)
{
    uint64_t n_slots;
    int rc = frontend_get_u64_locked(frontend, VU_GET_MAX_MEM_SLOTS, &n_slots);

    if (rc < 0)
        return rc;
    if (frontend->shmem->n_regions > n_slots)
        return -E2BIG;
    rc = frontend_remove_regions(frontend);
    return rc < 0 ? rc : frontend_add_regions(frontend);
}

int frontend_share_memory_locked(struct vu_frontend *frontend)
{
    int rc = frontend_has_locked(frontend, VU_PF_CONFIGURE_MEM_SLOTS)
                 ? frontend_update_slots(frontend)
                 : frontend_send_table(frontend);

    return rc < 0 ? rc : frontend_sync_locked(frontend);
}

int vu_frontend_set_memory(struct vu_frontend *frontend, const struct vu_shmem *shmem)
{
    VU_LOCK_SCOPE(&frontend->lock);

    if (!frontend->connected)
        return -ENOTCONN;
    frontend->shmem = shmem;
    return frontend_share_memory_locked(frontend);
}

int vu_frontend_set_log(struct vu_frontend *frontend, int fd, uint64_t size, uint64_t offset)
{
    struct vu_message msg = frontend_message(VU_SET_LOG_BASE, sizeof(msg.payload.log));

    VU_LOCK_SCOPE(&frontend->lock);

    msg.payload.log = (struct vu_log_desc){.size = size, .offset = offset};
    msg.fds[msg.n_fds++] = fd;
    return frontend_call_locked(frontend, &msg);
}
