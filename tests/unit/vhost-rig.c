/* SPDX-License-Identifier: Apache-2.0 */
/* See vhost-rig.h. */
#include "vhost-rig.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/cmdline.h"

void rig_init(struct rig *rig, const struct place *place)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *chardev = g_strdup_printf("socket,id=c,path=%s,reconnect-ms=20", place->path);
    char *argv[] = {
        "vmm",   "-kernel", "k",
        "-m",    "4M",      "-chardev",
        chardev, "-device", "vhost-user-device-pci,chardev=c,virtio-id=2,num_vqs=2,config_size=16"};

    memset(rig, 0, sizeof(*rig));
    vmm_config_init(&rig->config);
    vmm_cmdline_parse(&rig->config, G_N_ELEMENTS(argv), argv, &error);
    g_assert_no_error(error);
    vmm_config_find_chardev(&rig->config, "c")->reply_ms = 200;
    g_assert_true(vmm_ram_create(&rig->ram, &rig->config, &error));
    for (unsigned i = 0; i < PLACE_N_QUEUES; i++)
        rig->queues[i] = (struct virtio_queue){
            .enabled = true,
            .size = 16,
            .max_size = 16,
            .desc = 0x10000 * (i + 1),
            .driver = 0x10000 * (i + 1) + 0x1000,
            .device = 0x10000 * (i + 1) + 0x2000,
            .kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
            .call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        };
}

bool rig_create(struct rig *rig, GError **error)
{
    rig->device =
        vhost_device_create(&rig->config, g_ptr_array_index(rig->config.devices, 0), &rig->ram);
    if (vhost_device_open(rig->device, error))
        return true;
    rig->device->ops->destroy(rig->device);
    rig->device = NULL;
    return false;
}

int rig_start(struct rig *rig)
{
    return rig->device->ops->start(rig->device, RING_FEATURES, rig->queues, PLACE_N_QUEUES);
}

void rig_await_stopped(struct rig *rig)
{
    gint64 end = g_get_monotonic_time() + PLACE_PATIENCE;

    while (!rig->device->ops->is_stopped(rig->device)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

void rig_stop(struct rig *rig)
{
    rig->device->ops->stop(rig->device);
    rig_await_stopped(rig);
}

void rig_clear(struct rig *rig)
{
    if (rig->device) {
        rig_stop(rig);
        rig->device->ops->destroy(rig->device);
    }
    for (unsigned i = 0; i < PLACE_N_QUEUES; i++) {
        close(rig->queues[i].kick_fd);
        close(rig->queues[i].call_fd);
    }
    vmm_ram_destroy(&rig->ram);
    vmm_config_clear(&rig->config);
}

static void on_changed(void *opaque, bool is_broken)
{
    struct told *told = opaque;

    told->first = told->vhost->space[0];
    __atomic_fetch_add(is_broken ? &told->n_broken : &told->n, 1, __ATOMIC_ACQ_REL);
}

void rig_listen(struct rig *rig, struct told *told)
{
    *told = (struct told){.vhost = (struct vhost_device *)rig->device};
    rig->device->transport = told;
    __atomic_store_n(&rig->device->changed, on_changed, __ATOMIC_RELEASE);
}

void rig_wait_for(const unsigned *n)
{
    gint64 end = g_get_monotonic_time() + PLACE_PATIENCE;

    while (__atomic_load_n(n, __ATOMIC_ACQUIRE) == 0) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(2000);
    }
}

unsigned rig_count_messages(void)
{
    struct place place;
    struct rig rig;
    unsigned n;

    place_init(&place);
    place_start(&place);
    rig_init(&rig, &place);
    g_assert_true(rig_create(&rig, NULL));
    g_assert_cmpint(rig_start(&rig), ==, 0);
    place_wait_started(&place, 1);
    rig_clear(&rig);
    while (place_n_sessions(&place) == 0 || place_n_started(&place) > 0)
        g_usleep(1000);
    pthread_mutex_lock(&place.lock);
    n = place.n_messages;
    pthread_mutex_unlock(&place.lock);
    place_clear(&place);
    return n;
}
