/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm's vhost-user devices with back-ends that say nothing for ever, while they are to take over or
 * to let queues go: nobody but the device's thread waits for them, and not beyond the device's end.
 */
#include <string.h>

#include "vhost-rig.h"
#include "vhost-user/log.h"

#define FOR_EVER_MS 3600000
#define FROM_END    1000

/* How far a back-end comes before it is silent, and how that ends. */
static const struct stuck {
    const char *name;
    unsigned session; /* of the one that is silent */
    unsigned at;      /* message; FROM_END + N: so many before the last */
    unsigned request; /* which that is */
    bool is_torn;     /* the device is destroyed; or the back-end goes */
} stucks[] = {
    {"stop", 0, FROM_END + 2, VU_GET_VRING_BASE, false},
    {"stop-torn", 0, FROM_END + 2, VU_GET_VRING_BASE, true},
    {"handshake", 1, 2, VU_GET_PROTOCOL_FEATURES, false},
    {"handshake-torn", 1, 2, VU_GET_PROTOCOL_FEATURES, true},
};

static void on_stopped(void *owner)
{
    __atomic_fetch_add((unsigned *)owner, 1, __ATOMIC_ACQ_REL);
}

/* All that vCPUs and the main thread ask of a device. */
static void ask_everything(struct rig *rig)
{
    uint8_t byte = 7;

    g_assert_cmphex(rig->device->ops->features(rig->device), ==, RING_FEATURES);
    rig->device->ops->read_config(rig->device, 0, &byte, 1);
    g_assert_cmpuint(byte, ==, 1);
    byte = 9;
    rig->device->ops->write_config(rig->device, 0, &byte, 1);
    rig->device->ops->read_config(rig->device, 0, &byte, 1);
    g_assert_cmpuint(byte, ==, 1); /* the back-end has not taken it */
    (void)vhost_device_is_connected(rig->device);
    (void)vhost_device_n_reconnects(rig->device);
}

static void test_stuck(gconstpointer data)
{
    const struct stuck *stuck = data;
    unsigned n_stopped = 0, n_messages = rig_count_messages();
    struct place place;
    struct rig rig;

    place_init(&place);
    place.patience_ms = FOR_EVER_MS;
    place.wrong = SILENT;
    place.wrong_session = stuck->session;
    place.wrong_at = stuck->at < FROM_END ? stuck->at : n_messages - (stuck->at - FROM_END);
    place_start(&place);
    rig_init(&rig, &place);
    vmm_config_find_chardev(&rig.config, "c")->reply_ms = FOR_EVER_MS;
    rig.device =
        vhost_device_create(&rig.config, g_ptr_array_index(rig.config.devices, 0), &rig.ram);
    rig.device->stopped = on_stopped;
    rig.device->owner = &n_stopped;
    g_assert_true(vhost_device_open(rig.device, NULL));
    g_assert_cmpint(rig_start(&rig), ==, 0);
    place_wait_started(&place, 1);
    if (stuck->session == 0) {
        rig.device->ops->stop(rig.device);
    } else {
        place_hang_up(&place);
        place_wait_seen(&place, 2, stuck->request);
        rig.device->ops->stop(rig.device);
    }
    place_wait_seen(&place, stuck->session + 1, stuck->request);
    ask_everything(&rig);
    g_assert_false(rig.device->ops->is_stopped(rig.device));
    g_assert_cmpuint(__atomic_load_n(&n_stopped, __ATOMIC_ACQUIRE), ==, 0);
    if (stuck->is_torn) {
        rig.device->ops->destroy(rig.device);
        rig.device = NULL;
    } else {
        place_hang_up(&place);
        rig_await_stopped(&rig);
        rig_wait_for(&n_stopped);
    }
    rig_clear(&rig);
    place_clear(&place);
}

/* What a vCPU writes to the configuration space is there when it goes on, if the back-end took it;
 * but on a machine that is busy that takes longer than a vCPU waits. */
static void test_config_write(void)
{
    struct place place;
    struct rig rig;

    place_init(&place);
    place_start(&place);
    rig_init(&rig, &place);
    g_assert_true(rig_create(&rig, NULL));
    for (uint8_t byte = 0; byte != 42;) {
        byte = 42;
        rig.device->ops->write_config(rig.device, 3, &byte, 1);
        rig.device->ops->read_config(rig.device, 3, &byte, 1);
    }
    g_assert_cmpuint(place_n_seen(&place, VU_SET_CONFIG), >=, 1);
    rig_clear(&rig);
    place_clear(&place);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_OFF);
    g_test_add_func("/vmm/vhost-stuck/config-write", test_config_write);
    for (unsigned i = 0; i < G_N_ELEMENTS(stucks); i++) {
        g_autofree char *path = g_strdup_printf("/vmm/vhost-stuck/%s", stucks[i].name);

        g_test_add_data_func(path, &stucks[i], test_stuck);
    }
    return g_test_run();
}
