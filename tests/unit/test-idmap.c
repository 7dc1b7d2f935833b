/* SPDX-License-Identifier: Apache-2.0 */
/* idmap.h: rules as they are written, and what they make of ids. */
#include "virtiofsd/idmap.h"

#include <errno.h>
#include <string.h>

/* NULL-terminated rules into *ret_map. */
static void test_build(struct fs_idmap *ret_map, const char *const *rules)
{
    *ret_map = (struct fs_idmap){0};
    for (; *rules; rules++) {
        GError *error = NULL;

        fs_idmap_add(ret_map, *rules, &error);
        g_assert_no_error(error);
    }
}

static void test_stands_for(const struct fs_idmap_ranges *ranges, uint32_t id, uint32_t expected)
{
    uint32_t got;

    g_assert_cmpint(fs_idmap_translate(ranges, id, &got), ==, 0);
    g_assert_cmpuint(got, ==, expected);
}

static void test_types(void)
{
    static const char *const rules[] = {
        "map:1000:500:10",
        "guest:0:70000:5",
        "host:0:65534:1",
        "squash-guest:2000:42:10",
        "squash-host:600:7:4294966695",
        "forbid-guest:3000:1",
        NULL,
    };
    struct fs_idmap map;
    uint32_t got = 1;

    test_build(&map, rules);
    test_stands_for(&map.to_host, 1000, 500);
    test_stands_for(&map.to_host, 1009, 509);
    test_stands_for(&map.to_host, 1010, 1010);
    test_stands_for(&map.to_host, 999, 999);
    test_stands_for(&map.to_host, 4, 70004);
    test_stands_for(&map.to_host, 5, 5);
    test_stands_for(&map.to_host, 2009, 42);
    g_assert_cmpint(fs_idmap_translate(&map.to_host, 3000, &got), ==, -EPERM);
    test_stands_for(&map.to_host, 3001, 3001);
    test_stands_for(&map.to_host, UINT32_MAX, UINT32_MAX);

    g_assert_cmpuint(fs_idmap_to_guest(&map, 500), ==, 1000);
    g_assert_cmpuint(fs_idmap_to_guest(&map, 509), ==, 1009);
    g_assert_cmpuint(fs_idmap_to_guest(&map, 510), ==, 510);
    g_assert_cmpuint(fs_idmap_to_guest(&map, 0), ==, 65534);
    g_assert_cmpuint(fs_idmap_to_guest(&map, 70000), ==, 7);
    g_assert_cmpuint(fs_idmap_to_guest(&map, UINT32_MAX - 1), ==, 7);
    fs_idmap_clear(&map);
    g_assert_cmpuint(fs_idmap_to_guest(&map, 500), ==, 500);
}

/* All that guests have, as scripts for the Rust virtiofsd write it. */
static void test_everything(void)
{
    static const char *const rules[] = {"squash-guest:0:107:4294967295", "host:107:0:1", NULL};
    struct fs_idmap map;

    test_build(&map, rules);
    test_stands_for(&map.to_host, 0, 107);
    test_stands_for(&map.to_host, UINT32_MAX - 1, 107);
    g_assert_cmpuint(fs_idmap_to_guest(&map, 107), ==, 0);
    fs_idmap_clear(&map);
}

static void test_wrong(void)
{
    static const char *const wrong[] = {
        "",
        "map",
        "map:",
        "map:0:0",
        "map:0:0:0",
        "map:0:0:1:",
        "map:0:0:1:1",
        "map:0::1",
        "map:-1:0:1",
        "map:+1:0:1",
        "map: 1:0:1",
        "map:0x1:0:1",
        "map:0:0:4294967296",
        "map:1:0:4294967295",
        "map:0:1:4294967295",
        "Map:0:0:1",
        "both:0:0:1",
        ":0:0:1",
        "guest:4294967295:0:1",
        "host:0:4294967295:1",
        "squash-guest:0:4294967295:1",
        "forbid-guest:0:0",
        "forbid-guest:0:0:1",
        "forbid-guest:1",
        "forbid-host:0:1",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        struct fs_idmap map = {0};
        g_autoptr(GError) error = NULL;

        if (fs_idmap_add(&map, wrong[i], &error))
            g_error("accepted: %s", wrong[i]);
        g_assert_nonnull(strstr(error->message, "expected"));
        g_assert_cmpuint(map.to_host.n + map.to_guest.n, ==, 0);
    }
}

static void test_ambiguous(void)
{
    static const char *const rules[] = {"map:1000:2000:10", "guest:50:60:1", NULL};
    static const char *const refused[] = {
        "guest:1009:0:1",  "squash-guest:0:0:51", "forbid-guest:1001:2", "host:1995:0:6",
        "map:3000:2009:1", "map:990:5000:20",     "guest:50:60:1",
    };
    static const char *const beside[] = {"guest:1010:0:1", "host:1999:0:1", "host:60:50:1",
                                         "forbid-guest:51:949", NULL};
    struct fs_idmap map;

    test_build(&map, rules);
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_autoptr(GError) error = NULL;

        if (fs_idmap_add(&map, refused[i], &error))
            g_error("accepted: %s", refused[i]);
        g_assert_nonnull(strstr(error->message, "earlier rule"));
        g_assert_cmpuint(map.to_host.n, ==, 2);
        g_assert_cmpuint(map.to_guest.n, ==, 1);
    }
    for (size_t i = 0; beside[i]; i++)
        g_assert_true(fs_idmap_add(&map, beside[i], NULL));
    test_stands_for(&map.to_host, 1010, 0);
    test_stands_for(&map.to_host, 1009, 2009);
    fs_idmap_clear(&map);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/idmap/types", test_types);
    g_test_add_func("/idmap/everything", test_everything);
    g_test_add_func("/idmap/wrong", test_wrong);
    g_test_add_func("/idmap/ambiguous", test_ambiguous);
    return g_test_run();
}
