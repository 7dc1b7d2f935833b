/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What split and packed driver-side rings have in common: creation, the checks before a request is
 * added and after one is used, kicks and calls. Runs on the one thread that drives the queue.
 */
#include "vhost-user/driver.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/driver-ops.h"

/* Rings are aligned beyond need (2.7: 16, 2, 4), so that the parts share no cache line. */
#define DRIVER_RING_ALIGN 64u

static bool driver_check_num(const struct vu_driver_config *config)
{
    bool packed = vu_has(config->features, VU_F_RING_PACKED);

    return config->num > 0 && config->num <= VU_RING_MAX_SIZE &&
           (packed || (config->num & (config->num - 1)) == 0);
}

static int driver_take_memory(struct vu_driver *driver, struct vu_shmem *shmem)
{
    unsigned num = driver->num;
    uint64_t indirect_len = (uint64_t)num * driver->indirect_max * VU_DRIVER_DESC_LEN;

    driver->desc = vu_shmem_alloc(shmem, (uint64_t)num * VU_DRIVER_DESC_LEN, DRIVER_RING_ALIGN,
                                  &driver->desc_gpa);
    driver->avail =
        vu_shmem_alloc(shmem, driver->ops->avail_len(num), DRIVER_RING_ALIGN, &driver->avail_gpa);
    driver->used =
        vu_shmem_alloc(shmem, driver->ops->used_len(num), DRIVER_RING_ALIGN, &driver->used_gpa);
    if (indirect_len > 0)
        driver->indirect =
            vu_shmem_alloc(shmem, indirect_len, DRIVER_RING_ALIGN, &driver->indirect_gpa);
    if (!driver->desc || !driver->avail || !driver->used || (indirect_len > 0 && !driver->indirect))
        return -ENOMEM;
    return 0;
}

static int driver_open_fds(struct vu_driver *driver)
{
    driver->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (driver->kick_fd < 0)
        return -errno;
    driver->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return driver->call_fd < 0 ? -errno : 0;
}

int vu_driver_create(struct vu_shmem *shmem, const struct vu_driver_config *config,
                     struct vu_driver **ret_driver)
{
    struct vu_driver *driver;
    int rc;

    if (!driver_check_num(config))
        return -EINVAL;
    driver = g_new0(struct vu_driver, 1);
    driver->index = config->index;
    driver->num = config->num;
    driver->packed = vu_has(config->features, VU_F_RING_PACKED);
    driver->event_idx = vu_has(config->features, VU_F_RING_EVENT_IDX);
    driver->in_order = vu_has(config->features, VU_F_IN_ORDER);
    driver->ops = driver->packed ? &vu_driver_packed_ops : &vu_driver_split_ops;
    if (vu_has(config->features, VU_F_RING_INDIRECT_DESC))
        driver->indirect_max = MIN(config->indirect_max, config->num);
    driver->kick_fd = driver->call_fd = -1;
    driver->requests = g_new0(struct vu_driver_request, driver->num);
    driver->order = g_new0(uint16_t, driver->num);

    rc = driver_take_memory(driver, shmem);
    if (rc == 0)
        rc = driver_open_fds(driver);
    if (rc < 0) {
        vu_driver_destroy(driver);
        return rc;
    }
    vu_driver_reset(driver);
    *ret_driver = driver;
    return 0;
}

void vu_driver_destroy(struct vu_driver *driver)
{
    if (!driver)
        return;
    vu_clear_fd(&driver->kick_fd);
    vu_clear_fd(&driver->call_fd);
    g_free(driver->requests);
    g_free(driver->order);
    g_free(driver);
}

void vu_driver_reset(struct vu_driver *driver)
{
    unsigned num = driver->num;

    memset(driver->desc, 0, (size_t)num * VU_DRIVER_DESC_LEN);
    memset(driver->avail, 0, driver->ops->avail_len(num));
    memset(driver->used, 0, driver->ops->used_len(num));
    memset(driver->requests, 0, num * sizeof(driver->requests[0]));
    for (unsigned i = 0; i < num; i++)
        driver->requests[i].next = (uint16_t)(i + 1);
    driver->free_head = 0;
    driver->free_tail = (uint16_t)(num - 1);
    driver->n_free = num;
    driver->n_in_flight = driver->order_head = 0;
    driver->avail_idx = driver->used_idx = driver->kicked_idx = 0;
    driver->n_unpublished = 0;
    driver->batch_valid = driver->broken = false;
    driver->ops->reset(driver);
}

/* Ring descriptors that the ranges take, or -errno; *ret_in_len is what the device may write. */
static int driver_check_request(const struct vu_driver *driver, const struct vu_sg *sg,
                                unsigned n_out, unsigned n_in, uint32_t *ret_in_len)
{
    unsigned n = n_out + n_in;
    uint64_t in_len = 0;

    for (unsigned i = 0; i < n; i++) {
        if (sg[i].len == 0)
            return -EINVAL;
        if (i >= n_out)
            in_len += sg[i].len;
    }
    if (n == 0 || in_len > UINT32_MAX)
        return -EINVAL;
    *ret_in_len = (uint32_t)in_len;
    if (n > 1 && n <= driver->indirect_max)
        return 1;
    return n <= driver->num ? (int)n : -E2BIG;
}

int vu_driver_add(struct vu_driver *driver, const struct vu_sg *sg, unsigned n_out, unsigned n_in,
                  void *token)
{
    struct vu_driver_request *request;
    uint32_t in_len;
    uint16_t id;
    int n_descs;

    if (driver->broken)
        return -EPROTO;
    n_descs = driver_check_request(driver, sg, n_out, n_in, &in_len);
    if (n_descs < 0)
        return n_descs;
    if ((unsigned)n_descs > driver->n_free)
        return -ENOSPC;

    id = driver->ops->add(driver, sg, n_out, n_in, (unsigned)n_descs);
    request = &driver->requests[id];
    request->token = token;
    request->in_len = in_len;
    request->n_descs = (uint16_t)n_descs;
    driver->order[(driver->order_head + driver->n_in_flight) % driver->num] = id;
    driver->n_in_flight++;
    driver->n_free -= (unsigned)n_descs;
    return 0;
}

bool vu_driver_publish(struct vu_driver *driver)
{
    return driver->ops->publish(driver);
}

void vu_driver_force_kick(struct vu_driver *driver)
{
    static const uint64_t one = 1;

    if (driver->inband_kick)
        driver->inband_kick(driver->inband_opaque, driver->index);
    else if (write(driver->kick_fd, &one, sizeof(one)) < 0)
        return; /* EAGAIN: the counter is full, so a kick is pending already */
}

void vu_driver_kick(struct vu_driver *driver)
{
    if (driver->ops->publish(driver))
        vu_driver_force_kick(driver);
}

/* Reads the used entry at the current position: a request in flight, and a length it can have. */
static int driver_read_used(const struct vu_driver *driver, uint16_t *ret_id, uint32_t *ret_len)
{
    uint32_t id, len;

    driver->ops->read_used(driver, &id, &len);
    if (id >= driver->num || driver->requests[id].n_descs == 0 || len > driver->requests[id].in_len)
        return -EPROTO;
    *ret_id = (uint16_t)id;
    *ret_len = len;
    return 0;
}

/*
 * IN_ORDER: one used entry may stand for all requests up to the one it names. The length of those
 * before it is not told; a device that uses this must have filled them.
 */
static int driver_next_in_order(struct vu_driver *driver, uint16_t *ret_id, uint32_t *ret_len)
{
    uint16_t oldest = driver->order[driver->order_head];

    if (!driver->batch_valid) {
        int rc = driver_read_used(driver, &driver->batch_id, &driver->batch_len);

        if (rc < 0)
            return rc;
        driver->batch_valid = true;
    }
    *ret_id = oldest;
    *ret_len = driver->requests[oldest].in_len;
    if (oldest == driver->batch_id) {
        *ret_len = driver->batch_len;
        driver->batch_valid = false;
    }
    driver->order_head = (driver->order_head + 1) % driver->num;
    return 0;
}

static int driver_harvest_one(struct vu_driver *driver, struct vu_driver_used *ret_used)
{
    uint16_t id;
    uint32_t len;
    int rc = driver->in_order ? driver_next_in_order(driver, &id, &len)
                              : driver_read_used(driver, &id, &len);

    if (rc < 0)
        return rc;
    ret_used->token = driver->requests[id].token;
    ret_used->len = len;
    driver->n_in_flight--;
    driver->n_free += driver->requests[id].n_descs;
    driver->ops->release(driver, id);
    driver->requests[id].n_descs = 0;
    return 0;
}

int vu_driver_harvest(struct vu_driver *driver, struct vu_driver_used *ret_used, unsigned max)
{
    unsigned n = 0;
    int rc = driver->broken ? -EPROTO : 0;

    while (rc >= 0 && n < max) {
        rc = driver->ops->peek(driver);
        if (rc == 0)
            break;
        for (int left = rc; left > 0 && n < max; left--) {
            rc = driver_harvest_one(driver, &ret_used[n]);
            if (rc < 0)
                break;
            n++;
        }
    }
    if (rc < 0)
        driver->broken = true;
    return n > 0 || rc >= 0 ? (int)n : rc;
}

bool vu_driver_has_used(const struct vu_driver *driver)
{
    return driver->broken || driver->ops->peek(driver) != 0;
}

bool vu_driver_arm_call(struct vu_driver *driver)
{
    driver->ops->arm_call(driver);
    /* Pairs with the device's barrier between its used entry and its look at our event. */
    vu_full_barrier();
    return vu_driver_has_used(driver);
}

void vu_driver_disarm_call(struct vu_driver *driver)
{
    driver->ops->disarm_call(driver);
}

void vu_driver_clear_call(struct vu_driver *driver)
{
    uint64_t count;

    if (read(driver->call_fd, &count, sizeof(count)) < 0)
        return; /* EAGAIN: there was none */
}

uint32_t vu_driver_base(const struct vu_driver *driver)
{
    return driver->ops->base(driver);
}
