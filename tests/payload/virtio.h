/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small driver of modern virtio devices on PCI for payloads: finding one, its registers
 * (virtio.c); queues of split or packed layout, with as many requests in flight as they hold
 * (virtio-queue.c). It works in ring 0 and in ring 3. Who has no handler of interrupts may look for
 * them where the local APIC keeps them.
 */
#pragma once

#include "payload.h"

#define VIRTIO_RING_LEN 64u /* most entries of a queue */

struct virtio {
    unsigned slot;
    volatile uint8_t *config; /* ECAM */
    volatile uint8_t *common, *isr, *device, *notify;
    volatile uint32_t *msix;
    uint8_t msix_at; /* capability */
    uint32_t multiplier;
    uint64_t features;
};

/* A part of a request. */
struct virtio_part {
    void *at;
    uint32_t len;
    bool is_in; /* the device writes it */
};

struct virtio_queue {
    struct virtio *virtio;
    unsigned index, size;
    bool is_packed, has_event_idx;
    volatile uint8_t *memory, *notify;
    /* The next entry to make available, and the next to be used; wraps: of a packed ring. */
    uint16_t next, used;
    bool wrap, used_wrap;
    unsigned n_added;                    /* entries since the device was last told of some */
    unsigned n_free, n_ids;              /* descriptors; ids that no request has */
    uint16_t ids[VIRTIO_RING_LEN];       /* the free ones; of a split ring: descriptors */
    uint16_t following[VIRTIO_RING_LEN]; /* of a split ring: the chain's next descriptor */
    uint8_t n_parts[VIRTIO_RING_LEN];    /* of the request that begins there */
    void *tags[VIRTIO_RING_LEN];
};

static inline void virtio_write8(volatile uint8_t *at, uint8_t value)
{
    *at = value;
}

static inline void virtio_write16(volatile uint8_t *at, uint16_t value)
{
    *(volatile uint16_t *)at = value;
}

static inline void virtio_write32(volatile uint8_t *at, uint32_t value)
{
    *(volatile uint32_t *)at = value;
}

static inline uint16_t virtio_read16(volatile uint8_t *at)
{
    return *(volatile uint16_t *)at;
}

static inline uint32_t virtio_read32(volatile uint8_t *at)
{
    return *(volatile uint32_t *)at;
}

/* Where configuration space lies; nothing need be said under vmm. */
void virtio_set_ecam(uint64_t gpa);
/* The first device of that kind, with memory and bus mastering switched on. */
bool virtio_find(struct virtio *virtio, uint16_t virtio_id);
/* Reset, and up to FEATURES_OK with what both want. */
bool virtio_negotiate(struct virtio *virtio, uint64_t wanted);
void virtio_set_ok(struct virtio *virtio);
void virtio_reset(struct virtio *virtio);
uint8_t virtio_status(const struct virtio *virtio);

/* All vectors masked. Queues use vector 1. */
void virtio_enable_msix(struct virtio *virtio);
/* Has a vector arrive as that interrupt (32 to 255), or not. */
void virtio_route(struct virtio *virtio, unsigned vector, unsigned interrupt, bool is_masked);
bool virtio_is_pending(const struct virtio *virtio, unsigned vector);
/* Whether the interrupt comes to wait in the local APIC; it then stays there, for nobody takes it.
 */
bool virtio_irq_waits(unsigned interrupt);

/* Sets a queue up, before DRIVER_OK. memory: 4 KiB; it is zeroed. */
bool virtio_queue_init(struct virtio_queue *queue, struct virtio *virtio, unsigned index,
                       unsigned size, void *memory);
/* Makes a request available; false where there is no room. */
bool virtio_add(struct virtio_queue *queue, const struct virtio_part *parts, unsigned n, void *tag);
void virtio_kick(const struct virtio_queue *queue);
/* Kicks, if the device wants to be told of what has been added since the last time. */
void virtio_notify(struct virtio_queue *queue);
/* Takes a used one, if there is one: its tag and used.len. */
bool virtio_take(struct virtio_queue *queue, void **ret_tag, uint32_t *ret_len);
/* The same, but waits for one, for a good while. With n_irqs it looks again only when that has
 * changed, where an interrupt's handler counts. */
bool virtio_wait(struct virtio_queue *queue, const volatile unsigned *n_irqs, void **ret_tag,
                 uint32_t *ret_len);
/* Adds a request, kicks, waits. Returns used.len, or -1 when it takes too long. */
int64_t virtio_request(struct virtio_queue *queue, const struct virtio_part *parts, unsigned n);
