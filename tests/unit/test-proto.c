/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The message table: numbers are those of the specification, and each row is consistent.
 */
#include <glib.h>

#include "vhost-user/proto.h"

static void test_numbers(void)
{
    static const struct {
        unsigned number;
        const char *name;
    } rows[] = {
        {1, "GET_FEATURES"},         {5, "SET_MEM_TABLE"},       {11, "GET_VRING_BASE"},
        {18, "SET_VRING_ENABLE"},    {24, "GET_CONFIG"},         {31, "GET_INFLIGHT_FD"},
        {34, "RESET_DEVICE"},        {35, "VRING_KICK"},         {36, "GET_MAX_MEM_SLOTS"},
        {42, "SET_DEVICE_STATE_FD"}, {43, "CHECK_DEVICE_STATE"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        const struct vu_request_info *info = vu_request_info(rows[i].number);

        g_assert_nonnull(info);
        g_assert_cmpstr(info->name, ==, rows[i].name);
    }
    g_assert_cmpstr(vu_backend_request_info(VU_BACKEND_CONFIG_CHANGE)->name, ==, "CONFIG_CHANGE");
}

static void test_rows(void)
{
    for (uint32_t i = 0; i <= VU_REQUEST_MAX; i++) {
        const struct vu_request_info *info = vu_request_info(i);

        if (!info)
            continue;
        g_assert_cmpuint(info->min_size, <=, info->max_size);
        g_assert_cmpuint(info->max_size, <=, VU_PAYLOAD_MAX);
        g_assert_cmpuint(info->min_fds, <=, info->max_fds);
        g_assert_cmpuint(info->max_fds, <=, VU_MAX_FDS);
        if (info->needs != VU_PF_NONE)
            g_assert_nonnull(vu_protocol_feature_name(info->needs));
    }
}

static void test_unknown(void)
{
    g_assert_null(vu_request_info(0));
    g_assert_null(vu_request_info(19)); /* SEND_RARP: network devices only */
    g_assert_null(vu_request_info(33));
    g_assert_null(vu_request_info(44));
    g_assert_null(vu_request_info(UINT32_MAX));
    g_assert_null(vu_backend_request_info(1));
    g_assert_null(vu_backend_request_info(UINT32_MAX));
}

static void test_names(void)
{
    g_assert_cmpstr(vu_feature_name(34), ==, "VIRTIO_F_RING_PACKED");
    g_assert_null(vu_feature_name(0));
    g_assert_null(vu_feature_name(64));
    g_assert_cmpstr(vu_protocol_feature_name(19), ==, "DEVICE_STATE");
    g_assert_null(vu_protocol_feature_name(64));
    g_assert_null(vu_protocol_feature_name(UINT_MAX));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/proto/numbers", test_numbers);
    g_test_add_func("/proto/rows", test_rows);
    g_test_add_func("/proto/unknown", test_unknown);
    g_test_add_func("/proto/names", test_names);
    return g_test_run();
}
