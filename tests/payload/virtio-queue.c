/* SPDX-License-Identifier: Apache-2.0 */
/* Queues as a driver uses them; see virtio.h. virtio 1.3 sections 2.7 and 2.8. */
#include "virtio.h"

/* Offsets of the common configuration. */
#define COMMON_SELECT      22
#define COMMON_SIZE        24
#define COMMON_VECTOR      26
#define COMMON_ENABLE      28
#define COMMON_NOTIFY_OFF  30
#define COMMON_DESC        32
#define COMMON_DRIVER_AREA 40
#define COMMON_DEVICE_AREA 48

/* In a queue's memory; its descriptors are at 0. */
#define DRIVER_AT      1024
#define DEVICE_AT      2048

#define F_EVENT_IDX    (1ull << 29)
#define F_PACKED       (1ull << 34)
#define DESC_NEXT      1u
#define DESC_WRITE     2u
#define DESC_AVAIL     7 /* bits, of a packed ring */
#define DESC_USED      15

#define USED_NO_NOTIFY 1u
/* Flags of a packed ring's event suppression. */
#define EVENT_ALWAYS 0u
#define EVENT_AT     2u

#define PATIENCE     (1ull << 37) /* of the time stamp counter: about a minute */
#define LOOKS        1024         /* between two at that */

static void write_address(volatile uint8_t *at, volatile void *memory)
{
    virtio_write32(at, (uint32_t)(uintptr_t)memory);
    virtio_write32(at + 4, 0);
}

bool virtio_queue_init(struct virtio_queue *queue, struct virtio *virtio, unsigned index,
                       unsigned size, void *memory)
{
    *queue = (struct virtio_queue){
        .virtio = virtio,
        .index = index,
        .size = size,
        .is_packed = virtio->features & F_PACKED,
        .has_event_idx = virtio->features & F_EVENT_IDX,
        .memory = memory,
        .wrap = true,
        .used_wrap = true,
        .n_free = size,
        .n_ids = size,
    };
    for (unsigned i = 0; i < size; i++)
        queue->ids[i] = (uint16_t)i;
    for (unsigned i = 0; i < 4096; i++)
        queue->memory[i] = 0;
    virtio_write16(virtio->common + COMMON_SELECT, (uint16_t)index);
    virtio_write16(virtio->common + COMMON_SIZE, (uint16_t)size);
    virtio_write16(virtio->common + COMMON_VECTOR, 1);
    write_address(virtio->common + COMMON_DESC, queue->memory);
    write_address(virtio->common + COMMON_DRIVER_AREA, queue->memory + DRIVER_AT);
    write_address(virtio->common + COMMON_DEVICE_AREA, queue->memory + DEVICE_AT);
    virtio_write16(virtio->common + COMMON_ENABLE, 1);
    queue->notify =
        virtio->notify + virtio_read16(virtio->common + COMMON_NOTIFY_OFF) * virtio->multiplier;
    return virtio_read16(virtio->common + COMMON_ENABLE) == 1;
}

void virtio_kick(const struct virtio_queue *queue)
{
    __sync_synchronize();
    virtio_write16(queue->notify, (uint16_t)queue->index);
}

/* All of a descriptor but the last word: next, or flags of a packed ring. */
static void write_descriptor(volatile uint8_t *at, const struct virtio_part *part)
{
    *(volatile uint64_t *)at = (uintptr_t)part->at;
    virtio_write32(at + 8, part->len);
}

static unsigned part_flags(const struct virtio_part *parts, unsigned n, unsigned i)
{
    return (i + 1 < n ? DESC_NEXT : 0) | (parts[i].is_in ? DESC_WRITE : 0);
}

/* --- split --- */

static uint16_t add_split(struct virtio_queue *queue, const struct virtio_part *parts, unsigned n)
{
    volatile uint8_t *avail = queue->memory + DRIVER_AT;
    uint16_t head = queue->ids[--queue->n_ids], id = head;

    for (unsigned i = 0; i < n; i++) {
        volatile uint8_t *descriptor = queue->memory + 16 * id;

        queue->following[id] = i + 1 < n ? queue->ids[--queue->n_ids] : 0;
        write_descriptor(descriptor, &parts[i]);
        virtio_write16(descriptor + 12, (uint16_t)part_flags(parts, n, i));
        virtio_write16(descriptor + 14, queue->following[id]);
        id = queue->following[id];
    }
    virtio_write16(avail + 4 + 2 * (queue->next % queue->size), head);
    __sync_synchronize();
    virtio_write16(avail + 2, ++queue->next);
    return head;
}

static bool take_split(struct virtio_queue *queue, uint16_t *ret_id, uint32_t *ret_len)
{
    volatile uint8_t *used = queue->memory + DEVICE_AT;
    volatile uint8_t *entry = used + 4 + 8 * (queue->used % queue->size);

    if (virtio_read16(used + 2) == queue->used)
        return false;
    __sync_synchronize();
    *ret_id = (uint16_t)virtio_read32(entry);
    *ret_len = virtio_read32(entry + 4);
    if (*ret_id >= queue->size)
        return false;
    queue->used++;
    for (unsigned i = 0, id = *ret_id; i < queue->n_parts[*ret_id]; i++) {
        queue->ids[queue->n_ids++] = (uint16_t)id;
        id = queue->following[id];
    }
    return true;
}

/* --- packed --- */

static void step(uint16_t *at, bool *wrap, unsigned by, unsigned size)
{
    *at = (uint16_t)(*at + by);
    if (*at >= size) {
        *at = (uint16_t)(*at - size);
        *wrap = !*wrap;
    }
}

static uint16_t add_packed(struct virtio_queue *queue, const struct virtio_part *parts, unsigned n)
{
    volatile uint8_t *first = queue->memory + 16 * queue->next;
    uint16_t id = queue->ids[--queue->n_ids], first_flags = 0;

    for (unsigned i = 0; i < n; i++) {
        volatile uint8_t *descriptor = queue->memory + 16 * queue->next;
        uint16_t flags =
            (uint16_t)(part_flags(parts, n, i) | 1u << (queue->wrap ? DESC_AVAIL : DESC_USED));

        write_descriptor(descriptor, &parts[i]);
        virtio_write16(descriptor + 12, id);
        if (i == 0)
            first_flags = flags;
        else
            virtio_write16(descriptor + 14, flags);
        step(&queue->next, &queue->wrap, 1, queue->size);
    }
    __sync_synchronize();
    virtio_write16(first + 14, first_flags);
    return id;
}

static bool take_packed(struct virtio_queue *queue, uint16_t *ret_id, uint32_t *ret_len)
{
    volatile uint8_t *descriptor = queue->memory + 16 * queue->used;
    uint16_t flags = virtio_read16(descriptor + 14);
    bool is_avail = flags >> DESC_AVAIL & 1, is_used = flags >> DESC_USED & 1;

    if (is_avail != queue->used_wrap || is_used != queue->used_wrap)
        return false;
    __sync_synchronize();
    *ret_id = virtio_read16(descriptor + 12);
    *ret_len = virtio_read32(descriptor + 8);
    if (*ret_id >= queue->size)
        return false;
    step(&queue->used, &queue->used_wrap, queue->n_parts[*ret_id], queue->size);
    queue->ids[queue->n_ids++] = *ret_id;
    return true;
}

/* --- both --- */

bool virtio_add(struct virtio_queue *queue, const struct virtio_part *parts, unsigned n, void *tag)
{
    uint16_t id;

    if (n > queue->n_free)
        return false;
    id = queue->is_packed ? add_packed(queue, parts, n) : add_split(queue, parts, n);
    queue->n_added += queue->is_packed ? n : 1;
    queue->n_free -= n;
    queue->n_parts[id] = (uint8_t)n;
    queue->tags[id] = tag;
    return true;
}

bool virtio_take(struct virtio_queue *queue, void **ret_tag, uint32_t *ret_len)
{
    uint16_t id = 0;

    if (queue->is_packed ? !take_packed(queue, &id, ret_len) : !take_split(queue, &id, ret_len))
        return false;
    queue->n_free += queue->n_parts[id];
    *ret_tag = queue->tags[id];
    return true;
}

/* --- who wants to be told; virtio 1.3 sections 2.7.7, 2.7.10 and 2.8.10 --- */

/* Whether `event` is among the n entries before `next`. */
static bool is_reached(uint16_t event, uint16_t next, unsigned n)
{
    return (uint16_t)(next - event - 1) < n;
}

static bool wants_kick_split(const struct virtio_queue *queue)
{
    volatile uint8_t *used = queue->memory + DEVICE_AT;

    if (!queue->has_event_idx)
        return !(virtio_read16(used) & USED_NO_NOTIFY);
    return is_reached(virtio_read16(used + 4 + 8 * queue->size), queue->next, queue->n_added);
}

static bool wants_kick_packed(const struct virtio_queue *queue)
{
    uint32_t event = virtio_read32(queue->memory + DEVICE_AT);
    uint16_t at = event & 0x7fff;

    if (event >> 16 != EVENT_AT)
        return event >> 16 == EVENT_ALWAYS;
    if ((event >> 15 & 1) != queue->wrap)
        at = (uint16_t)(at - queue->size);
    return is_reached(at, queue->next, queue->n_added);
}

void virtio_notify(struct virtio_queue *queue)
{
    __sync_synchronize();
    if (queue->is_packed ? wants_kick_packed(queue) : wants_kick_split(queue))
        virtio_kick(queue);
    queue->n_added = 0;
}

/* Asks for an interrupt at the next used entry; without F_EVENT_IDX there is one for each. */
static void want_interrupt(struct virtio_queue *queue)
{
    volatile uint8_t *driver = queue->memory + DRIVER_AT;

    if (!queue->has_event_idx)
        return;
    if (queue->is_packed)
        virtio_write32(driver, queue->used | (uint32_t)queue->used_wrap << 15 | EVENT_AT << 16);
    else
        virtio_write16(driver + 4 + 2 * queue->size, queue->used);
    __sync_synchronize();
}

bool virtio_wait(struct virtio_queue *queue, const volatile unsigned *n_irqs, void **ret_tag,
                 uint32_t *ret_len)
{
    uint64_t begin = payload_tsc();
    unsigned seen = 0;

    for (unsigned i = 0;; i++) {
        unsigned now = n_irqs ? *n_irqs : 0;

        if (!n_irqs || i == 0 || now != seen) {
            seen = now;
            if (n_irqs)
                want_interrupt(queue);
            if (virtio_take(queue, ret_tag, ret_len))
                return true;
        }
        if (i % LOOKS == 0 && payload_tsc() - begin > PATIENCE)
            return false;
        __asm__ volatile("pause");
    }
}

int64_t virtio_request(struct virtio_queue *queue, const struct virtio_part *parts, unsigned n)
{
    uint32_t len;
    void *tag;

    if (!virtio_add(queue, parts, n, NULL))
        return -1;
    virtio_kick(queue);
    return virtio_wait(queue, NULL, &tag, &len) ? (int64_t)len : -1;
}
