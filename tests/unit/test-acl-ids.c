/* SPDX-License-Identifier: Apache-2.0 */
/* acl-ids.c: ids in access lists, both ways, alone and through requests. */
#include "virtiofsd/acl-ids.h"

#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/xattr.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/unit/fs-xattr-client.h"

#define MAX_ENTRIES 12
#define NO_ID       ((uint32_t)ACL_UNDEFINED_ID)

struct list {
    struct posix_acl_xattr_header header;
    struct posix_acl_xattr_entry entries[MAX_ENTRIES];
};

/* One named user and one named group in between what every list has. */
static const struct posix_acl_xattr_entry user_obj = {ACL_USER_OBJ, 7, NO_ID},
                                          group_obj = {ACL_GROUP_OBJ, 5, NO_ID},
                                          mask = {ACL_MASK, 7, NO_ID},
                                          other = {ACL_OTHER, 0, NO_ID};

/* users and groups end with an entry of tag 0. Returns the length. */
static size_t list_make(struct list *list, const struct posix_acl_xattr_entry *users,
                        const struct posix_acl_xattr_entry *groups)
{
    size_t n = 0;

    list->header.a_version = POSIX_ACL_XATTR_VERSION;
    list->entries[n++] = user_obj;
    for (; users->e_tag != 0; users++)
        list->entries[n++] = *users;
    list->entries[n++] = group_obj;
    for (; groups->e_tag != 0; groups++)
        list->entries[n++] = *groups;
    list->entries[n++] = mask;
    list->entries[n++] = other;
    return sizeof(list->header) + n * sizeof(list->entries[0]);
}

#define USERS(...) ((const struct posix_acl_xattr_entry[]){__VA_ARGS__, {0}})
#define USER(id, perm)     \
    {                      \
        ACL_USER, perm, id \
    }
#define GROUP(id, perm)     \
    {                       \
        ACL_GROUP, perm, id \
    }

static void options_init(struct fs_options *options, const char *uid_rule, const char *gid_rule)
{
    fs_options_init(options);
    if (uid_rule)
        g_assert_true(fs_idmap_add(&options->translate_uid, uid_rule, NULL));
    if (gid_rule)
        g_assert_true(fs_idmap_add(&options->translate_gid, gid_rule, NULL));
}

static void assert_same(const struct list *list, size_t len, const struct list *expected,
                        size_t expected_len)
{
    g_assert_cmpuint(len, ==, expected_len);
    g_assert_cmpint(memcmp(list, expected, len), ==, 0);
}

static void test_both_ways(void)
{
    struct fs_options options;
    struct list list, host, guest;
    size_t len, host_len, guest_len;

    options_init(&options, "map:0:1000:10", "map:0:2000:10");
    guest_len = list_make(&guest, USERS(USER(3, 6), USER(5, 4), USER(70, 1)), USERS(GROUP(4, 2)));
    host_len =
        list_make(&host, USERS(USER(70, 1), USER(1003, 6), USER(1005, 4)), USERS(GROUP(2004, 2)));
    list = guest;
    g_assert_cmpint(fs_acl_ids_to_host(&options, &list, guest_len), ==, 0);
    assert_same(&list, guest_len, &host, host_len);
    len = fs_acl_ids_to_guest(&options, &list, host_len);
    assert_same(&list, len, &guest, guest_len);
    fs_options_clear(&options);
}

static void test_forbidden(void)
{
    struct fs_options options;
    struct list list;
    size_t len = list_make(&list, USERS(USER(3, 6)), USERS(GROUP(4, 2)));

    options_init(&options, "forbid-guest:3:1", NULL);
    g_assert_cmpint(fs_acl_ids_to_host(&options, &list, len), ==, -EPERM);
    fs_options_clear(&options);
    options_init(&options, "forbid-guest:4:1", "forbid-guest:3:1");
    g_assert_cmpint(fs_acl_ids_to_host(&options, &list, len), ==, 0);
    fs_options_clear(&options);
    options_init(&options, NULL, "forbid-guest:4:1");
    g_assert_cmpint(fs_acl_ids_to_host(&options, &list, len), ==, -EPERM);
    fs_options_clear(&options);
}

static void test_collisions(void)
{
    struct fs_options options;
    struct list list, expected;
    size_t len, expected_len;

    options_init(&options, "squash-guest:0:1000:10", "squash-host:0:9:10");
    len = list_make(&list, USERS(USER(3, 6), USER(5, 4)), USERS(GROUP(1, 1)));
    g_assert_cmpint(fs_acl_ids_to_host(&options, &list, len), ==, -EINVAL);
    /* Of different kinds the same number is no collision. */
    len = list_make(&list, USERS(USER(3, 6)), USERS(GROUP(1000, 1)));
    g_assert_cmpint(fs_acl_ids_to_host(&options, &list, len), ==, 0);

    len = list_make(&list, USERS(USER(3, 6), USER(5, 4)),
                    USERS(GROUP(1, 7), GROUP(2, 5), GROUP(20, 3)));
    expected_len =
        list_make(&expected, USERS(USER(3, 6), USER(5, 4)), USERS(GROUP(9, 5), GROUP(20, 3)));
    len = fs_acl_ids_to_guest(&options, &list, len);
    assert_same(&list, len, &expected, expected_len);
    fs_options_clear(&options);
}

/* What is no list is the kernel's to refuse. */
static void test_no_list(void)
{
    struct fs_options options;
    struct list list, before;
    size_t len;

    options_init(&options, "map:0:1000:10", NULL);
    len = list_make(&list, USERS(USER(3, 6)), USERS(GROUP(4, 2)));
    before = list;
    for (size_t cut = 1; cut < sizeof(list.entries[0]); cut++) {
        g_assert_cmpint(fs_acl_ids_to_host(&options, &list, len - cut), ==, 0);
        g_assert_cmpuint(fs_acl_ids_to_guest(&options, &list, len - cut), ==, len - cut);
    }
    g_assert_cmpint(fs_acl_ids_to_host(&options, &list, 0), ==, 0);
    g_assert_cmpuint(fs_acl_ids_to_guest(&options, &list, 3), ==, 3);
    list.header.a_version = before.header.a_version = 1;
    g_assert_cmpint(fs_acl_ids_to_host(&options, &list, len), ==, 0);
    assert_same(&list, len, &before, len);
    /* A list without entries is one. */
    list.header.a_version = POSIX_ACL_XATTR_VERSION;
    g_assert_cmpint(fs_acl_ids_to_host(&options, &list, sizeof(list.header)), ==, 0);
    g_assert_cmpuint(fs_acl_ids_to_guest(&options, &list, sizeof(list.header)), ==,
                     sizeof(list.header));
    fs_options_clear(&options);
}

static void test_names(void)
{
    struct fs_options options;

    options_init(&options, NULL, NULL);
    g_assert_false(fs_acl_ids_matter(&options, XATTR_NAME_POSIX_ACL_ACCESS));
    fs_options_clear(&options);
    options_init(&options, NULL, "host:0:1000:1");
    g_assert_true(fs_acl_ids_matter(&options, XATTR_NAME_POSIX_ACL_ACCESS));
    g_assert_true(fs_acl_ids_matter(&options, XATTR_NAME_POSIX_ACL_DEFAULT));
    g_assert_false(fs_acl_ids_matter(&options, "user.system.posix_acl_access"));
    fs_options_clear(&options);
}

/* A request of the guest: the host's kernel has the host's ids, the guest reads back its own. */
static void test_requests(void)
{
    struct fs_fixture fixture;
    struct list list, host, value;
    struct fuse_entry_out entry;
    g_autofree char *path = NULL;
    size_t len, host_len;

    if (geteuid() != 0) {
        g_test_skip("needs root");
        return;
    }
    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){.posix_acl = FS_ALWAYS});
    g_assert_true(fs_idmap_add(&fixture.options.translate_uid, "map:0:1000:10", NULL));
    g_assert_true(fs_idmap_add(&fixture.options.translate_uid, "forbid-guest:99:1", NULL));
    path = fs_client_path(&fixture, "dir");
    g_assert_cmpint(mkdir(path, 0755), ==, 0);
    g_assert_cmpint(fs_client_lookup(&fixture, FUSE_ROOT_ID, "dir", &entry), ==, 0);

    len = list_make(&list, USERS(USER(3, 6)), USERS(GROUP(4, 2)));
    host_len = list_make(&host, USERS(USER(1003, 6)), USERS(GROUP(4, 2)));
    g_assert_cmpint(fs_xattr_set_value(&fixture, entry.nodeid, XATTR_NAME_POSIX_ACL_DEFAULT, &list,
                                       (uint32_t)len, 0),
                    ==, 0);
    g_assert_cmpint(getxattr(path, XATTR_NAME_POSIX_ACL_DEFAULT, &value, sizeof(value)), ==,
                    (ssize_t)host_len);
    assert_same(&value, host_len, &host, host_len);
    g_assert_cmpint(
        fs_xattr_get_value(&fixture, entry.nodeid, XATTR_NAME_POSIX_ACL_DEFAULT, NULL, 0), ==,
        (int)len);
    g_assert_cmpint(fs_xattr_get_value(&fixture, entry.nodeid, XATTR_NAME_POSIX_ACL_DEFAULT, &value,
                                       (uint32_t)len - 1),
                    ==, -ERANGE);
    g_assert_cmpint(fs_xattr_get_value(&fixture, entry.nodeid, XATTR_NAME_POSIX_ACL_DEFAULT, &value,
                                       sizeof(value)),
                    ==, (int)len);
    assert_same(&value, len, &list, len);

    len = list_make(&list, USERS(USER(99, 6)), USERS(GROUP(4, 2)));
    g_assert_cmpint(fs_xattr_set_value(&fixture, entry.nodeid, XATTR_NAME_POSIX_ACL_DEFAULT, &list,
                                       (uint32_t)len, 0),
                    ==, -EPERM);
    g_assert_cmpint(
        fs_xattr_set_value(&fixture, entry.nodeid, XATTR_NAME_POSIX_ACL_DEFAULT, "no", 2, 0), ==,
        -EINVAL);
    fs_client_tear_down(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/acl-ids/both-ways", test_both_ways);
    g_test_add_func("/acl-ids/forbidden", test_forbidden);
    g_test_add_func("/acl-ids/collisions", test_collisions);
    g_test_add_func("/acl-ids/no-list", test_no_list);
    g_test_add_func("/acl-ids/names", test_names);
    g_test_add_func("/acl-ids/requests", test_requests);
    return g_test_run();
}
