/* SPDX-License-Identifier: Apache-2.0 */
/* A hand-made guest for ring tests: see ring-guest.h. */
#include "ring-guest.h"

#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* Where the parts of the ring lie in the first region; room for RING_GUEST_MAX_NUM entries. */
enum { GUEST_DESC = 0x0, GUEST_AVAIL = 0x1000, GUEST_USED = 0x2000, GUEST_BUFFERS = 0x4000 };

void *ring_guest_at(const struct ring_guest *guest, uint64_t gpa, uint64_t len)
{
    void *at = vu_shmem_at(&guest->shmem, gpa, len);

    g_assert_nonnull(at);
    return at;
}

static void guest_map(struct ring_guest *guest)
{
    struct vu_region_desc descs[2];
    int fds[2];

    vu_shmem_init(&guest->shmem);
    g_assert_cmpint(vu_shmem_add(&guest->shmem, RING_GUEST_GPA, RING_GUEST_REGION), ==, 0);
    g_assert_cmpint(vu_shmem_add(&guest->shmem, RING_GUEST_BORDER, RING_GUEST_REGION), ==, 0);
    for (unsigned i = 0; i < 2; i++) {
        descs[i] = vu_shmem_describe(&guest->shmem.regions[i]);
        fds[i] = guest->shmem.regions[i].fd;
    }
    g_assert_cmpint(vu_memory_create(descs, fds, 2, &guest->memory), ==, 0);
}

uint32_t ring_guest_first_base(const struct ring_guest *guest)
{
    return guest->packed ? 0x80008000u : 0;
}

void ring_guest_init_vring(const struct ring_guest *guest, struct vu_vring *vring, uint32_t base)
{
    uint64_t uva = (uintptr_t)ring_guest_at(guest, RING_GUEST_GPA, GUEST_BUFFERS);

    vu_vring_init(vring, 0, "test");
    vring->num = guest->num;
    vring->features = guest->features;
    vring->desc_uva = uva + GUEST_DESC;
    vring->avail_uva = uva + GUEST_AVAIL;
    vring->used_uva = uva + GUEST_USED;
    vring->log_gpa = RING_GUEST_GPA + GUEST_USED;
    vring->base = base;
    vu_vring_set_enabled(vring, true);
}

void ring_guest_init(struct ring_guest *guest, unsigned num, uint64_t features)
{
    *guest = (struct ring_guest){.num = num, .features = features | VU_BIT(VU_F_VERSION_1)};
    g_assert_cmpuint(num, <=, RING_GUEST_MAX_NUM);
    guest->packed = vu_has(features, VU_F_RING_PACKED);
    guest->avail_wrap = guest->used_wrap = true;
    guest->buffer_gpa = RING_GUEST_GPA + GUEST_BUFFERS;
    guest_map(guest);
    ring_guest_init_vring(guest, &guest->vring, ring_guest_first_base(guest));
    guest->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    guest->err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    vu_vring_set_call(&guest->vring, fcntl(guest->call_fd, F_DUPFD_CLOEXEC, 0));
    vu_vring_set_err(&guest->vring, fcntl(guest->err_fd, F_DUPFD_CLOEXEC, 0));
}

void ring_guest_start(struct ring_guest *guest)
{
    g_assert_cmpint(vu_vring_start(&guest->vring, guest->memory, NULL), ==, 0);
}

void ring_guest_clear(struct ring_guest *guest)
{
    g_assert_cmpuint(guest->vring.n_in_flight, ==, 0);
    g_assert_cmpint(vu_vring_stop(&guest->vring, NULL, NULL), ==, 0);
    vu_vring_destroy(&guest->vring);
    vu_memory_unref(guest->memory);
    vu_shmem_clear(&guest->shmem);
    close(guest->call_fd);
    close(guest->err_fd);
}

struct vu_split_desc *ring_guest_split_desc(const struct ring_guest *guest, unsigned index)
{
    return (struct vu_split_desc *)ring_guest_at(guest, RING_GUEST_GPA + GUEST_DESC, 16) + index;
}

struct vu_split_avail *ring_guest_avail(const struct ring_guest *guest)
{
    return ring_guest_at(guest, RING_GUEST_GPA + GUEST_AVAIL, 4);
}

struct vu_split_used *ring_guest_used(const struct ring_guest *guest)
{
    return ring_guest_at(guest, RING_GUEST_GPA + GUEST_USED, 4);
}

struct vu_packed_desc *ring_guest_packed_desc(const struct ring_guest *guest, unsigned index)
{
    return (struct vu_packed_desc *)ring_guest_at(guest, RING_GUEST_GPA + GUEST_DESC, 16) + index;
}

struct vu_packed_event *ring_guest_driver_event(const struct ring_guest *guest)
{
    return ring_guest_at(guest, RING_GUEST_GPA + GUEST_AVAIL, 4);
}

struct vu_packed_event *ring_guest_device_event(const struct ring_guest *guest)
{
    return ring_guest_at(guest, RING_GUEST_GPA + GUEST_USED, 4);
}

void ring_guest_offer(struct ring_guest *guest, uint16_t head)
{
    struct vu_split_avail *avail = ring_guest_avail(guest);

    le16_store(&avail->ring[guest->avail_idx & (guest->num - 1)], head);
    le16_store_release(&avail->idx, ++guest->avail_idx);
}

static void guest_add_split(struct ring_guest *guest, uint16_t id,
                            const struct ring_guest_desc *descs, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned flags = descs[i].flags | (i + 1 < n ? VU_DESC_F_NEXT : 0u);

        *ring_guest_split_desc(guest, (id + i) % guest->num) = (struct vu_split_desc){
            .addr = le64_from(descs[i].gpa),
            .len = le32_from(descs[i].len),
            .flags = le16_from((uint16_t)flags),
            .next = le16_from((uint16_t)((id + i + 1) % guest->num)),
        };
    }
    ring_guest_offer(guest, id);
}

static void guest_add_packed(struct ring_guest *guest, uint16_t id,
                             const struct ring_guest_desc *descs, unsigned n)
{
    struct vu_packed_desc *head = ring_guest_packed_desc(guest, guest->avail_idx), *desc;
    uint16_t head_flags = 0;

    for (unsigned i = 0; i < n; i++) {
        unsigned flags = descs[i].flags | (i + 1 < n ? VU_DESC_F_NEXT : 0u) |
                         (guest->avail_wrap ? VU_DESC_F_AVAIL : VU_DESC_F_USED);

        desc = ring_guest_packed_desc(guest, guest->avail_idx);
        desc->addr = le64_from(descs[i].gpa);
        desc->len = le32_from(descs[i].len);
        desc->id = le16_from(id);
        if (i == 0)
            head_flags = (uint16_t)flags;
        else
            le16_store(&desc->flags, (uint16_t)flags);
        if (++guest->avail_idx == guest->num) {
            guest->avail_idx = 0;
            guest->avail_wrap = !guest->avail_wrap;
        }
    }
    le16_store_release(&head->flags, head_flags);
    if (id < RING_GUEST_MAX_NUM)
        guest->n_descs[id] = (uint16_t)n;
}

void ring_guest_add(struct ring_guest *guest, uint16_t id, const struct ring_guest_desc *descs,
                    unsigned n)
{
    if (guest->packed)
        guest_add_packed(guest, id, descs, n);
    else
        guest_add_split(guest, id, descs, n);
}

void ring_guest_add_simple(struct ring_guest *guest, uint16_t id, uint32_t len)
{
    uint64_t gpa = guest->buffer_gpa + UINT64_C(2) * id * len;
    struct ring_guest_desc descs[2] = {{gpa, len, 0}, {gpa + len, len, VU_DESC_F_WRITE}};

    ring_guest_add(guest, id, descs, 2);
}

void ring_guest_write_table(const struct ring_guest *guest, uint64_t gpa, unsigned index,
                            struct ring_guest_desc desc, uint16_t next)
{
    union {
        struct vu_split_desc split;
        struct vu_packed_desc packed;
        uint8_t bytes[16];
    } raw;

    if (guest->packed)
        raw.packed = (struct vu_packed_desc){.addr = le64_from(desc.gpa),
                                             .len = le32_from(desc.len),
                                             .id = le16_from(next),
                                             .flags = le16_from(desc.flags)};
    else
        raw.split = (struct vu_split_desc){.addr = le64_from(desc.gpa),
                                           .len = le32_from(desc.len),
                                           .flags = le16_from(desc.flags),
                                           .next = le16_from(next)};
    for (unsigned i = 0; i < sizeof(raw); i++)
        *(uint8_t *)ring_guest_at(guest, gpa + index * sizeof(raw) + i, 1) = raw.bytes[i];
}

static bool guest_take_used_split(struct ring_guest *guest, uint16_t *ret_id, uint32_t *ret_len)
{
    struct vu_split_used *used = ring_guest_used(guest);
    const struct vu_split_used_elem *elem = &used->ring[guest->used_idx & (guest->num - 1)];

    if (le16_load_acquire(&used->idx) == guest->used_idx)
        return false;
    *ret_id = (uint16_t)le32_load(&elem->id);
    *ret_len = le32_load(&elem->len);
    guest->used_idx++;
    return true;
}

static bool guest_take_used_packed(struct ring_guest *guest, uint16_t *ret_id, uint32_t *ret_len)
{
    const struct vu_packed_desc *desc = ring_guest_packed_desc(guest, guest->used_idx);
    uint16_t flags = le16_load_acquire(&desc->flags);

    if (((flags & VU_DESC_F_AVAIL) != 0) != guest->used_wrap ||
        ((flags & VU_DESC_F_USED) != 0) != guest->used_wrap)
        return false;
    *ret_id = le16_load(&desc->id);
    *ret_len = le32_load(&desc->len);
    g_assert_cmpuint(*ret_id, <, RING_GUEST_MAX_NUM);
    g_assert_cmpuint(guest->n_descs[*ret_id], >, 0);
    guest->used_idx = (uint16_t)(guest->used_idx + guest->n_descs[*ret_id]);
    guest->n_descs[*ret_id] = 0;
    if (guest->used_idx >= guest->num) {
        guest->used_idx = (uint16_t)(guest->used_idx - guest->num);
        guest->used_wrap = !guest->used_wrap;
    }
    return true;
}

bool ring_guest_take_used(struct ring_guest *guest, uint16_t *ret_id, uint32_t *ret_len)
{
    return guest->packed ? guest_take_used_packed(guest, ret_id, ret_len)
                         : guest_take_used_split(guest, ret_id, ret_len);
}

static uint64_t guest_read_eventfd(int fd)
{
    eventfd_t value = 0;

    return eventfd_read(fd, &value) == 0 ? value : 0;
}

uint64_t ring_guest_calls(const struct ring_guest *guest)
{
    return guest_read_eventfd(guest->call_fd);
}

uint64_t ring_guest_errors(const struct ring_guest *guest)
{
    return guest_read_eventfd(guest->err_fd);
}

static int log_fd = -1, log_saved_stderr = -1;

void ring_guest_log_begin(void)
{
    log_fd = memfd_create("log", MFD_CLOEXEC);
    log_saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    dup2(log_fd, STDERR_FILENO);
}

char *ring_guest_log_end(void)
{
    off_t len = lseek(log_fd, 0, SEEK_END);
    char *text = g_malloc0((size_t)len + 1);

    dup2(log_saved_stderr, STDERR_FILENO);
    close(log_saved_stderr);
    g_assert_cmpint(pread(log_fd, text, (size_t)len, 0), ==, len);
    close(log_fd);
    return text;
}

unsigned ring_guest_count_lines(const char *text)
{
    unsigned n = 0;

    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

struct vu_elem *ring_guest_pop_one(struct ring_guest *guest)
{
    struct vu_elem *elem = NULL;

    g_assert_cmpuint(vu_vring_pop(&guest->vring, &elem, 1), ==, 1);
    return elem;
}

void ring_guest_assert_used(struct ring_guest *guest, uint16_t id, uint32_t len)
{
    uint16_t got_id = 0;
    uint32_t got_len = 0;

    g_assert_true(ring_guest_take_used(guest, &got_id, &got_len));
    g_assert_cmpuint(got_id, ==, id);
    g_assert_cmpuint(got_len, ==, len);
}

void ring_guest_assert_no_used(struct ring_guest *guest)
{
    uint16_t id;
    uint32_t len;

    g_assert_false(ring_guest_take_used(guest, &id, &len));
}

void ring_guest_add_tests(const char *group, const char *name, GTestDataFunc test)
{
    g_autofree char *split = g_strdup_printf("/%s/split/%s", group, name);
    g_autofree char *packed = g_strdup_printf("/%s/packed/%s", group, name);

    g_test_add_data_func(split, GSIZE_TO_POINTER(0), test);
    g_test_add_data_func(packed, GSIZE_TO_POINTER(RING_GUEST_PACKED), test);
}
