/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user wire format: message header, payloads, feature bits. Native endian, from the
 * vhost-user specification in QEMU's docs/interop/vhost-user.rst. Knows no device and holds no
 * state.
 *
 *   offset size  header field
 *        0    4  request   number, see proto-requests.h
 *        4    4  flags     bits 0-1 version (1), bit 2 reply, bit 3 need_reply
 *        8    4  size      of the payload that follows
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VU_VERSION         0x1u
#define VU_VERSION_MASK    0x3u
#define VU_FLAG_REPLY      0x4u
#define VU_FLAG_NEED_REPLY 0x8u

#define VU_MAX_FDS         8   /* descriptors with one message */
#define VU_TABLE_MAX       8   /* regions in one SET_MEM_TABLE */
#define VU_CONFIG_MAX      256 /* bytes of configuration space in one message */
#define VU_PAYLOAD_MAX \
    4096 /* larger ones are refused: nothing defined is longer, trailing bytes included */

/* Virtio feature bits that belong to the transport and the rings (virtio 1.x section 6,
 * vhost-user). */
enum {
    VU_F_NOTIFY_ON_EMPTY = 24,
    VU_F_LOG_ALL = 26,
    VU_F_RING_INDIRECT_DESC = 28,
    VU_F_RING_EVENT_IDX = 29,
    VU_F_PROTOCOL_FEATURES = 30,
    VU_F_VERSION_1 = 32,
    VU_F_ACCESS_PLATFORM = 33,
    VU_F_RING_PACKED = 34,
    VU_F_IN_ORDER = 35,
    VU_F_ORDER_PLATFORM = 36,
    VU_F_NOTIFICATION_DATA = 38,
    VU_F_RING_RESET = 40,
};

/* Protocol feature bits (GET_PROTOCOL_FEATURES). */
enum {
    VU_PF_MQ = 0,
    VU_PF_LOG_SHMFD = 1,
    VU_PF_RARP = 2,
    VU_PF_REPLY_ACK = 3,
    VU_PF_MTU = 4,
    VU_PF_BACKEND_REQ = 5,
    VU_PF_CROSS_ENDIAN = 6,
    VU_PF_CRYPTO_SESSION = 7,
    VU_PF_PAGEFAULT = 8,
    VU_PF_CONFIG = 9,
    VU_PF_BACKEND_SEND_FD = 10,
    VU_PF_HOST_NOTIFIER = 11,
    VU_PF_INFLIGHT_SHMFD = 12,
    VU_PF_RESET_DEVICE = 13,
    VU_PF_INBAND_NOTIFICATIONS = 14,
    VU_PF_CONFIGURE_MEM_SLOTS = 15,
    VU_PF_STATUS = 16,
    VU_PF_XEN_MMAP = 17,
    VU_PF_SHARED_OBJECT = 18,
    VU_PF_DEVICE_STATE = 19,
    VU_PF_NONE = 0xff, /* of a table row: needs no protocol feature */
};

#define VU_BIT(n) (UINT64_C(1) << (n))

static inline bool vu_has(uint64_t features, unsigned bit)
{
    return (features & VU_BIT(bit)) != 0;
}

struct vu_header {
    uint32_t request;
    uint32_t flags;
    uint32_t size;
};
static_assert(sizeof(struct vu_header) == 12, "vhost-user header");

struct vu_vring_state {
    uint32_t index;
    uint32_t num;
};
static_assert(sizeof(struct vu_vring_state) == 8, "vring state");

#define VU_VRING_ADDR_LOG 0x1u /* flags: log used-ring writes at log_guest_addr */

struct vu_vring_addr {
    uint32_t index;
    uint32_t flags;
    uint64_t desc_uva;
    uint64_t used_uva;  /* packed rings: the device event suppression area */
    uint64_t avail_uva; /* packed rings: the driver event suppression area */
    uint64_t log_gpa;
};
static_assert(sizeof(struct vu_vring_addr) == 40, "vring address");

/* KICK, CALL, ERR: the queue index, and whether no descriptor comes with the message. */
#define VU_VRING_INDEX_MASK 0xffu
#define VU_VRING_NO_FD      0x100u

struct vu_region_desc {
    uint64_t gpa;
    uint64_t size;
    uint64_t uva;
    uint64_t mmap_offset;
};
static_assert(sizeof(struct vu_region_desc) == 32, "memory region");

struct vu_mem_table {
    uint32_t n_regions;
    uint32_t padding;
    struct vu_region_desc regions[VU_TABLE_MAX];
};
static_assert(sizeof(struct vu_mem_table) == 264, "memory table");

struct vu_mem_reg {
    uint64_t padding;
    struct vu_region_desc region;
};
static_assert(sizeof(struct vu_mem_reg) == 40, "single memory region");

struct vu_log_desc {
    uint64_t size;
    uint64_t offset;
};
static_assert(sizeof(struct vu_log_desc) == 16, "log description");

struct vu_config_header {
    uint32_t offset;
    uint32_t size;
    uint32_t flags;
};
static_assert(sizeof(struct vu_config_header) == 12, "configuration header");

struct vu_config {
    struct vu_config_header header;
    uint8_t data[VU_CONFIG_MAX];
};
static_assert(sizeof(struct vu_config) == 268, "configuration");

struct vu_inflight_desc {
    uint64_t mmap_size;
    uint64_t mmap_offset;
    uint16_t n_queues;
    uint16_t queue_size;
    uint32_t padding; /* the specification's structure ends at 20; native alignment makes it 24 on
                         the wire */
};
static_assert(sizeof(struct vu_inflight_desc) == 24, "inflight description");

/* SET_DEVICE_STATE_FD */
enum { VU_TRANSFER_SAVE = 0, VU_TRANSFER_LOAD = 1 };
enum { VU_TRANSFER_PHASE_STOPPED = 0 };

struct vu_transfer_state {
    uint32_t direction;
    uint32_t phase;
};
static_assert(sizeof(struct vu_transfer_state) == 8, "device state transfer");

union vu_payload {
    uint64_t u64;
    struct vu_vring_state state;
    struct vu_vring_addr addr;
    struct vu_mem_table table;
    struct vu_mem_reg mem_reg;
    struct vu_log_desc log;
    struct vu_config config;
    struct vu_inflight_desc inflight;
    struct vu_transfer_state transfer;
    uint8_t bytes[VU_PAYLOAD_MAX];
};

/* One whole message with its descriptors. fds[0..n_fds) belong to whoever holds the message. */
struct vu_message {
    struct vu_header header;
    union vu_payload payload;
    unsigned n_fds;
    int fds[VU_MAX_FDS];
};

/* What a request is answered with when all went well. */
enum vu_reply {
    VU_REPLY_NONE,    /* nothing; with REPLY_ACK and need_reply a u64: 0, or non-zero on failure */
    VU_REPLY_PAYLOAD, /* its own payload, always */
    VU_REPLY_LOG,     /* SET_LOG_BASE: an empty u64 message when LOG_SHMFD is negotiated */
};

/* All the facts of a request, except who handles it (which the dispatcher adds). */
struct vu_request_info {
    const char *name;
    uint16_t min_size, max_size; /* of the payload, bytes; max_size 0: must be empty */
    uint8_t min_fds, max_fds;
    uint8_t needs; /* protocol feature bit, or VU_PF_NONE */
    enum vu_reply reply;
};

#include "vhost-user/proto-requests.h"

/* The row of a front-end request; NULL where the number is unknown or applies to no device of ours.
 */
const struct vu_request_info *vu_request_info(uint32_t request);
/* The row of a back-end request (sent on the BACKEND_REQ channel). */
const struct vu_request_info *vu_backend_request_info(uint32_t request);

/* Name of a feature bit for people, such as "VIRTIO_F_RING_PACKED"; NULL where it is device
 * specific. */
const char *vu_feature_name(unsigned bit);
const char *vu_protocol_feature_name(unsigned bit);
