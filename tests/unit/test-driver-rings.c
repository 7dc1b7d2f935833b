/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver-side rings against a small device made by hand, which works on the shared memory and the
 * specification alone: every combination of split, packed, INDIRECT, EVENT_IDX and IN_ORDER; full
 * rings, wrap-around, completion out of order, kicks and calls; and a device that lies.
 */
#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <string.h>

#include "vhost-user/driver.h"

#define MEMORY_GPA UINT64_C(0x40000000)
#define MEMORY_LEN (UINT64_C(4) << 20)
#define MAX_SG     6

struct chain {
    uint16_t id, n_descs;
    unsigned n_out, n_in;
    struct vu_sg sg[64];
};

/* The device: positions of its own, and the ring parts as the driver placed them. */
struct device {
    struct vu_driver *driver;
    struct vu_shmem *shmem;
    unsigned num;
    bool packed, event_idx;
    uint16_t avail_idx, used_idx;
    bool avail_wrap, used_wrap;
    uint16_t next_head; /* split, IN_ORDER: descriptors come in ring order */
};

static void device_init(struct device *device, struct vu_driver *driver, struct vu_shmem *shmem)
{
    *device = (struct device){.driver = driver,
                              .shmem = shmem,
                              .num = driver->num,
                              .packed = driver->packed,
                              .event_idx = driver->event_idx,
                              .avail_wrap = true,
                              .used_wrap = true};
}

static void chain_append(struct chain *chain, uint64_t gpa, uint32_t len, unsigned flags)
{
    g_assert_cmpuint(chain->n_out + chain->n_in, <, G_N_ELEMENTS(chain->sg));
    chain->sg[chain->n_out + chain->n_in] = (struct vu_sg){gpa, len};
    if (flags & VU_DESC_F_WRITE) {
        chain->n_in++;
    } else {
        g_assert_cmpuint(chain->n_in, ==, 0);
        chain->n_out++;
    }
}

static void split_walk(struct device *device, const struct vu_split_desc *table, unsigned at,
                       struct chain *chain)
{
    for (;;) {
        struct vu_split_desc desc = table[at];
        unsigned flags = le16_value(desc.flags);

        if (flags & VU_DESC_F_INDIRECT) {
            uint64_t gpa = le64_value(desc.addr);
            void *indirect = vu_shmem_at(device->shmem, gpa, le32_value(desc.len));

            g_assert_cmpuint(flags, ==, VU_DESC_F_INDIRECT);
            g_assert_cmpuint(le32_value(desc.len) % 16, ==, 0);
            split_walk(device, indirect, 0, chain);
            chain->n_descs = 1;
            return;
        }
        chain_append(chain, le64_value(desc.addr), le32_value(desc.len), flags);
        chain->n_descs++;
        if (!(flags & VU_DESC_F_NEXT))
            return;
        at = le16_value(desc.next);
    }
}

static bool split_pop(struct device *device, struct chain *chain)
{
    struct vu_split_avail *avail = device->driver->avail;

    if (le16_load_acquire(&avail->idx) == device->avail_idx)
        return false;
    chain->id = le16_value(avail->ring[device->avail_idx % device->num]);
    g_assert_cmpuint(chain->id, <, device->num);
    split_walk(device, device->driver->desc, chain->id, chain);
    if (device->driver->in_order)
        g_assert_cmpuint(chain->id, ==, device->next_head);
    device->next_head = (uint16_t)((chain->id + chain->n_descs) % device->num);
    device->avail_idx++;
    return true;
}

static bool packed_pop(struct device *device, struct chain *chain)
{
    const struct vu_packed_desc *ring = device->driver->desc;
    unsigned flags = le16_load_acquire(&ring[device->avail_idx].flags);

    if (((flags & VU_DESC_F_AVAIL) != 0) != device->avail_wrap ||
        ((flags & VU_DESC_F_USED) != 0) == device->avail_wrap)
        return false;
    do {
        struct vu_packed_desc desc = ring[device->avail_idx];

        flags = le16_value(desc.flags);
        chain->id = le16_value(desc.id);
        chain->n_descs++;
        if (flags & VU_DESC_F_INDIRECT) {
            unsigned n = le32_value(desc.len) / 16;
            struct vu_packed_desc *table =
                vu_shmem_at(device->shmem, le64_value(desc.addr), le32_value(desc.len));

            for (unsigned i = 0; i < n; i++)
                chain_append(chain, le64_value(table[i].addr), le32_value(table[i].len),
                             le16_value(table[i].flags));
        } else {
            chain_append(chain, le64_value(desc.addr), le32_value(desc.len), flags);
        }
        if (++device->avail_idx == device->num) {
            device->avail_idx = 0;
            device->avail_wrap = !device->avail_wrap;
        }
    } while (flags & VU_DESC_F_NEXT);
    return true;
}

static bool device_pop(struct device *device, struct chain *chain)
{
    memset(chain, 0, sizeof(*chain));
    return device->packed ? packed_pop(device, chain) : split_pop(device, chain);
}

/* Completes the chain `id`, and with IN_ORDER all before it: n_entries chains, n_descs descriptors.
 */
static void device_push(struct device *device, uint32_t id, uint32_t len, unsigned n_entries,
                        unsigned n_descs)
{
    if (device->packed) {
        struct vu_packed_desc *desc =
            (struct vu_packed_desc *)device->driver->desc + device->used_idx;

        le16_store(&desc->id, (uint16_t)id);
        le32_store(&desc->len, len);
        le16_store_release(&desc->flags, device->used_wrap ? VU_DESC_F_AVAIL | VU_DESC_F_USED : 0);
        device->used_idx = (uint16_t)(device->used_idx + n_descs);
        if (device->used_idx >= device->num) {
            device->used_idx = (uint16_t)(device->used_idx - device->num);
            device->used_wrap = !device->used_wrap;
        }
    } else {
        struct vu_split_used *used = device->driver->used;
        struct vu_split_used_elem *elem = &used->ring[device->used_idx % device->num];

        le32_store(&elem->id, id);
        le32_store(&elem->len, len);
        device->used_idx = (uint16_t)(device->used_idx + n_entries);
        le16_store_release(&used->idx, device->used_idx);
    }
}

/* --- fixture --- */

struct fixture {
    struct vu_shmem shmem;
    struct vu_driver *driver;
    struct device device;
};

static void fixture_open(struct fixture *f, unsigned num, uint64_t features, unsigned indirect_max)
{
    struct vu_driver_config config = {
        .num = num, .features = features, .indirect_max = indirect_max};

    vu_shmem_init(&f->shmem);
    g_assert_cmpint(vu_shmem_add(&f->shmem, MEMORY_GPA, MEMORY_LEN), ==, 0);
    g_assert_cmpint(vu_driver_create(&f->shmem, &config, &f->driver), ==, 0);
    device_init(&f->device, f->driver, &f->shmem);
}

static void fixture_close(struct fixture *f)
{
    vu_driver_destroy(f->driver);
    vu_shmem_clear(&f->shmem);
}

/* --- every combination, at random --- */

struct expected {
    struct chain chain;
    uint32_t len;
    bool in_flight, taken;
};

struct soak {
    struct fixture f;
    GRand *rand;
    struct expected *requests; /* token: pointer to one */
    unsigned n_requests, n_in_flight, n_done;
    GQueue taken; /* by the device, in order */
};

static bool soak_add(struct soak *soak)
{
    struct expected *request = NULL;
    struct vu_sg sg[MAX_SG];
    unsigned n = (unsigned)g_rand_int_range(soak->rand, 1, MAX_SG + 1);
    unsigned n_out = (unsigned)g_rand_int_range(soak->rand, 0, (int)n + 1);
    int rc;

    for (unsigned i = 0; i < soak->n_requests && !request; i++)
        if (!soak->requests[i].in_flight)
            request = &soak->requests[i];
    g_assert_nonnull(request);
    for (unsigned i = 0; i < n; i++)
        sg[i] = (struct vu_sg){g_rand_int(soak->rand),
                               (uint32_t)g_rand_int_range(soak->rand, 1, 100000)};
    rc = vu_driver_add(soak->f.driver, sg, n_out, n - n_out, request);
    if (rc == -ENOSPC)
        return false;
    g_assert_cmpint(rc, ==, 0);
    request->in_flight = true;
    request->taken = false;
    request->chain = (struct chain){.n_out = n_out, .n_in = n - n_out};
    memcpy(request->chain.sg, sg, n * sizeof(sg[0]));
    soak->n_in_flight++;
    return true;
}

static bool chain_equal(const struct chain *a, const struct chain *b)
{
    if (a->n_out != b->n_out || a->n_in != b->n_in)
        return false;
    for (unsigned i = 0; i < a->n_out + a->n_in; i++)
        if (a->sg[i].gpa != b->sg[i].gpa || a->sg[i].len != b->sg[i].len)
            return false;
    return true;
}

/* The device takes a chain: it must be one that was added, as it was added. */
static bool soak_take(struct soak *soak)
{
    struct chain chain;

    if (!device_pop(&soak->f.device, &chain))
        return false;
    for (unsigned i = 0; i < soak->n_requests; i++) {
        struct expected *request = &soak->requests[i];

        if (!request->in_flight || request->taken || !chain_equal(&request->chain, &chain))
            continue;
        request->taken = true;
        request->chain = chain;
        g_queue_push_tail(&soak->taken, request);
        return true;
    }
    g_assert_not_reached();
}

static uint32_t soak_in_len(const struct chain *chain)
{
    uint32_t len = 0;

    for (unsigned i = 0; i < chain->n_in; i++)
        len += chain->sg[chain->n_out + i].len;
    return len;
}

/* Completes one request at random, or (IN_ORDER) some of the oldest with a single used entry. */
static bool soak_complete(struct soak *soak, bool in_order)
{
    unsigned left = g_queue_get_length(&soak->taken);
    unsigned n = 1, n_descs = 0;
    struct expected *request = NULL;

    if (left == 0)
        return false;
    if (in_order)
        n = (unsigned)g_rand_int_range(soak->rand, 1, (int)MIN(left, 4) + 1);
    for (unsigned i = 0; i < n; i++) {
        guint at = in_order ? 0 : (guint)g_rand_int_range(soak->rand, 0, (int)left);

        request = g_queue_pop_nth(&soak->taken, at);
        n_descs += request->chain.n_descs;
        request->len = soak_in_len(&request->chain);
    }
    request->len = (uint32_t)g_rand_int_range(soak->rand, 0, (int)request->len + 1);
    device_push(&soak->f.device, request->chain.id, request->len, n, n_descs);
    return true;
}

static void soak_harvest(struct soak *soak)
{
    struct vu_driver_used used[3];
    int n = vu_driver_harvest(soak->f.driver, used,
                              (unsigned)g_rand_int_range(soak->rand, 1, G_N_ELEMENTS(used) + 1));

    g_assert_cmpint(n, >=, 0);
    for (int i = 0; i < n; i++) {
        struct expected *request = used[i].token;

        g_assert_true(request->in_flight && request->taken);
        g_assert_cmpuint(used[i].len, ==, request->len);
        request->in_flight = false;
        soak->n_in_flight--;
        soak->n_done++;
    }
}

static void test_soak(gconstpointer data)
{
    uint64_t features = *(const uint64_t *)data;
    unsigned num = vu_has(features, VU_F_RING_PACKED) ? 13 : 16;
    struct soak soak = {.rand = g_rand_new_with_seed(7), .n_requests = num + 1};

    fixture_open(&soak.f, num, features, MAX_SG - 2);
    soak.requests = g_new0(struct expected, soak.n_requests);
    g_queue_init(&soak.taken);
    while (soak.n_done < 20000) {
        for (int n = g_rand_int_range(soak.rand, 0, 8); n > 0 && soak_add(&soak); n--)
            ;
        if (g_rand_boolean(soak.rand))
            vu_driver_publish(soak.f.driver);
        for (int n = g_rand_int_range(soak.rand, 0, 8); n > 0 && soak_take(&soak); n--)
            ;
        for (int n = g_rand_int_range(soak.rand, 0, 8); n > 0; n--)
            soak_complete(&soak, vu_has(features, VU_F_IN_ORDER));
        soak_harvest(&soak);
    }
    vu_driver_publish(soak.f.driver);
    while (soak_take(&soak))
        ;
    while (soak_complete(&soak, vu_has(features, VU_F_IN_ORDER)))
        ;
    while (soak.n_in_flight > 0)
        soak_harvest(&soak);
    g_assert_cmpuint(soak.f.driver->n_free, ==, num);
    g_assert_false(vu_driver_has_used(soak.f.driver));
    g_free(soak.requests);
    g_rand_free(soak.rand);
    fixture_close(&soak.f);
}

/* --- kicks and calls --- */

static const struct vu_sg one_in = {MEMORY_GPA, 512};

static bool is_readable(int fd)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};

    return poll(&pfd, 1, 0) == 1;
}

static void add_one(struct fixture *f)
{
    g_assert_cmpint(vu_driver_add(f->driver, &one_in, 0, 1, f), ==, 0);
}

/* Sets the device's wish for kicks. */
static void device_ask(struct fixture *f, bool kicks, uint16_t event, bool wrap)
{
    if (f->driver->packed) {
        struct vu_packed_event *wish = f->driver->used;

        le16_store(&wish->off_wrap, (uint16_t)(event | (wrap ? 0x8000 : 0)));
        le16_store(&wish->flags, !kicks                 ? VU_EVENT_DISABLE
                                 : f->driver->event_idx ? VU_EVENT_DESC
                                                        : VU_EVENT_ENABLE);
    } else if (f->driver->event_idx) {
        le16_store(vu_split_avail_event(f->driver->used, f->driver->num), event);
    } else {
        le16_store(&((struct vu_split_used *)f->driver->used)->flags,
                   kicks ? 0 : VU_USED_F_NO_NOTIFY);
    }
}

static void test_kick_plain(gconstpointer data)
{
    struct fixture f;

    fixture_open(&f, 8, *(const uint64_t *)data, 0);
    vu_driver_kick(f.driver);
    g_assert_false(is_readable(f.driver->kick_fd)); /* nothing was added */
    add_one(&f);
    add_one(&f);
    vu_driver_kick(f.driver);
    g_assert_true(is_readable(f.driver->kick_fd));
    device_ask(&f, false, 0, false);
    add_one(&f);
    g_assert_false(vu_driver_publish(f.driver));
    fixture_close(&f);
}

static void test_kick_event_idx(gconstpointer data)
{
    struct fixture f;

    fixture_open(&f, 8, *(const uint64_t *)data | VU_BIT(VU_F_RING_EVENT_IDX), 0);
    device_ask(&f, true, 2, true); /* wants the third */
    add_one(&f);
    g_assert_false(vu_driver_publish(f.driver));
    add_one(&f);
    add_one(&f);
    g_assert_true(vu_driver_publish(f.driver));
    add_one(&f);
    g_assert_false(vu_driver_publish(f.driver)); /* passed already */
    device_ask(&f, true, 4, true);
    add_one(&f);
    g_assert_true(vu_driver_publish(f.driver));
    fixture_close(&f);
}

static void test_call(gconstpointer data)
{
    struct fixture f;
    struct chain chain;
    struct vu_driver_used used;
    uint64_t one = 1;

    fixture_open(&f, 8, *(const uint64_t *)data, 0);
    g_assert_false(vu_driver_arm_call(f.driver));
    add_one(&f);
    vu_driver_kick(f.driver);
    g_assert_true(device_pop(&f.device, &chain));
    device_push(&f.device, chain.id, 5, 1, chain.n_descs);
    g_assert_true(vu_driver_arm_call(f.driver));
    g_assert_cmpint(write(f.driver->call_fd, &one, 8), ==, 8);
    vu_driver_clear_call(f.driver);
    g_assert_false(is_readable(f.driver->call_fd));
    g_assert_cmpint(vu_driver_harvest(f.driver, &used, 1), ==, 1);
    g_assert_cmpuint(used.len, ==, 5);
    g_assert_false(vu_driver_arm_call(f.driver));
    if (f.driver->packed) {
        const struct vu_packed_event *event = f.driver->avail;

        g_assert_cmpuint(le16_load(&event->flags), ==,
                         f.driver->event_idx ? VU_EVENT_DESC : VU_EVENT_ENABLE);
        if (f.driver->event_idx)
            g_assert_cmpuint(le16_load(&event->off_wrap), ==, 0x8001);
    } else if (f.driver->event_idx) {
        g_assert_cmpuint(le16_load(vu_split_used_event(f.driver->avail, 8)), ==, 1);
    }
    g_assert_cmpuint(vu_driver_base(f.driver), ==, f.driver->packed ? 0x80018001u : 1u);
    fixture_close(&f);
}

/* --- a device that lies --- */

static void expect_broken(struct fixture *f)
{
    struct vu_driver_used used[4];

    g_assert_true(vu_driver_has_used(f->driver));
    g_assert_cmpint(vu_driver_harvest(f->driver, used, 4), ==, -EPROTO);
    g_assert_cmpint(vu_driver_harvest(f->driver, used, 4), ==, -EPROTO);
    g_assert_cmpint(vu_driver_add(f->driver, &one_in, 0, 1, f), ==, -EPROTO);
    vu_driver_reset(f->driver);
    device_init(&f->device, f->driver, &f->shmem);
    g_assert_cmpint(vu_driver_harvest(f->driver, used, 4), ==, 0);
    add_one(f);
    vu_driver_publish(f->driver);
}

static void test_lies(gconstpointer data)
{
    struct fixture f;
    struct chain chain;
    struct vu_driver_used used;

    fixture_open(&f, 8, *(const uint64_t *)data, 0);
    add_one(&f);
    vu_driver_publish(f.driver);

    device_push(&f.device, 3, 0, 1, 1); /* an id that is not in flight */
    expect_broken(&f);
    device_push(&f.device, 0xffff, 0, 1, 1); /* no id at all */
    expect_broken(&f);
    g_assert_true(device_pop(&f.device, &chain));
    device_push(&f.device, chain.id, 513, 1, 1); /* more than the in part */
    expect_broken(&f);
    if (!f.driver->packed) {
        device_push(&f.device, 0, 0, 2, 2); /* more entries than requests */
        expect_broken(&f);
        device_push(&f.device, 0, 0, 0xffff, 0);
        expect_broken(&f);
    }
    add_one(&f);
    vu_driver_publish(f.driver);
    g_assert_true(device_pop(&f.device, &chain));
    device_push(&f.device, chain.id, 512, 1, 1);
    g_assert_cmpint(vu_driver_harvest(f.driver, &used, 1), ==, 1);
    device_push(&f.device, chain.id, 512, 1, 1); /* the same one twice */
    expect_broken(&f);
    fixture_close(&f);
}

/* --- limits --- */

static void test_limits(void)
{
    struct fixture f;
    struct vu_sg sg[9] = {0};
    struct vu_driver *driver;

    fixture_open(&f, 8, 0, 0);
    for (unsigned i = 0; i < 9; i++)
        sg[i] = (struct vu_sg){MEMORY_GPA, 1};
    g_assert_cmpint(vu_driver_add(f.driver, sg, 0, 0, &f), ==, -EINVAL);
    g_assert_cmpint(vu_driver_add(f.driver, sg, 9, 0, &f), ==, -E2BIG);
    g_assert_cmpint(vu_driver_add(f.driver, sg, 4, 4, &f), ==, 0);
    g_assert_cmpint(vu_driver_add(f.driver, sg, 1, 0, &f), ==, -ENOSPC);
    sg[1].len = 0;
    g_assert_cmpint(vu_driver_add(f.driver, sg, 1, 1, &f), ==, -EINVAL);
    sg[0].len = sg[1].len = UINT32_MAX;
    g_assert_cmpint(vu_driver_add(f.driver, sg, 0, 2, &f), ==, -EINVAL);

    g_assert_cmpint(vu_driver_create(&f.shmem, &(struct vu_driver_config){.num = 0}, &driver), ==,
                    -EINVAL);
    g_assert_cmpint(vu_driver_create(&f.shmem, &(struct vu_driver_config){.num = 12}, &driver), ==,
                    -EINVAL);
    g_assert_cmpint(vu_driver_create(&f.shmem, &(struct vu_driver_config){.num = 65536}, &driver),
                    ==, -EINVAL);
    g_assert_cmpint(
        vu_driver_create(&f.shmem,
                         &(struct vu_driver_config){.num = 32768,
                                                    .indirect_max = 128,
                                                    .features = VU_BIT(VU_F_RING_INDIRECT_DESC)},
                         &driver),
        ==, -ENOMEM);
    fixture_close(&f);
}

static uint64_t kinds[16]; /* every combination of the four features that concern a ring */

static void add_for_all_kinds(const char *name, GTestDataFunc func, uint64_t mask)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *path = NULL;

        if (kinds[i] & ~mask)
            continue;
        path = g_strdup_printf("/driver/%s/%s%s%s%s", name,
                               vu_has(kinds[i], VU_F_RING_PACKED) ? "packed" : "split",
                               vu_has(kinds[i], VU_F_RING_INDIRECT_DESC) ? "-indirect" : "",
                               vu_has(kinds[i], VU_F_RING_EVENT_IDX) ? "-event_idx" : "",
                               vu_has(kinds[i], VU_F_IN_ORDER) ? "-in_order" : "");
        g_test_add_data_func(path, &kinds[i], func);
    }
}

int main(int argc, char **argv)
{
    static const unsigned bits[] = {VU_F_RING_PACKED, VU_F_RING_INDIRECT_DESC, VU_F_RING_EVENT_IDX,
                                    VU_F_IN_ORDER};

    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
        for (unsigned bit = 0; bit < G_N_ELEMENTS(bits); bit++)
            if (i & (1u << bit))
                kinds[i] |= VU_BIT(bits[bit]);
    g_test_init(&argc, &argv, NULL);
    add_for_all_kinds("soak", test_soak, UINT64_MAX);
    add_for_all_kinds("kick", test_kick_plain, VU_BIT(VU_F_RING_PACKED));
    add_for_all_kinds("kick-event", test_kick_event_idx, VU_BIT(VU_F_RING_PACKED));
    add_for_all_kinds("call", test_call, VU_BIT(VU_F_RING_PACKED) | VU_BIT(VU_F_RING_EVENT_IDX));
    add_for_all_kinds("lies", test_lies, VU_BIT(VU_F_RING_PACKED) | VU_BIT(VU_F_IN_ORDER));
    g_test_add_func("/driver/limits", test_limits);
    return g_test_run();
}
