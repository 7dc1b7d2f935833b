/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of vhost-user, one row each with all its facts. Expanded by proto.c (facts by
 * number), by backend-dispatch.c (the handler of each) and by frontend-requests.c (the callback of
 * each back-end request). Include proto.h instead of this file.
 *
 * Sizes are of the payload in bytes, smallest and largest accepted. Where peers are known to send
 * trailing bytes (SET_MEM_TABLE of User Mode Linux before 6.13), the largest is VU_PAYLOAD_MAX and
 * the rest is ignored.
 */
#pragma once

/*      number  name                    handler                  size: min, max             fds
 * reply    needs */
/* clang-format off */
#define VU_FRONTEND_REQUESTS(ROW)                                                                                 \
    ROW( 1, GET_FEATURES,          get_features,          0, 0,                     0, 0, PAYLOAD, NONE)          \
    ROW( 2, SET_FEATURES,          set_features,          8, 8,                     0, 0, NONE,    NONE)          \
    ROW( 3, SET_OWNER,             set_owner,             0, 0,                     0, 0, NONE,    NONE)          \
    ROW( 4, RESET_OWNER,           reset_owner,           0, 0,                     0, 0, NONE,    NONE)          \
    ROW( 5, SET_MEM_TABLE,         set_mem_table,         8, VU_PAYLOAD_MAX,        0, 8, NONE,    NONE)          \
    ROW( 6, SET_LOG_BASE,          set_log_base,         16, 16,                    1, 1, LOG,     LOG_SHMFD)     \
    ROW( 7, SET_LOG_FD,            set_log_fd,            0, 8,                     1, 1, NONE,    NONE)          \
    ROW( 8, SET_VRING_NUM,         set_vring_num,         8, 8,                     0, 0, NONE,    NONE)          \
    ROW( 9, SET_VRING_ADDR,        set_vring_addr,       40, 40,                    0, 0, NONE,    NONE)          \
    ROW(10, SET_VRING_BASE,        set_vring_base,        8, 8,                     0, 0, NONE,    NONE)          \
    ROW(11, GET_VRING_BASE,        get_vring_base,        8, 8,                     0, 0, PAYLOAD, NONE)          \
    ROW(12, SET_VRING_KICK,        set_vring_kick,        8, 8,                     0, 1, NONE,    NONE)          \
    ROW(13, SET_VRING_CALL,        set_vring_call,        8, 8,                     0, 1, NONE,    NONE)          \
    ROW(14, SET_VRING_ERR,         set_vring_err,         8, 8,                     0, 1, NONE,    NONE)          \
    ROW(15, GET_PROTOCOL_FEATURES, get_protocol_features, 0, 0,                     0, 0, PAYLOAD, NONE)          \
    ROW(16, SET_PROTOCOL_FEATURES, set_protocol_features, 8, 8,                     0, 0, NONE,    NONE)          \
    ROW(17, GET_QUEUE_NUM,         get_queue_num,         0, 0,                     0, 0, PAYLOAD, MQ)            \
    ROW(18, SET_VRING_ENABLE,      set_vring_enable,      8, 8,                     0, 0, NONE,    NONE)          \
    ROW(21, SET_BACKEND_REQ_FD,    set_backend_req_fd,    0, 8,                     1, 1, NONE,    BACKEND_REQ)   \
    ROW(24, GET_CONFIG,            get_config,           12, sizeof(struct vu_config), 0, 0, PAYLOAD, CONFIG)     \
    ROW(25, SET_CONFIG,            set_config,           12, sizeof(struct vu_config), 0, 0, NONE, CONFIG)        \
    ROW(31, GET_INFLIGHT_FD,       get_inflight_fd,      20, 24,                    0, 0, PAYLOAD, INFLIGHT_SHMFD) \
    ROW(32, SET_INFLIGHT_FD,       set_inflight_fd,      20, 24,                    1, 1, NONE,    INFLIGHT_SHMFD) \
    ROW(34, RESET_DEVICE,          reset_device,          0, 0,                     0, 0, NONE,    RESET_DEVICE)  \
    ROW(35, VRING_KICK,            vring_kick,            8, 8,                     0, 0, NONE,    INBAND_NOTIFICATIONS) \
    ROW(36, GET_MAX_MEM_SLOTS,     get_max_mem_slots,     0, 0,                     0, 0, PAYLOAD, CONFIGURE_MEM_SLOTS) \
    ROW(37, ADD_MEM_REG,           add_mem_reg,          40, 40,                    0, 1, NONE,    CONFIGURE_MEM_SLOTS) \
    ROW(38, REM_MEM_REG,           rem_mem_reg,          40, 40,                    0, 1, NONE,    CONFIGURE_MEM_SLOTS) \
    ROW(39, SET_STATUS,            set_status,            8, 8,                     0, 0, NONE,    STATUS)        \
    ROW(40, GET_STATUS,            get_status,            0, 0,                     0, 0, PAYLOAD, STATUS)        \
    ROW(42, SET_DEVICE_STATE_FD,   set_device_state_fd,   8, 8,                     1, 1, PAYLOAD, DEVICE_STATE)  \
    ROW(43, CHECK_DEVICE_STATE,    check_device_state,    0, 0,                     0, 0, PAYLOAD, DEVICE_STATE)

#define VU_BACKEND_REQUESTS(ROW)                                                                                  \
    ROW( 2, CONFIG_CHANGE,         config_change,         0, 0,                     0, 0, NONE,    NONE)          \
    ROW( 4, VRING_CALL,            vring_call,            8, 8,                     0, 0, NONE,    INBAND_NOTIFICATIONS) \
    ROW( 5, VRING_ERR,             vring_err,             8, 8,                     0, 0, NONE,    INBAND_NOTIFICATIONS)
/* clang-format on */

#define VU_REQUEST_ENUM(number, name, ...)         VU_##name = (number),
#define VU_BACKEND_REQUEST_ENUM(number, name, ...) VU_BACKEND_##name = (number),

enum vu_request { VU_FRONTEND_REQUESTS(VU_REQUEST_ENUM) VU_REQUEST_MAX = 43 };
enum vu_backend_request { VU_BACKEND_REQUESTS(VU_BACKEND_REQUEST_ENUM) VU_BACKEND_REQUEST_MAX = 5 };
