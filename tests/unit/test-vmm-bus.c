/* SPDX-License-Identifier: Apache-2.0 */
/* Buses: who answers where, and ranges that go while they are used. */
#include <errno.h>
#include <glib.h>

#include "vmm/bus.h"

struct device {
    struct vmm_bus_range range;
    struct vmm_bus *bus;
    uint64_t last_offset, last_value;
    int n_inside; /* atomic */
    int gone;     /* atomic */
    bool removes_itself;
};

static uint64_t device_read(void *opaque, uint64_t offset, unsigned len)
{
    struct device *device = opaque;

    device->last_offset = offset;
    return UINT64_C(0x1122334455667788);
}

static void device_write(void *opaque, uint64_t offset, unsigned len, uint64_t value)
{
    struct device *device = opaque;

    device->last_offset = offset;
    device->last_value = value;
    if (device->removes_itself)
        vmm_bus_remove(device->bus, &device->range);
}

static const struct vmm_bus_ops device_ops = {device_read, device_write};

static struct device device_at(struct vmm_bus *bus, uint64_t base, uint64_t len)
{
    return (struct device){
        .range = {.base = base, .len = len, .ops = &device_ops},
        .bus = bus,
    };
}

static void add(struct vmm_bus *bus, struct device *device, int expected)
{
    device->range.opaque = device;
    g_assert_cmpint(vmm_bus_add(bus, &device->range), ==, expected);
}

static void test_find(void)
{
    struct vmm_bus bus;
    struct device a, b, c, last, wrong;

    vmm_bus_init(&bus);
    a = device_at(&bus, 0x100, 0x10);
    b = device_at(&bus, 0x110, 0x10);
    c = device_at(&bus, 0x80, 8);
    last = device_at(&bus, UINT64_MAX - 7, 8);
    add(&bus, &a, 0);
    add(&bus, &b, 0);
    add(&bus, &c, 0);
    add(&bus, &last, 0);
    wrong = device_at(&bus, 0x10f, 2);
    add(&bus, &wrong, -EEXIST);
    wrong = device_at(&bus, 0x7f, 0x1000);
    add(&bus, &wrong, -EEXIST);
    wrong = device_at(&bus, 0x200, 0);
    add(&bus, &wrong, -EINVAL);
    wrong = device_at(&bus, UINT64_MAX, 2);
    add(&bus, &wrong, -EINVAL);

    g_assert_cmphex(vmm_bus_read(&bus, 0x10f, 1), ==, 0x88);
    g_assert_cmpuint(a.last_offset, ==, 0xf);
    g_assert_cmphex(vmm_bus_read(&bus, 0x110, 4), ==, 0x55667788);
    g_assert_cmphex(vmm_bus_read(&bus, UINT64_MAX - 7, 8), ==, UINT64_C(0x1122334455667788));
    /* Nobody, and an access that nobody has as a whole. */
    g_assert_cmphex(vmm_bus_read(&bus, 0x90, 2), ==, 0xffff);
    g_assert_cmphex(vmm_bus_read(&bus, 0x10e, 4), ==, 0xffffffff);
    vmm_bus_write(&bus, 0x84, 2, 0x12345);
    g_assert_cmphex(c.last_value, ==, 0x2345);

    vmm_bus_remove(&bus, &a.range);
    vmm_bus_remove(&bus, &a.range);
    g_assert_cmphex(vmm_bus_read(&bus, 0x100, 1), ==, 0xff);
    b.removes_itself = true;
    vmm_bus_write(&bus, 0x110, 1, 1);
    g_assert_cmphex(vmm_bus_read(&bus, 0x110, 1), ==, 0xff);
    vmm_bus_remove(&bus, &c.range);
    vmm_bus_remove(&bus, &last.range);
    vmm_bus_finish(&bus);
}

static uint64_t busy_read(void *opaque, uint64_t offset, unsigned len)
{
    struct device *device = opaque;

    g_atomic_int_inc(&device->n_inside);
    g_assert_false(g_atomic_int_get(&device->gone));
    g_thread_yield();
    g_assert_false(g_atomic_int_get(&device->gone));
    g_atomic_int_add(&device->n_inside, -1);
    return 1;
}

static const struct vmm_bus_ops busy_ops = {busy_read, device_write};

static void *keep_reading(void *opaque)
{
    struct device *device = opaque;
    unsigned n_absent = 0;

    while (n_absent < 200)
        n_absent += vmm_bus_read(device->bus, 0x1000, 1) == 0xff;
    return NULL;
}

/* Once a range is removed nobody is inside it. */
static void test_threads(void)
{
    struct vmm_bus bus;
    struct device device;
    GThread *readers[3];

    vmm_bus_init(&bus);
    device = device_at(&bus, 0x1000, 4);
    device.range.ops = &busy_ops;
    device.range.opaque = &device;
    for (size_t i = 0; i < G_N_ELEMENTS(readers); i++)
        readers[i] = g_thread_new("reader", keep_reading, &device);
    for (unsigned round = 0; round < 200; round++) {
        g_atomic_int_set(&device.gone, 0);
        g_assert_cmpint(vmm_bus_add(&bus, &device.range), ==, 0);
        g_thread_yield();
        vmm_bus_remove(&bus, &device.range);
        g_atomic_int_set(&device.gone, 1);
        g_assert_cmpint(g_atomic_int_get(&device.n_inside), ==, 0);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(readers); i++)
        g_thread_join(readers[i]);
    vmm_bus_finish(&bus);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmm/bus/find", test_find);
    g_test_add_func("/vmm/bus/threads", test_threads);
    return g_test_run();
}
