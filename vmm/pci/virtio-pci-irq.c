/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts of the virtio transport. With MSI-X a queue's calls go from the back-end's eventfd to
 * the guest inside the kernel; without, the main loop reads them and raises INTA.
 */
#include <errno.h>
#include <glib-unix.h>
#include <linux/virtio_config.h>
#include <sys/eventfd.h>

#include "vhost-user/cleanup.h"
#include "vmm/pci/virtio-pci-state.h"

void virtio_pci_raise(struct virtio_pci *pci, uint8_t bits)
{
    VU_LOCK_SCOPE(&pci->isr_lock);

    /* A reset clears the status first and then takes the ISR: what comes later is of before it. */
    if (!(__atomic_load_n(&pci->status, __ATOMIC_ACQUIRE) & VIRTIO_CONFIG_S_DRIVER_OK))
        return;
    pci->isr |= bits;
    if (pci->pci.set_pin)
        pci->pci.set_pin(pci->pci.bus, pci->pci.slot, true);
}

uint8_t virtio_pci_take_isr(struct virtio_pci *pci)
{
    uint8_t isr;

    VU_LOCK_SCOPE(&pci->isr_lock);

    isr = pci->isr;
    pci->isr = 0;
    if (pci->pci.set_pin)
        pci->pci.set_pin(pci->pci.bus, pci->pci.slot, false);
    return isr;
}

void virtio_pci_changed(void *opaque, bool is_broken)
{
    struct virtio_pci *pci = opaque;
    uint8_t status = __atomic_load_n(&pci->status, __ATOMIC_ACQUIRE);

    if (!is_broken)
        __atomic_fetch_add(&pci->config_generation, 1, __ATOMIC_ACQ_REL);
    /* Not into a status that a reset has made 0 meanwhile. */
    while (is_broken && status &&
           !__atomic_compare_exchange_n(&pci->status, &status,
                                        (uint8_t)(status | VIRTIO_CONFIG_S_NEEDS_RESET), false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        ;
    if (!(status & VIRTIO_CONFIG_S_DRIVER_OK))
        return;
    if (msix_enabled(&pci->msix))
        msix_signal(&pci->msix, __atomic_load_n(&pci->config_vector, __ATOMIC_ACQUIRE));
    else
        virtio_pci_raise(pci, VIRTIO_ISR_CONFIG);
}

/* An eventfd that the main loop waits on; the source's own, so that it is there as long as that. */
struct irq_pin_call {
    struct virtio_pci *pci;
    int fd;
};

/* Main thread. */
static gboolean irq_called(gint fd, GIOCondition condition, gpointer opaque)
{
    const struct irq_pin_call *call = opaque;
    eventfd_t count;

    if (eventfd_read(fd, &count) == 0)
        virtio_pci_raise(call->pci, VIRTIO_ISR_QUEUE);
    return G_SOURCE_CONTINUE;
}

static void irq_pin_call_free(gpointer opaque)
{
    struct irq_pin_call *call = opaque;

    close(call->fd);
    g_free(call);
}

/* A queue without a vector; with MSI-X on, nobody wants to know. */
static int irq_connect_pin(struct virtio_pci *pci, unsigned index)
{
    struct irq_pin_call *call;
    GSource *source;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        return -errno;
    call = g_new(struct irq_pin_call, 1);
    *call = (struct irq_pin_call){pci, fd};
    source = g_unix_fd_source_new(fd, G_IO_IN);
    g_source_set_callback(source, G_SOURCE_FUNC(irq_called), call, irq_pin_call_free);
    if (!msix_enabled(&pci->msix))
        g_source_attach(source, pci->context);
    pci->pin_calls[index] = source;
    pci->queues[index].call_fd = fd;
    return 0;
}

int virtio_pci_connect_calls(struct virtio_pci *pci)
{
    for (unsigned i = 0; i < pci->device->n_queues; i++) {
        int rc = 0;

        if (pci->vectors[i] != MSIX_NO_VECTOR)
            pci->queues[i].call_fd = msix_eventfd(&pci->msix, pci->vectors[i]);
        else
            rc = irq_connect_pin(pci, i);
        if (rc < 0)
            return rc;
    }
    return 0;
}

void virtio_pci_disconnect_calls(struct virtio_pci *pci)
{
    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
        if (pci->pin_calls[i]) {
            g_source_destroy(pci->pin_calls[i]);
            g_source_unref(pci->pin_calls[i]);
            pci->pin_calls[i] = NULL;
        }
        pci->queues[i].call_fd = -1;
    }
}
