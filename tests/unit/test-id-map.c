/* SPDX-License-Identifier: Apache-2.0 */
/* id-map.h: ranges on the command line. What the kernel makes of them: test-sandbox.c. */
#include "vhost-user/daemon/id-map.h"

static void test_add(void)
{
    struct vu_id_map map = {.n_ranges = 0};
    GError *error = NULL;

    g_assert_true(vu_id_map_add(&map, ":0:100000:65536:", &error));
    g_assert_true(vu_id_map_add(&map, "/70000/1/10/", &error));
    g_assert_no_error(error);
    g_assert_cmpuint(map.n_ranges, ==, 2);
    g_assert_cmpuint(map.ranges[0].outside, ==, 100000);
    g_assert_cmpuint(map.ranges[1].count, ==, 10);
    g_assert_true(vu_id_map_has(&map, 0));
    g_assert_true(vu_id_map_has(&map, 65535));
    g_assert_false(vu_id_map_has(&map, 65536));
    g_assert_true(vu_id_map_has(&map, 70009));
    g_assert_false(vu_id_map_has(&map, 70010));
    vu_id_map_clear(&map);
    g_assert_false(vu_id_map_has(&map, 0));
}

static void test_wrong(void)
{
    static const char *const wrong[] = {
        "",
        ":",
        "0:0:1:",
        ":0:0:1",
        ":0:0:",
        ":0:0:0:",
        ":0:0:1:2",
        ":-1:0:1:",
        ":0:x:1:",
        ":0:0:1:::",
        ":0:0:4294967296:",
        ":4294967295:0:1:",
        ":1:4294967295:1:",
        ": 1:2:3:",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        struct vu_id_map map = {.n_ranges = 0};
        g_autoptr(GError) error = NULL;

        if (vu_id_map_add(&map, wrong[i], &error))
            g_error("accepted: %s", wrong[i]);
        g_assert_nonnull(error);
        g_assert_cmpuint(map.n_ranges, ==, 0);
    }
}

static void test_many(void)
{
    struct vu_id_map map = {.n_ranges = 0};
    g_autoptr(GError) error = NULL;

    for (unsigned i = 0; i < VU_ID_MAP_MAX_RANGES; i++)
        g_assert_true(vu_id_map_add(&map, ":0:0:1:", NULL));
    g_assert_false(vu_id_map_add(&map, ":0:0:1:", &error));
    g_assert_nonnull(error);
    vu_id_map_clear(&map);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/id-map/add", test_add);
    g_test_add_func("/id-map/wrong", test_wrong);
    g_test_add_func("/id-map/many", test_many);
    return g_test_run();
}
