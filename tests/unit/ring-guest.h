/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest for tests of the device's side of a ring: shared memory, one ring written by hand, split
 * or packed, and as hostile as a test wants it. For a well-behaved driver of any size see
 * vhost-user/driver.h.
 *
 * Memory: two regions of RING_GUEST_REGION bytes, neighbours in guest addresses but not on the
 * host. The ring lies in the first; `buffer_gpa` begins the free part of it.
 */
#pragma once

#include <glib.h>

#include "vhost-user/shared-memory.h"
#include "vhost-user/vring.h"

#define RING_GUEST_GPA      UINT64_C(0x40000000)
#define RING_GUEST_REGION   UINT64_C(0x100000)
#define RING_GUEST_BORDER   (RING_GUEST_GPA + RING_GUEST_REGION) /* between the two */
#define RING_GUEST_END      (RING_GUEST_GPA + 2 * RING_GUEST_REGION)
#define RING_GUEST_MAX_NUM  256u
#define RING_GUEST_PACKED   VU_BIT(VU_F_RING_PACKED)
#define RING_GUEST_INDIRECT VU_BIT(VU_F_RING_INDIRECT_DESC)
#define RING_GUEST_EVENT    VU_BIT(VU_F_RING_EVENT_IDX)
#define RING_GUEST_IN_ORDER VU_BIT(VU_F_IN_ORDER)

/* A descriptor without what ties it to its place. */
struct ring_guest_desc {
    uint64_t gpa;
    uint32_t len;
    uint16_t flags; /* WRITE, INDIRECT; NEXT is added where more follow */
};

struct ring_guest {
    struct vu_shmem shmem;
    struct vu_memory *memory;
    struct vu_vring vring; /* the ring under test */
    unsigned num;
    bool packed;
    uint64_t features;
    uint64_t buffer_gpa;
    int call_fd, err_fd; /* ours */

    /* the driver's position */
    uint16_t avail_idx, used_idx;
    bool avail_wrap, used_wrap;
    uint16_t n_descs[RING_GUEST_MAX_NUM]; /* packed: of the chain with this id */
};

/* Memory and an empty ring; the vring is initialised, configured and enabled, not started. */
void ring_guest_init(struct ring_guest *guest, unsigned num, uint64_t features);
/* Starts the ring; it must succeed. */
void ring_guest_start(struct ring_guest *guest);
/* Stops the ring, which must have nothing in flight, and frees everything. */
void ring_guest_clear(struct ring_guest *guest);
/* A vring beside the guest's own, configured like it, for a second back-end on the same memory. */
void ring_guest_init_vring(const struct ring_guest *guest, struct vu_vring *vring, uint32_t base);
/* What the front-end of a fresh ring sends. */
uint32_t ring_guest_first_base(const struct ring_guest *guest);

/* Host address of guest memory within one region. */
void *ring_guest_at(const struct ring_guest *guest, uint64_t gpa, uint64_t len);

struct vu_split_desc *ring_guest_split_desc(const struct ring_guest *guest, unsigned index);
struct vu_split_avail *ring_guest_avail(const struct ring_guest *guest);
struct vu_split_used *ring_guest_used(const struct ring_guest *guest);
struct vu_packed_desc *ring_guest_packed_desc(const struct ring_guest *guest, unsigned index);
struct vu_packed_event *ring_guest_driver_event(const struct ring_guest *guest);
struct vu_packed_event *ring_guest_device_event(const struct ring_guest *guest);

/*
 * Makes a chain available. Split: in descriptors id, id + 1, ... of the table, with head id.
 * Packed: in the next slots, with buffer id `id`.
 */
void ring_guest_add(struct ring_guest *guest, uint16_t id, const struct ring_guest_desc *descs,
                    unsigned n);
/* One readable and one writable range of len bytes each, number `id` of the free memory. */
void ring_guest_add_simple(struct ring_guest *guest, uint16_t id, uint32_t len);
/* Split: offers a head as it is. */
void ring_guest_offer(struct ring_guest *guest, uint16_t head);
/* Writes descriptor `index` of an indirect table at gpa, of the ring's kind. */
void ring_guest_write_table(const struct ring_guest *guest, uint64_t gpa, unsigned index,
                            struct ring_guest_desc desc, uint16_t next);
/* Takes the next used entry. */
bool ring_guest_take_used(struct ring_guest *guest, uint16_t *ret_id, uint32_t *ret_len);

/* How often call (err) was signalled since the last look. */
uint64_t ring_guest_calls(const struct ring_guest *guest);
uint64_t ring_guest_errors(const struct ring_guest *guest);

/* Log lines between begin and end; end returns them, to be freed. */
void ring_guest_log_begin(void);
char *ring_guest_log_end(void);
unsigned ring_guest_count_lines(const char *text);

/* Pops one request, which must be there. */
struct vu_elem *ring_guest_pop_one(struct ring_guest *guest);
/* The next used entry is this one; there is none. */
void ring_guest_assert_used(struct ring_guest *guest, uint16_t id, uint32_t len);
void ring_guest_assert_no_used(struct ring_guest *guest);

/* Adds a test for each kind of ring, as /GROUP/split/NAME and /GROUP/packed/NAME; its data are the
 * features (GPOINTER_TO_SIZE). */
void ring_guest_add_tests(const char *group, const char *name, GTestDataFunc test);
