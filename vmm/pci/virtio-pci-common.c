/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The common configuration of the virtio transport: feature negotiation, the status register, the
 * registers of queues. virtio 1.3 section 4.1.4.3. On the vCPU that accesses it, with the lock.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "vhost-user/log.h"
#include "vmm/pci/virtio-pci-state.h"

static uint8_t common_status(const struct virtio_pci *pci)
{
    return __atomic_load_n(&pci->status, __ATOMIC_ACQUIRE);
}

static struct virtio_queue *common_queue(struct virtio_pci *pci)
{
    return pci->queue_select < pci->device->n_queues ? &pci->queues[pci->queue_select] : NULL;
}

static uint32_t common_half(uint64_t features, uint32_t select)
{
    return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

/* --- reading --- */

static uint32_t common_read_queue(struct virtio_pci *pci, uint64_t offset)
{
    const struct virtio_queue *queue = common_queue(pci);

    if (!queue)
        return offset == VIRTIO_PCI_COMMON_Q_MSIX ? MSIX_NO_VECTOR : 0;
    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        return queue->size;
    case VIRTIO_PCI_COMMON_Q_MSIX:
        return pci->vectors[pci->queue_select];
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        return queue->enabled;
    case VIRTIO_PCI_COMMON_Q_NOFF:
        return pci->queue_select;
    case VIRTIO_PCI_COMMON_Q_DESCLO:
        return (uint32_t)queue->desc;
    case VIRTIO_PCI_COMMON_Q_DESCHI:
        return (uint32_t)(queue->desc >> 32);
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
        return (uint32_t)queue->driver;
    case VIRTIO_PCI_COMMON_Q_AVAILHI:
        return (uint32_t)(queue->driver >> 32);
    case VIRTIO_PCI_COMMON_Q_USEDLO:
        return (uint32_t)queue->device;
    case VIRTIO_PCI_COMMON_Q_USEDHI:
        return (uint32_t)(queue->device >> 32);
    default:
        return 0;
    }
}

static uint32_t common_read(struct virtio_pci *pci, uint64_t offset)
{
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        return pci->device_feature_select;
    case VIRTIO_PCI_COMMON_DF:
        return common_half(pci->device_features, pci->device_feature_select);
    case VIRTIO_PCI_COMMON_GFSELECT:
        return pci->driver_feature_select;
    case VIRTIO_PCI_COMMON_GF:
        return common_half(pci->driver_features, pci->driver_feature_select);
    case VIRTIO_PCI_COMMON_MSIX:
        return pci->config_vector;
    case VIRTIO_PCI_COMMON_NUMQ:
        return pci->device->n_queues;
    case VIRTIO_PCI_COMMON_STATUS:
        return common_status(pci);
    case VIRTIO_PCI_COMMON_CFGGENERATION:
        return __atomic_load_n(&pci->config_generation, __ATOMIC_ACQUIRE);
    case VIRTIO_PCI_COMMON_Q_SELECT:
        return pci->queue_select;
    default:
        return common_read_queue(pci, offset);
    }
}

uint64_t virtio_pci_common_read(struct virtio_pci *pci, uint64_t offset, unsigned len)
{
    uint64_t value;

    (void)virtio_pci_settle_locked(pci);
    value = common_read(pci, offset);
    return len == 8 ? value | (uint64_t)common_read(pci, offset + 4) << 32 : value;
}

/* --- status --- */

static bool common_features_good(const struct virtio_pci *pci)
{
    return !(pci->driver_features & ~pci->device_features) &&
           pci->driver_features >> VIRTIO_F_VERSION_1 & 1;
}

/* A ring that could never work is not enabled, which the driver can read back. */
static bool common_queue_good(const struct virtio_pci *pci, const struct virtio_queue *queue)
{
    bool is_packed = pci->driver_features >> VIRTIO_F_RING_PACKED & 1;

    return queue->size > 0 && queue->size <= queue->max_size &&
           (is_packed || (queue->size & (queue->size - 1)) == 0);
}

/* The features may have become others since a queue was enabled. */
static int common_check_queues(const struct virtio_pci *pci)
{
    for (unsigned i = 0; i < pci->device->n_queues; i++)
        if (pci->queues[i].enabled && !common_queue_good(pci, &pci->queues[i]))
            return -EINVAL;
    return 0;
}

static void common_start(struct virtio_pci *pci)
{
    int rc = common_check_queues(pci);

    if (rc == 0)
        rc = virtio_pci_connect_calls(pci);
    if (rc == 0)
        rc = pci->device->ops->start(pci->device, pci->driver_features, pci->queues,
                                     pci->device->n_queues);
    pci->is_live = rc == 0;
    if (rc == 0)
        return;
    if (vu_log_is_due(&pci->next_log_ns))
        vu_error("slot %x: the device cannot start: %s", pci->pci.slot, g_strerror(-rc));
    virtio_pci_disconnect_calls(pci);
    virtio_pci_changed(pci, true);
}

static void common_finish_reset(struct virtio_pci *pci)
{
    virtio_pci_disconnect_calls(pci);
    __atomic_store_n(&pci->status, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&pci->config_vector, MSIX_NO_VECTOR, __ATOMIC_RELEASE);
    pci->device_features = pci->device->ops->features(pci->device);
    pci->driver_features = 0;
    pci->device_feature_select = pci->driver_feature_select = 0;
    pci->queue_select = 0;
    for (unsigned i = 0; i < pci->device->n_queues; i++) {
        struct virtio_queue *queue = &pci->queues[i];
        int kick_fd = queue->kick_fd;

        *queue = (struct virtio_queue){
            .size = pci->device->queue_size,
            .max_size = pci->device->queue_size,
            .kick_fd = kick_fd,
            .call_fd = -1,
        };
        pci->vectors[i] = MSIX_NO_VECTOR;
    }
    virtio_pci_take_isr(pci);
    pci->is_resetting = false;
}

bool virtio_pci_settle_locked(struct virtio_pci *pci)
{
    if (pci->is_resetting && pci->device->ops->is_stopped(pci->device))
        common_finish_reset(pci);
    return !pci->is_resetting;
}

void virtio_pci_reset_locked(struct virtio_pci *pci)
{
    if (pci->is_live)
        pci->device->ops->stop(pci->device);
    pci->is_live = false;
    pci->is_resetting = true;
    (void)virtio_pci_settle_locked(pci);
}

/* Bits are only ever added, but for the reset. */
static void common_write_status(struct virtio_pci *pci, uint8_t status)
{
    const uint8_t known = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                          VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
                          VIRTIO_CONFIG_S_FAILED;
    uint8_t added = status & known & (uint8_t)~common_status(pci);

    if (status == 0) {
        virtio_pci_reset_locked(pci);
        return;
    }
    if ((added & VIRTIO_CONFIG_S_FEATURES_OK) && !common_features_good(pci))
        added &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
    if ((added & VIRTIO_CONFIG_S_DRIVER_OK) &&
        !((common_status(pci) | added) & VIRTIO_CONFIG_S_FEATURES_OK))
        added &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
    __atomic_fetch_or(&pci->status, added, __ATOMIC_ACQ_REL);
    if (added & VIRTIO_CONFIG_S_DRIVER_OK)
        common_start(pci);
}

/* --- queues --- */

static uint64_t common_set_half(uint64_t old, uint32_t value, bool high)
{
    return high ? (old & 0xffffffff) | (uint64_t)value << 32
                : (old & ~UINT64_C(0xffffffff)) | value;
}

static void common_write_queue(struct virtio_pci *pci, uint64_t offset, uint32_t value)
{
    struct virtio_queue *queue = common_queue(pci);

    if (!queue || queue->enabled || pci->is_live)
        return;
    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        queue->size = (uint16_t)value;
        break;
    case VIRTIO_PCI_COMMON_Q_MSIX:
        pci->vectors[pci->queue_select] =
            value < pci->msix.n_vectors ? (uint16_t)value : MSIX_NO_VECTOR;
        break;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        queue->enabled = (value & 0xffff) == 1 && common_queue_good(pci, queue);
        break;
    case VIRTIO_PCI_COMMON_Q_DESCLO:
    case VIRTIO_PCI_COMMON_Q_DESCHI:
        queue->desc = common_set_half(queue->desc, value, offset == VIRTIO_PCI_COMMON_Q_DESCHI);
        break;
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
    case VIRTIO_PCI_COMMON_Q_AVAILHI:
        queue->driver =
            common_set_half(queue->driver, value, offset == VIRTIO_PCI_COMMON_Q_AVAILHI);
        break;
    case VIRTIO_PCI_COMMON_Q_USEDLO:
    case VIRTIO_PCI_COMMON_Q_USEDHI:
        queue->device = common_set_half(queue->device, value, offset == VIRTIO_PCI_COMMON_Q_USEDHI);
        break;
    default:
        break;
    }
}

static void common_write_features(struct virtio_pci *pci, uint32_t value)
{
    if (pci->driver_feature_select < 2 && !(common_status(pci) & VIRTIO_CONFIG_S_FEATURES_OK))
        pci->driver_features =
            common_set_half(pci->driver_features, value, pci->driver_feature_select == 1);
}

void virtio_pci_common_write(struct virtio_pci *pci, uint64_t offset, unsigned len, uint64_t value)
{
    if (!virtio_pci_settle_locked(pci))
        return;
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        pci->device_feature_select = (uint32_t)value;
        break;
    case VIRTIO_PCI_COMMON_GFSELECT:
        pci->driver_feature_select = (uint32_t)value;
        break;
    case VIRTIO_PCI_COMMON_GF:
        common_write_features(pci, (uint32_t)value);
        break;
    case VIRTIO_PCI_COMMON_MSIX:
        __atomic_store_n(&pci->config_vector,
                         value < pci->msix.n_vectors ? (uint16_t)value : MSIX_NO_VECTOR,
                         __ATOMIC_RELEASE);
        break;
    case VIRTIO_PCI_COMMON_STATUS:
        common_write_status(pci, (uint8_t)value);
        break;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        pci->queue_select = (uint16_t)value;
        break;
    default:
        common_write_queue(pci, offset, (uint32_t)value);
        if (len == 8)
            common_write_queue(pci, offset + 4, (uint32_t)(value >> 32));
        break;
    }
}
