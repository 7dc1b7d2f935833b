/* SPDX-License-Identifier: Apache-2.0 */
/* xattr.c, xattr-fd.c: extended attributes as the host's own calls would have them, on files of
 * every kind; names through a map; access control lists. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/unit/fs-xattr-client.h"

#define ROOT FUSE_ROOT_ID

static struct fs_fixture fixture;

/* Most attributes that a guest cares about are root's. */
static bool needs_root(void)
{
    if (geteuid() == 0)
        return false;
    g_test_skip("needs root");
    return true;
}

static uint64_t make(const char *name, mode_t mode)
{
    g_autofree char *path = fs_client_path(&fixture, name);
    struct fuse_entry_out entry;

    if (S_ISDIR(mode))
        g_assert_cmpint(mkdir(path, 0755), ==, 0);
    else if (S_ISLNK(mode))
        g_assert_cmpint(symlink("file", path), ==, 0);
    else
        g_assert_cmpint(mknod(path, mode | 0644, makedev(1, 3)), ==, 0);
    g_assert_cmpint(fs_client_lookup(&fixture, ROOT, name, &entry), ==, 0);
    return entry.nodeid;
}

static void test_off(void)
{
    struct fuse_getxattr_in get = {.size = 100};
    struct fs_call call = {.opcode = FUSE_GETXATTR,
                           .nodeid = ROOT,
                           .args = &get,
                           .args_len = sizeof(get),
                           .name = "user.a"};

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 0);
    g_assert_cmpint(fs_client_call(&fixture, &call), ==, -ENOSYS);
    call.opcode = FUSE_SETXATTR;
    g_assert_cmpint(fs_client_call(&fixture, &call), ==, -ENOSYS);
    call.args_len = 0;
    call.opcode = FUSE_REMOVEXATTR;
    g_assert_cmpint(fs_client_call(&fixture, &call), ==, -ENOSYS);
    call = (struct fs_call){
        .opcode = FUSE_LISTXATTR, .nodeid = ROOT, .args = &get, .args_len = sizeof(get)};
    g_assert_cmpint(fs_client_call(&fixture, &call), ==, -ENOSYS);
    fs_client_tear_down(&fixture);
}

/* One attribute of one file: set, found, changed, gone. */
static void try_round(uint64_t nodeid, const char *name)
{
    char value[64];

    g_assert_cmpint(fs_xattr_get_value(&fixture, nodeid, name, value, sizeof(value)), ==, -ENODATA);
    g_assert_cmpint(fs_xattr_set_value(&fixture, nodeid, name, "one", 3, XATTR_REPLACE), ==,
                    -ENODATA);
    g_assert_cmpint(fs_xattr_set_value(&fixture, nodeid, name, "one", 3, XATTR_CREATE), ==, 0);
    g_assert_cmpint(fs_xattr_set_value(&fixture, nodeid, name, "two", 3, XATTR_CREATE), ==,
                    -EEXIST);
    g_assert_cmpint(fs_xattr_get_value(&fixture, nodeid, name, NULL, 0), ==, 3);
    g_assert_cmpint(fs_xattr_get_value(&fixture, nodeid, name, value, 2), ==, -ERANGE);
    g_assert_cmpint(fs_xattr_get_value(&fixture, nodeid, name, value, 3), ==, 3);
    g_assert_cmpint(memcmp(value, "one", 3), ==, 0);
    g_assert_cmpint(fs_xattr_set_value(&fixture, nodeid, name, "", 0, 0), ==, 0);
    g_assert_cmpint(fs_xattr_get_value(&fixture, nodeid, name, value, 3), ==, 0);
    g_assert_cmpint(fs_xattr_get_value(&fixture, nodeid, name, NULL, 0), ==, 0);
    g_assert_cmpint(fs_xattr_set_value(&fixture, nodeid, name, "x", 1, 0x100), ==, -EINVAL);
    g_assert_cmpint(fs_xattr_remove_name(&fixture, nodeid, name), ==, 0);
    g_assert_cmpint(fs_xattr_remove_name(&fixture, nodeid, name), ==, -ENODATA);
}

static void test_kinds(void)
{
    static const struct {
        const char *name;
        mode_t mode;
        bool takes_user; /* attributes of users, which only these two have */
    } kinds[] = {
        {"file", S_IFREG, true},     {"directory", S_IFDIR, true}, {"symlink", S_IFLNK, false},
        {"device", S_IFCHR, false},  {"block", S_IFBLK, false},    {"fifo", S_IFIFO, false},
        {"socket", S_IFSOCK, false},
    };

    if (needs_root())
        return;
    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){0});
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        uint64_t nodeid = make(kinds[i].name, kinds[i].mode);

        try_round(nodeid, "trusted.test");
        if (kinds[i].takes_user)
            try_round(nodeid, "user.test");
        else
            g_assert_cmpint(fs_xattr_set_value(&fixture, nodeid, "user.test", "x", 1, 0), ==,
                            -EPERM);
        g_assert_cmpint(fs_xattr_set_value(&fixture, nodeid, "nonsense.test", "x", 1, 0), ==,
                        -EOPNOTSUPP);
    }
    fs_client_tear_down(&fixture);
}

/* A link's attributes are its own, whatever it leads to. */
static void test_links(void)
{
    g_autofree char *outside = g_strdup("/tmp/outside-XXXXXX"), *link = NULL;
    struct fuse_entry_out entry;
    char value[8];
    int fd;

    if (needs_root())
        return;
    fd = g_mkstemp(outside);
    g_assert_cmpint(fd, >=, 0);
    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){0});
    link = fs_client_path(&fixture, "link");
    g_assert_cmpint(symlink(outside, link), ==, 0);
    g_assert_cmpint(fs_client_lookup(&fixture, ROOT, "link", &entry), ==, 0);
    g_assert_cmpint(fs_xattr_set_value(&fixture, entry.nodeid, "trusted.a", "x", 1, 0), ==, 0);
    g_assert_cmpint(fgetxattr(fd, "trusted.a", value, sizeof(value)), ==, -1);
    g_assert_cmpint(errno, ==, ENODATA);
    g_assert_cmpint(lgetxattr(link, "trusted.a", value, sizeof(value)), ==, 1);
    g_assert_cmpint(fsetxattr(fd, "trusted.b", "x", 1, 0), ==, 0);
    g_assert_cmpint(fs_xattr_get_value(&fixture, entry.nodeid, "trusted.b", value, 8), ==,
                    -ENODATA);
    g_assert_cmpint(fs_xattr_remove_name(&fixture, entry.nodeid, "trusted.b"), ==, -ENODATA);
    close(fd);
    unlink(outside);
    fs_client_tear_down(&fixture);
}

/* Values however they lie in the guest's memory. */
static void test_pieces(void)
{
    static const size_t pieces[] = {0, 1, 7, 100, 1499, 1500};
    char value[1500], read[1600];
    uint64_t nodeid;

    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){0});
    nodeid = make("file", S_IFREG);
    for (size_t i = 0; i < sizeof(value); i++)
        value[i] = (char)(i * 7);
    for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++) {
        struct fuse_setxattr_in in = {.size = sizeof(value)};
        struct fs_call call = {.opcode = FUSE_SETXATTR,
                               .nodeid = nodeid,
                               .args = &in,
                               .args_len = FUSE_COMPAT_SETXATTR_IN_SIZE,
                               .name = "user.large",
                               .data = value,
                               .data_len = sizeof(value),
                               .piece = pieces[i]};

        value[0] = (char)i;
        g_assert_cmpint(fs_client_call(&fixture, &call), ==, 0);
        memset(read, 0, sizeof(read));
        g_assert_cmpint(fs_xattr_get_sized(&fixture, nodeid, "user.large", read, sizeof(read),
                                           sizeof(read), pieces[i]),
                        ==, sizeof(value));
        g_assert_cmpint(memcmp(read, value, sizeof(value)), ==, 0);
        g_assert_cmpint(read[sizeof(value)], ==, 0);
        g_assert_cmpint(
            fs_xattr_get_sized(&fixture, nodeid, "user.large", read, 1499, 1499, pieces[i]), ==,
            -ERANGE);
    }
    fs_client_tear_down(&fixture);
}

static void test_list(void)
{
    char names[512];
    uint64_t nodeid;
    int len;

    if (needs_root())
        return;
    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){0});
    nodeid = make("file", S_IFREG);
    g_assert_cmpint(fs_xattr_list_names(&fixture, nodeid, 0, names, sizeof(names)), ==, 0);
    g_assert_cmpint(fs_xattr_list_names(&fixture, nodeid, 0, NULL, 0), ==, 0);
    g_assert_cmpint(fs_xattr_set_value(&fixture, nodeid, "user.one", "1", 1, 0), ==, 0);
    g_assert_cmpint(fs_xattr_set_value(&fixture, nodeid, "trusted.two", "2", 1, 0), ==, 0);
    len = fs_xattr_list_names(&fixture, nodeid, 0, NULL, 0);
    g_assert_cmpint(len, ==, strlen("user.one") + strlen("trusted.two") + 2);
    g_assert_cmpint(fs_xattr_list_names(&fixture, nodeid, 0, names, (uint32_t)len), ==, len);
    g_assert_true(fs_xattr_list_has(names, len, "user.one"));
    g_assert_true(fs_xattr_list_has(names, len, "trusted.two"));
    g_assert_cmpint(fs_xattr_list_names(&fixture, nodeid, 0, names, (uint32_t)len - 1), ==,
                    -ERANGE);
    /* A user is shown no more than the host would. */
    len = fs_xattr_list_names(&fixture, nodeid, 1000, names, sizeof(names));
    g_assert_true(fs_xattr_list_has(names, len, "user.one"));
    g_assert_false(fs_xattr_list_has(names, len, "trusted.two"));
    fs_client_tear_down(&fixture);
}

static void test_map(void)
{
    const struct fs_xattr_setup setup = {.map = ":ok:all:user.plain:user.plain:"
                                                ":unsupported:client:security.selinux::"
                                                ":bad:client:user.bad::"
                                                ":map::user.virtiofs.:"};
    g_autofree char *path = NULL, *longest = g_strnfill(XATTR_NAME_MAX - 5, 'n');
    g_autofree char *long_name = g_strconcat("user.", longest, NULL);
    char value[64], names[256];
    uint64_t nodeid;
    int len;

    fs_xattr_set_up(&fixture, &setup);
    nodeid = make("file", S_IFREG);
    path = fs_client_path(&fixture, "file");
    try_round(nodeid, "trusted.a");
    try_round(nodeid, "user.plain");
    try_round(nodeid, "system.posix_acl"); /* not one, so of no interest to the host */
    g_assert_cmpint(fs_xattr_set_value(&fixture, nodeid, "trusted.a", "A", 1, 0), ==, 0);
    g_assert_cmpint(fs_xattr_set_value(&fixture, nodeid, "user.plain", "P", 1, 0), ==, 0);
    g_assert_cmpint(getxattr(path, "user.virtiofs.trusted.a", value, sizeof(value)), ==, 1);
    g_assert_cmpint(getxattr(path, "user.plain", value, sizeof(value)), ==, 1);
    g_assert_cmpint(setxattr(path, "user.host", "H", 1, 0), ==, 0);
    g_assert_cmpint(setxattr(path, "user.virtiofs.", "H", 1, 0), ==, 0);
    len = fs_xattr_list_names(&fixture, nodeid, 0, names, sizeof(names));
    g_assert_cmpint(len, ==, strlen("trusted.a") + strlen("user.plain") + 2);
    g_assert_true(fs_xattr_list_has(names, len, "trusted.a"));
    g_assert_true(fs_xattr_list_has(names, len, "user.plain"));
    g_assert_cmpint(fs_xattr_list_names(&fixture, nodeid, 0, NULL, 0), ==, len);

    g_assert_cmpint(fs_xattr_get_value(&fixture, nodeid, "user.bad", value, 64), ==, -ENODATA);
    g_assert_cmpint(fs_xattr_set_value(&fixture, nodeid, "user.bad", "x", 1, 0), ==, -EPERM);
    g_assert_cmpint(fs_xattr_remove_name(&fixture, nodeid, "user.bad"), ==, -EPERM);
    g_assert_cmpint(fs_xattr_get_value(&fixture, nodeid, "security.selinux", value, 64), ==,
                    -EOPNOTSUPP);
    g_assert_cmpint(fs_xattr_set_value(&fixture, nodeid, "security.selinux", "x", 1, 0), ==,
                    -EOPNOTSUPP);
    g_assert_cmpint(fs_xattr_set_value(&fixture, nodeid, long_name, "x", 1, 0), ==, -ERANGE);
    g_assert_cmpint(fs_xattr_get_value(&fixture, nodeid, long_name, value, 64), ==, -ENODATA);
    fs_client_tear_down(&fixture);
}

/* The bytes behind the fixed arguments of a request, as they come. */
static int send_name(uint32_t opcode, const void *args, size_t args_len, const void *bytes,
                     size_t len)
{
    char reply[64];
    struct fs_call call = {.opcode = opcode,
                           .nodeid = ROOT,
                           .args = args,
                           .args_len = args_len,
                           .data = bytes,
                           .data_len = len,
                           .reply = reply,
                           .room = sizeof(reply)};

    return fs_client_call(&fixture, &call);
}

static void test_hostile(void)
{
    static const char value[1 << 17];
    struct fuse_setxattr_in set = {.size = 1};
    struct fuse_getxattr_in get = {.size = 64};
    g_autofree char *name = g_strnfill(XATTR_NAME_MAX + 1, 'n');
    char out[64];

    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){0});
    g_assert_cmpint(send_name(FUSE_GETXATTR, &get, sizeof(get), "user.a", 6), ==, -EINVAL);
    g_assert_cmpint(send_name(FUSE_GETXATTR, &get, sizeof(get), "", 1), ==, -ERANGE);
    g_assert_cmpint(send_name(FUSE_GETXATTR, &get, sizeof(get), "", 0), ==, -EINVAL);
    g_assert_cmpint(send_name(FUSE_GETXATTR, &get, sizeof(get), name, 257), ==, -ERANGE);
    g_assert_cmpint(send_name(FUSE_GETXATTR, &get, 4, "", 0), ==, -EINVAL);
    g_assert_cmpint(send_name(FUSE_REMOVEXATTR, NULL, 0, "user.a\0b", 9), ==, -EINVAL);
    g_assert_cmpint(send_name(FUSE_REMOVEXATTR, NULL, 0, "../../x", 8), ==, -EOPNOTSUPP);
    g_assert_cmpint(send_name(FUSE_SETXATTR, &set, 8, "user.a\0", 7), ==, -EINVAL);
    g_assert_cmpint(send_name(FUSE_SETXATTR, &set, 8, "user.a\0vv", 9), ==, -EINVAL);
    g_assert_cmpint(send_name(FUSE_SETXATTR, &set, 8, "user.a", 6), ==, -EINVAL);
    g_assert_cmpint(send_name(FUSE_SETXATTR, &set, 4, "", 0), ==, -EINVAL);
    set.size = UINT32_MAX;
    g_assert_cmpint(send_name(FUSE_SETXATTR, &set, 8, "user.a\0v", 8), ==, -EINVAL);
    g_assert_cmpint(fs_xattr_set_value(&fixture, ROOT, "user.a", value, 65537, 0), ==, -E2BIG);
    g_assert_cmpint(fs_xattr_set_value(&fixture, ROOT, "user.a", value, sizeof(value), 0), ==,
                    -E2BIG);
    g_assert_cmpint(fs_xattr_set_value(&fixture, 99, "user.a", "v", 1, 0), ==, -ESTALE);
    g_assert_cmpint(fs_xattr_get_value(&fixture, 99, "user.a", out, 1), ==, -ESTALE);
    g_assert_cmpint(fs_xattr_list_names(&fixture, 99, 0, out, 1), ==, -ESTALE);
    g_assert_cmpint(fs_xattr_remove_name(&fixture, 99, "user.a"), ==, -ESTALE);

    /* Less room than the guest says that it has. */
    g_assert_cmpint(fs_xattr_set_value(&fixture, ROOT, "user.a", "value", 5, 0), ==, 0);
    g_assert_cmpint(fs_xattr_get_sized(&fixture, ROOT, "user.a", out, 64, 4, 0), ==, -ERANGE);
    g_assert_cmpint(fs_xattr_get_sized(&fixture, ROOT, "user.a", out, 64, 0, 0), ==, -ERANGE);
    g_assert_cmpint(fs_xattr_get_sized(&fixture, ROOT, "user.a", out, UINT32_MAX, 64, 0), ==, 5);
    get.size = 0;
    g_assert_cmpint(send_name(FUSE_GETXATTR, &get, sizeof(get), "user.a\0", 7), ==, 8);
    fs_client_tear_down(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fs-xattr/off", test_off);
    g_test_add_func("/fs-xattr/kinds", test_kinds);
    g_test_add_func("/fs-xattr/links", test_links);
    g_test_add_func("/fs-xattr/pieces", test_pieces);
    g_test_add_func("/fs-xattr/list", test_list);
    g_test_add_func("/fs-xattr/map", test_map);
    g_test_add_func("/fs-xattr/hostile", test_hostile);
    return g_test_run();
}
