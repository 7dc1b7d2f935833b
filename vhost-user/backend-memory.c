/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages that describe guest memory. Each makes a new map; the rings move to it one after the
 * other while they run, and the old one goes with the last request that uses it. Session thread.
 */
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

#include "vhost-user/backend-session.h"

/* Takes over the reference. */
static void memory_replace(struct vu_backend *backend, struct vu_memory *memory)
{
    struct vu_memory *old = backend->memory;

    backend->memory = memory;
    backend_rings_follow_memory(backend);
    vu_memory_unref(old);
}

static int memory_refuse_region(struct backend_call *call, int err,
                                const struct vu_region_desc *desc)
{
    return backend_refuse(call, err,
                          "region at %#" PRIx64 " of %#" PRIx64 " bytes, user address %#" PRIx64
                          ", offset %#" PRIx64 ": %s",
                          desc->gpa, desc->size, desc->uva, desc->mmap_offset, g_strerror(-err));
}

int backend_set_mem_table(struct vu_backend *backend, struct backend_call *call)
{
    const struct vu_mem_table *table = &call->msg.payload.table;
    unsigned n = table->n_regions;
    struct vu_memory *memory;
    int r;

    if (n > VU_TABLE_MAX)
        return backend_refuse(call, -EINVAL, "%u regions, more than %u", n, VU_TABLE_MAX);
    if (call->msg.n_fds != n)
        return backend_refuse(call, -EINVAL, "%u descriptors for %u regions", call->msg.n_fds, n);
    /* Trailing bytes are harmless, and some front-ends send them. */
    if (call->msg.header.size <
        offsetof(struct vu_mem_table, regions) + n * sizeof(table->regions[0]))
        return backend_refuse(call, -EINVAL, "%u bytes for %u regions", call->msg.header.size, n);
    r = vu_memory_create(table->regions, call->msg.fds, n, &memory);
    if (r < 0)
        return n == 1 ? memory_refuse_region(call, r, &table->regions[0]) : r;
    memory_replace(backend, memory);
    return 0;
}

int backend_get_max_mem_slots(struct vu_backend *backend, struct backend_call *call)
{
    call->reply.header.size = sizeof(uint64_t);
    call->reply.payload.u64 = VU_MEMORY_MAX_REGIONS;
    return 0;
}

int backend_add_mem_reg(struct vu_backend *backend, struct backend_call *call)
{
    const struct vu_region_desc *desc = &call->msg.payload.mem_reg.region;
    struct vu_memory *memory;
    int r;

    if (call->msg.n_fds != 1)
        return backend_refuse(call, -EINVAL, "%u descriptors instead of 1", call->msg.n_fds);
    r = vu_memory_create_added(backend->memory, desc, call->msg.fds[0], &memory);
    if (r < 0)
        return memory_refuse_region(call, r, desc);
    memory_replace(backend, memory);
    return 0;
}

int backend_rem_mem_reg(struct vu_backend *backend, struct backend_call *call)
{
    const struct vu_region_desc *desc = &call->msg.payload.mem_reg.region;
    struct vu_memory *memory;
    int r = vu_memory_create_removed(backend->memory, desc, &memory);

    if (r < 0)
        return memory_refuse_region(call, r, desc);
    memory_replace(backend, memory);
    return 0;
}
