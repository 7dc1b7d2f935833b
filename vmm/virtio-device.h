/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device as its transport sees it (virtio 1.3 chapter 2): features, configuration space,
 * queues that start and stop together. The transport has the registers, and serialises the calls of
 * one device by a lock of its own. They are made by vCPUs, which the machine's pauses wait for:
 * none takes long, whatever the device has to wait for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define VIRTIO_MAX_QUEUES 256

struct virtio_device;

/* A queue as the driver has set it up. */
struct virtio_queue {
    bool enabled;
    uint16_t size, max_size;
    uint64_t desc, driver, device; /* guest addresses; avail and used of split rings */
    int kick_fd, call_fd;          /* the transport's, for as long as the device lives */
};

struct virtio_device_ops {
    /* What may be offered to the driver. */
    uint64_t (*features)(struct virtio_device *device);
    void (*read_config)(struct virtio_device *device, uint32_t offset, void *buf, uint32_t len);
    void (*write_config)(struct virtio_device *device, uint32_t offset, const void *buf,
                         uint32_t len);
    /*
     * DRIVER_OK: serves the enabled queues, from soon on; a device whose back-end is away for a
     * while, when it is back. -errno where it never can; where that turns out later, `changed`
     * tells. Not before it has stopped.
     */
    int (*start)(struct virtio_device *device, uint64_t features, const struct virtio_queue *queues,
                 unsigned n_queues);
    /* Begins to let the queues go. */
    void (*stop)(struct virtio_device *device);
    /* Whether no queue is touched any more, as before the first start. */
    bool (*is_stopped)(struct virtio_device *device);
    /* One that has not stopped is torn away from its queues. */
    void (*destroy)(struct virtio_device *device);
};

/* Begins every device. */
struct virtio_device {
    const struct virtio_device_ops *ops;
    uint16_t virtio_id;
    uint32_t class_code; /* of PCI */
    uint32_t config_len; /* bytes; at most 4096 */
    unsigned n_queues;
    uint16_t queue_size; /* largest, of each */
    /*
     * Set by the transport, atomically and once it is ready: the configuration is about to change,
     * or (broken) the device cannot go on until it is reset. Any thread; where the configuration
     * changes, with the lock under which it is read: who knows of the change reads what is new, and
     * who reads a part of each finds another generation. No other lock of the device's is held.
     */
    void (*changed)(void *transport, bool is_broken);
    void *transport;
    /* Set by the owner, before it may be called: is_stopped may be true now. Any thread; no lock of
     * the device's is held. NULL: nobody waits for it. */
    void (*stopped)(void *owner);
    void *owner;
};
