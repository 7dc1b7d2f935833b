/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges of ports and of memory that exit to the VMM; see bus.h. Exits are rare (the data path has
 * none), so one lock for the table is enough; it is not held inside a range's ops.
 */
#include "vmm/bus.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* The range whose ops this thread is inside of, so that it can remove it. */
static _Thread_local const struct vmm_bus_range *bus_inside;

void vmm_bus_init(struct vmm_bus *bus)
{
    memset(bus, 0, sizeof(*bus));
    pthread_mutex_init(&bus->lock, NULL);
    pthread_cond_init(&bus->left, NULL);
}

void vmm_bus_finish(struct vmm_bus *bus)
{
    g_free(bus->ranges);
    pthread_cond_destroy(&bus->left);
    pthread_mutex_destroy(&bus->lock);
}

/* Where the first range lies that ends behind address. Locked. */
static unsigned bus_find(const struct vmm_bus *bus, uint64_t address)
{
    unsigned low = 0, high = bus->n_ranges;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (bus->ranges[middle]->base + (bus->ranges[middle]->len - 1) < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int vmm_bus_add(struct vmm_bus *bus, struct vmm_bus_range *range)
{
    uint64_t last;
    unsigned at;
    int rc = 0;

    if (range->len == 0 || __builtin_add_overflow(range->base, range->len - 1, &last))
        return -EINVAL;
    pthread_mutex_lock(&bus->lock);
    at = bus_find(bus, range->base);
    if (at < bus->n_ranges && bus->ranges[at]->base <= last) {
        rc = -EEXIST;
    } else {
        bus->ranges = g_renew(struct vmm_bus_range *, bus->ranges, bus->n_ranges + 1);
        memmove(&bus->ranges[at + 1], &bus->ranges[at],
                (bus->n_ranges - at) * sizeof(bus->ranges[0]));
        bus->ranges[at] = range;
        bus->n_ranges++;
        range->n_users = 0;
    }
    pthread_mutex_unlock(&bus->lock);
    return rc;
}

void vmm_bus_remove(struct vmm_bus *bus, struct vmm_bus_range *range)
{
    unsigned own = bus_inside == range ? 1 : 0;

    pthread_mutex_lock(&bus->lock);
    for (unsigned i = 0; i < bus->n_ranges; i++) {
        if (bus->ranges[i] != range)
            continue;
        bus->n_ranges--;
        memmove(&bus->ranges[i], &bus->ranges[i + 1], (bus->n_ranges - i) * sizeof(bus->ranges[0]));
        while (range->n_users > own)
            pthread_cond_wait(&bus->left, &bus->lock);
        break;
    }
    pthread_mutex_unlock(&bus->lock);
}

/* The range that holds all of the access, with one user more. */
static struct vmm_bus_range *bus_enter(struct vmm_bus *bus, uint64_t address, unsigned len)
{
    struct vmm_bus_range *found = NULL;
    unsigned at;

    pthread_mutex_lock(&bus->lock);
    at = bus_find(bus, address);
    if (at < bus->n_ranges && bus->ranges[at]->base <= address) {
        const struct vmm_bus_range *range = bus->ranges[at];

        if (len <= range->len - (address - range->base))
            found = bus->ranges[at];
    }
    if (found)
        found->n_users++;
    pthread_mutex_unlock(&bus->lock);
    return found;
}

static void bus_leave(struct vmm_bus *bus, struct vmm_bus_range *range)
{
    pthread_mutex_lock(&bus->lock);
    range->n_users--;
    pthread_cond_broadcast(&bus->left);
    pthread_mutex_unlock(&bus->lock);
}

static uint64_t bus_ones(unsigned len)
{
    return len >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * len)) - 1;
}

uint64_t vmm_bus_read(struct vmm_bus *bus, uint64_t address, unsigned len)
{
    struct vmm_bus_range *range = bus_enter(bus, address, len);
    uint64_t value = UINT64_MAX;

    if (range) {
        bus_inside = range;
        value = range->ops->read(range->opaque, address - range->base, len);
        bus_inside = NULL;
        bus_leave(bus, range);
    }
    return value & bus_ones(len);
}

void vmm_bus_write(struct vmm_bus *bus, uint64_t address, unsigned len, uint64_t value)
{
    struct vmm_bus_range *range = bus_enter(bus, address, len);

    if (!range)
        return;
    bus_inside = range;
    range->ops->write(range->opaque, address - range->base, len, value & bus_ones(len));
    bus_inside = NULL;
    bus_leave(bus, range);
}
