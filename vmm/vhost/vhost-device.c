/* SPDX-License-Identifier: Apache-2.0 */
/* A device with a back-end elsewhere: its life, and what the transport asks of it; see
 * vhost-device.h. It leaves word for the thread, which is in vhost-link.c and vhost-queues.c. */
#include "vmm/vhost/vhost-device.h"

#include <errno.h>
#include <gio/gio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"
#include "vmm/vhost/vhost-link.h"

#define BIT(n) (UINT64_C(1) << (n))

/* How long a vCPU waits until the back-end has what it writes to the configuration space, or its
 * queues. */
#define WRITE_MS 100
#define START_MS 500

#define RING_FEATURES \
    (BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_F_VERSION_1))

#define PROTOCOL_FEATURES                                                                \
    (BIT(VU_PF_MQ) | BIT(VU_PF_REPLY_ACK) | BIT(VU_PF_CONFIG) | BIT(VU_PF_BACKEND_REQ) | \
     BIT(VU_PF_INFLIGHT_SHMFD) | BIT(VU_PF_CONFIGURE_MEM_SLOTS))

static struct vhost_device *vhost_of(struct virtio_device *device)
{
    return (struct vhost_device *)device;
}

/* The thread looks what there is to do. */
static void vhost_wake(const struct vhost_device *vhost)
{
    eventfd_write(vhost->wake_fd, 1);
}

/* --- what the transport asks --- */

static uint64_t vhost_features(struct virtio_device *device)
{
    return __atomic_load_n(&vhost_of(device)->features, __ATOMIC_ACQUIRE);
}

static void vhost_read_config(struct virtio_device *device, uint32_t offset, void *buf,
                              uint32_t len)
{
    struct vhost_device *vhost = vhost_of(device);

    VU_LOCK_SCOPE(&vhost->config_lock);

    memcpy(buf, vhost->space + offset, len);
}

/* Waits a moment until what is on its way (one of the flags of vhost) no longer is. Whether it is
 * not. */
static bool vhost_await_locked(struct vhost_device *vhost, const bool *is_on_its_way, long ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ms * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (*is_on_its_way)
        if (pthread_cond_timedwait(&vhost->written, &vhost->lock, &until) != 0)
            break;
    return !*is_on_its_way;
}

static bool vhost_await_write_locked(struct vhost_device *vhost)
{
    return vhost_await_locked(vhost, &vhost->has_write, WRITE_MS);
}

/* What a back-end that is stuck with one write is to be told beside it is lost. */
static void vhost_write_config(struct virtio_device *device, uint32_t offset, const void *buf,
                               uint32_t len)
{
    struct vhost_device *vhost = vhost_of(device);

    VU_LOCK_SCOPE(&vhost->lock);

    if (vhost->knows_config || !vhost->is_alive || len > sizeof(vhost->write.bytes) ||
        !vhost_await_write_locked(vhost))
        return;
    vhost->write = (struct vhost_write){.offset = offset, .len = len};
    memcpy(vhost->write.bytes, buf, len);
    vhost->has_write = true;
    vhost_wake(vhost);
    if (!vhost_await_write_locked(vhost))
        vhost->is_write_late = true;
}

static int vhost_start(struct virtio_device *device, uint64_t features,
                       const struct virtio_queue *queues, unsigned n_queues)
{
    struct vhost_device *vhost = vhost_of(device);

    VU_LOCK_SCOPE(&vhost->lock);

    if (!vhost->is_alive)
        return -ENODEV;
    memcpy(vhost->queues, queues, n_queues * sizeof(queues[0]));
    vhost->driver_features = features;
    vhost->is_wanted = vhost->is_starting = true;
    vhost_wake(vhost);
    /* Some back-ends do not expect a driver that goes on before it has been started. */
    (void)vhost_await_locked(vhost, &vhost->is_starting, START_MS);
    return 0;
}

static void vhost_stop(struct virtio_device *device)
{
    struct vhost_device *vhost = vhost_of(device);

    VU_LOCK_SCOPE(&vhost->lock);

    vhost->is_wanted = false;
    vhost->is_stopping = vhost->is_alive;
    vhost_wake(vhost);
}

static bool vhost_is_stopped(struct virtio_device *device)
{
    struct vhost_device *vhost = vhost_of(device);

    VU_LOCK_SCOPE(&vhost->lock);

    return !vhost->is_stopping;
}

static void vhost_destroy(struct virtio_device *device)
{
    struct vhost_device *vhost = vhost_of(device);

    vhost_link_stop(vhost);
    vu_frontend_destroy(vhost->frontend);
    vu_clear_fd(&vhost->wake_fd);
    pthread_cond_destroy(&vhost->written);
    pthread_mutex_destroy(&vhost->config_lock);
    pthread_mutex_destroy(&vhost->lock);
    g_free(vhost->name);
    g_free(vhost->path);
    g_free(vhost);
}

static const struct virtio_device_ops vhost_ops = {
    .features = vhost_features,
    .read_config = vhost_read_config,
    .write_config = vhost_write_config,
    .start = vhost_start,
    .stop = vhost_stop,
    .is_stopped = vhost_is_stopped,
    .destroy = vhost_destroy,
};

/* --- making one --- */

static bool vhost_fail(GError **error, const struct vhost_device *vhost, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool vhost_fail(GError **error, const struct vhost_device *vhost, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "device %s: back-end %s: %s", vhost->name,
                vhost->path, text);
    return false;
}

static void vhost_create_frontend(struct vhost_device *vhost)
{
    const struct vu_frontend_config config = {
        .name = vhost->name,
        .features = RING_FEATURES | vhost_kinds[vhost->device_config->kind].features |
                    (vhost->device_config->packed ? BIT(VIRTIO_F_RING_PACKED) : 0),
        .required_features = BIT(VIRTIO_F_VERSION_1),
        .protocol_features = PROTOCOL_FEATURES,
        .reply_timeout_ms = vhost->reply_ms,
        .stop_timeout_ms = vhost->reply_ms,
        .ops = {.config_changed = vhost_link_config_changed},
        .opaque = vhost,
    };

    vhost->frontend = vu_frontend_create(&config);
}

static bool vhost_connect(struct vhost_device *vhost, GError **error)
{
    int rc = vu_frontend_connect(vhost->frontend, vhost->path, VHOST_CONNECT_MS);

    if (rc == -ENOTSUP)
        return vhost_fail(error, vhost, "it lacks VIRTIO_F_VERSION_1");
    if (rc < 0)
        return vhost_fail(error, vhost, "%s", g_strerror(-rc));
    if (vhost->device_config->packed &&
        !(vu_frontend_features(vhost->frontend) & BIT(VIRTIO_F_RING_PACKED)))
        vu_warning("%s: the back-end has no packed rings", vhost->name);
    return true;
}

/* As many queues as were asked for, or as suit both sides. */
static bool vhost_settle_queues(struct vhost_device *vhost, unsigned n_cpus, GError **error)
{
    const struct vhost_kind *kind = &vhost_kinds[vhost->device_config->kind];
    unsigned asked = vhost->device_config->num_queues, most;
    unsigned n_queues = asked ? asked : kind->n_queues ? kind->n_queues : n_cpus;
    bool is_multiple = vu_frontend_protocol_features(vhost->frontend) >> VU_PF_MQ & 1;

    n_queues += kind->n_fixed_queues;
    /* Without MQ a back-end cannot say how many it has; it has those that its kind needs. */
    most = is_multiple ? vu_frontend_max_queues(vhost->frontend)
                       : kind->n_fixed_queues + MAX(kind->n_queues, 1);
    if (n_queues > most && asked)
        return vhost_fail(error, vhost, "it has %u queues, and %u are asked for", most, n_queues);
    vhost->device.n_queues = MIN(n_queues, most);
    if (vhost->device.n_queues <= kind->n_fixed_queues)
        return vhost_fail(error, vhost, "it has no more than %u queues", most);
    vhost_link_learn_features(vhost);
    return true;
}

/* Each node is a region of its own, two where it lies on both sides of the hole. */
static bool vhost_check_memory(const struct vhost_device *vhost, GError **error)
{
    bool has_slots =
        vu_frontend_protocol_features(vhost->frontend) >> VU_PF_CONFIGURE_MEM_SLOTS & 1;
    unsigned n_regions = vhost->ram->shmem.n_regions;

    return n_regions <= VU_TABLE_MAX || has_slots ||
           vhost_fail(error, vhost,
                      "it takes %u regions of memory, and the guest's nodes (-numa) are %u",
                      VU_TABLE_MAX, n_regions);
}

static bool vhost_settle_config(struct vhost_device *vhost, GError **error)
{
    const struct vhost_kind *kind = &vhost_kinds[vhost->device_config->kind];
    int rc;

    vhost->device.config_len =
        kind->config_len ? kind->config_len : vhost->device_config->config_size;
    vhost->knows_config = vhost_kind_knows_config(vhost->device_config);
    if (!vhost->knows_config &&
        !(vu_frontend_protocol_features(vhost->frontend) >> VU_PF_CONFIG & 1))
        return vhost_fail(error, vhost,
                          vhost->device_config->kind == VMM_DEVICE_FS
                              ? "it does not say its tag; give the device tag="
                              : "it does not say its configuration");
    rc = vhost_link_fetch_config(vhost);
    if (rc < 0)
        return vhost_fail(error, vhost, "its configuration: %s", g_strerror(-rc));
    return true;
}

bool vhost_link_open(struct vhost_device *vhost, GError **error)
{
    if (!vhost_connect(vhost, error) || !vhost_check_memory(vhost, error) ||
        !vhost_settle_queues(vhost, vhost->config->smp.n_cpus, error) ||
        !vhost_settle_config(vhost, error))
        return false;
    (void)vhost_link_is_there(vhost);
    return true;
}

static bool vhost_start_thread(struct vhost_device *vhost, GError **error)
{
    int rc = vhost->wake_fd < 0 ? -EMFILE : vhost_link_start(vhost);

    return rc == 0 || vhost_fail(error, vhost, "%s", g_strerror(-rc));
}

bool vhost_device_open(struct virtio_device *device, GError **error)
{
    struct vhost_device *vhost = vhost_of(device);

    return vhost_link_open(vhost, error) && vhost_start_thread(vhost, error);
}

bool vhost_device_open_later(struct virtio_device *device, vhost_device_opened_fn done,
                             void *opaque, GError **error)
{
    struct vhost_device *vhost = vhost_of(device);

    vhost->on_opened = done;
    vhost->opened_opaque = opaque;
    return vhost_start_thread(vhost, error);
}

struct virtio_device *vhost_device_create(const struct vmm_config *config,
                                          const struct vmm_device_config *device_config,
                                          const struct vmm_ram *ram)
{
    const struct vhost_kind *kind = &vhost_kinds[device_config->kind];
    const struct vmm_chardev *chardev = vmm_config_find_chardev(config, device_config->chardev);
    struct vhost_device *vhost = g_new0(struct vhost_device, 1);
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&vhost->written, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&vhost->lock, NULL);
    pthread_mutex_init(&vhost->config_lock, NULL);
    vhost->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    vhost->config = config;
    vhost->device_config = device_config;
    vhost->ram = ram;
    vhost->name = g_strdup_printf("%s %s", kind->name,
                                  device_config->id ? device_config->id : device_config->chardev);
    vhost->path = g_strdup(chardev->path);
    vhost->retry_ms = chardev->reconnect_ms;
    vhost->reply_ms = chardev->reply_ms;
    vhost->device.ops = &vhost_ops;
    vhost->device.virtio_id =
        kind->virtio_id ? kind->virtio_id : (uint16_t)device_config->virtio_id;
    vhost->device.class_code = kind->class_code;
    vhost->device.queue_size =
        device_config->queue_size ? (uint16_t)device_config->queue_size : kind->queue_size;
    vhost_create_frontend(vhost);
    return &vhost->device;
}

void vhost_device_interrupt(struct virtio_device *device)
{
    vhost_link_interrupt(vhost_of(device));
}

bool vhost_device_is_connected(struct virtio_device *device)
{
    return __atomic_load_n(&vhost_of(device)->is_connected, __ATOMIC_RELAXED);
}

unsigned vhost_device_n_reconnects(struct virtio_device *device)
{
    return __atomic_load_n(&vhost_of(device)->n_reconnects, __ATOMIC_RELAXED);
}
