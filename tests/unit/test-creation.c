/* SPDX-License-Identifier: Apache-2.0 */
/* creation.c, extension.c, label.c, thread.c: what is made belongs to the guest's user, with its
 * group, umask, default access list and security label. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <linux/xattr.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/unit/fs-xattr-client.h"
#include "virtiofsd/extension.h"

#define ROOT  FUSE_ROOT_ID
#define USER  1000
#define GROUP 1001
#define TEAM  1002

static struct fs_fixture fixture;

static bool needs_root(void)
{
    if (geteuid() == 0)
        return false;
    g_test_skip("needs root");
    return true;
}

/* Extensions at the end of a request. */
struct tail {
    char bytes[8192];
    size_t len;
    bool is_uncounted; /* as Linux before 6.3 sends them */
};

static void tail_append(struct tail *tail, const void *bytes, size_t len)
{
    g_assert_cmpuint(tail->len + len, <=, sizeof(tail->bytes));
    if (len > 0)
        memcpy(tail->bytes + tail->len, bytes, len);
    tail->len += len;
}

static void tail_pad(struct tail *tail)
{
    while (tail->len % 8 != 0)
        tail->bytes[tail->len++] = '\0';
}

static void tail_add_header(struct tail *tail, uint32_t size, uint32_t type)
{
    tail_append(tail, &(struct fuse_ext_header){.size = size, .type = type},
                sizeof(struct fuse_ext_header));
}

static void tail_add_label(struct tail *tail, const char *name, const char *label)
{
    struct fuse_secctx context = {.size = (uint32_t)strlen(label)};
    size_t len = sizeof(context) + strlen(name) + 1 + strlen(label);

    tail_add_header(tail, (uint32_t)(8 + (len + 7) / 8 * 8), 1);
    tail_append(tail, &context, sizeof(context));
    tail_append(tail, name, strlen(name) + 1);
    tail_append(tail, label, strlen(label));
    tail_pad(tail);
}

static void tail_add_groups(struct tail *tail, uint32_t n, const uint32_t *groups)
{
    tail_add_header(tail, (8 + 4 + 4 * n + 7) / 8 * 8, FS_EXT_GROUPS);
    tail_append(tail, &n, sizeof(n));
    tail_append(tail, groups, n * sizeof(*groups));
    tail_pad(tail);
}

/* Makes `name` by any of the four operations, as USER of GROUP. 0 or -errno. */
static int make(uint32_t opcode, const char *name, mode_t mode, mode_t mask, int flags,
                const struct tail *tail)
{
    union {
        struct fuse_create_in create;
        struct fuse_mkdir_in mkdir;
        struct fuse_mknod_in mknod;
    } in = {0};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;
    struct fs_call call = {.opcode = opcode,
                           .nodeid = ROOT,
                           .uid = geteuid() == 0 ? USER : geteuid(),
                           .gid = geteuid() == 0 ? GROUP : getegid(),
                           .args = &in,
                           .name = name,
                           .reply = &out,
                           .room = sizeof(out)};
    int ret;

    if (opcode == FUSE_CREATE) {
        in.create = (struct fuse_create_in){
            .flags = (uint32_t)flags | O_CREAT, .mode = S_IFREG | mode, .umask = mask};
        call.args_len = sizeof(in.create);
    } else if (opcode == FUSE_MKDIR) {
        in.mkdir = (struct fuse_mkdir_in){.mode = mode, .umask = mask};
        call.args_len = sizeof(in.mkdir);
    } else if (opcode == FUSE_MKNOD) {
        in.mknod = (struct fuse_mknod_in){.mode = S_IFIFO | mode, .umask = mask};
        call.args_len = sizeof(in.mknod);
    } else {
        call.name2 = "target";
    }
    if (tail) {
        call.data = tail->bytes;
        call.data_len = tail->len;
        call.extension_len = tail->is_uncounted ? 0 : (uint16_t)tail->len;
    }
    ret = fs_client_call(&fixture, &call);
    if (ret < 0)
        return ret;
    if (opcode == FUSE_CREATE)
        g_assert_cmpint(fs_client_release(&fixture, out.entry.nodeid, out.open.fh), ==, 0);
    return 0;
}

static void host_remove(const char *name)
{
    g_autofree char *path = fs_client_path(&fixture, name);

    g_assert_cmpint(remove(path), ==, 0);
}

static void host_check_label(const char *name, const char *attribute, const char *expected)
{
    g_autofree char *path = fs_client_path(&fixture, name);
    char value[FS_LABEL_MAX + 1] = "";
    ssize_t len = lgetxattr(path, attribute, value, sizeof(value) - 1);

    g_assert_cmpint(len, ==, expected ? (ssize_t)strlen(expected) : -1);
    if (expected)
        g_assert_cmpstr(value, ==, expected);
}

static const uint32_t opcodes[] = {FUSE_CREATE, FUSE_MKDIR, FUSE_MKNOD, FUSE_SYMLINK};

static void test_masks(void)
{
    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){0});
    g_assert_cmpint(make(FUSE_CREATE, "file", 0777, 027, O_RDWR, NULL), ==, 0);
    g_assert_cmpint(fs_client_host_stat(&fixture, "file").st_mode & 07777, ==, 0750);
    g_assert_cmpint(make(FUSE_MKDIR, "directory", 0777, 070, 0, NULL), ==, 0);
    g_assert_cmpint(fs_client_host_stat(&fixture, "directory").st_mode & 07777, ==, 0707);
    g_assert_cmpint(make(FUSE_MKNOD, "fifo", 0666, 0, 0, NULL), ==, 0);
    g_assert_cmpint(fs_client_host_stat(&fixture, "fifo").st_mode & 07777, ==, 0666);
    fs_client_tear_down(&fixture);
}

struct acl_entry {
    uint16_t tag, permissions;
    uint32_t id;
};

/* u::rwx u:4321:rwx g::r-x m::rwx o::--- */
static const struct {
    uint32_t version;
    struct acl_entry entries[5];
} acl = {
    .version = 2,
    .entries = {{1, 7, UINT32_MAX},
                {2, 7, 4321},
                {4, 5, UINT32_MAX},
                {16, 7, UINT32_MAX},
                {32, 0, UINT32_MAX}},
};

/* As on a local file system: the umask counts, but for a directory's default list. */
static void test_default_acl(void)
{
    g_autofree char *path = NULL;

    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){.posix_acl = FS_ALWAYS});
    g_assert_true(fs_share_negotiated(&fixture.share, FUSE_DONT_MASK));
    for (int with = 0; with < 2; with++) {
        g_assert_cmpint(make(FUSE_CREATE, "file", 0666, 027, O_RDWR, NULL), ==, 0);
        g_assert_cmpint(fs_client_host_stat(&fixture, "file").st_mode & 07777, ==,
                        with ? 0660 : 0640);
        g_assert_cmpint(make(FUSE_MKDIR, "directory", 0777, 077, 0, NULL), ==, 0);
        g_assert_cmpint(fs_client_host_stat(&fixture, "directory").st_mode & 07777, ==,
                        with ? 0770 : 0700);
        g_assert_cmpint(make(FUSE_MKNOD, "fifo", 0666, 022, 0, NULL), ==, 0);
        g_assert_cmpint(fs_client_host_stat(&fixture, "fifo").st_mode & 07777, ==,
                        with ? 0660 : 0644);
        path = fs_client_path(&fixture, "directory");
        g_assert_cmpint(getxattr(path, XATTR_NAME_POSIX_ACL_DEFAULT, NULL, 0), ==,
                        with ? (ssize_t)sizeof(acl) : -1);
        g_clear_pointer(&path, g_free);
        host_remove("file");
        host_remove("directory");
        host_remove("fifo");
        g_assert_cmpint(
            fs_xattr_set_value(&fixture, ROOT, XATTR_NAME_POSIX_ACL_DEFAULT, &acl, sizeof(acl), 0),
            ==, 0);
    }
    fs_client_tear_down(&fixture);
    /* Another share on the same thread: the umask is not left behind. */
    test_masks();
}

static void test_acl_off(void)
{
    char value[128], names[128];
    int len;

    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){0});
    g_assert_cmpint(setxattr(fixture.dir, XATTR_NAME_POSIX_ACL_ACCESS, &acl, sizeof(acl), 0), ==,
                    0);
    g_assert_cmpint(setxattr(fixture.dir, "user.a", "a", 1, 0), ==, 0);
    g_assert_cmpint(fs_xattr_get_value(&fixture, ROOT, XATTR_NAME_POSIX_ACL_ACCESS, value, 128), ==,
                    -EOPNOTSUPP);
    g_assert_cmpint(
        fs_xattr_set_value(&fixture, ROOT, XATTR_NAME_POSIX_ACL_DEFAULT, &acl, sizeof(acl), 0), ==,
        -EOPNOTSUPP);
    g_assert_cmpint(fs_xattr_remove_name(&fixture, ROOT, XATTR_NAME_POSIX_ACL_ACCESS), ==,
                    -EOPNOTSUPP);
    len = fs_xattr_list_names(&fixture, ROOT, 0, names, sizeof(names));
    g_assert_cmpint(len, ==, strlen("user.a") + 1);
    fs_client_tear_down(&fixture);
}

static void set_acl_as(uint32_t user, uint32_t group, uint64_t nodeid, uint32_t flags)
{
    struct fuse_setxattr_in in = {.size = sizeof(acl), .setxattr_flags = flags};
    struct fs_call call = {
        .opcode = FUSE_SETXATTR,
        .nodeid = nodeid,
        .uid = user,
        .gid = group,
        .args = &in,
        .args_len = sizeof(in),
        .name = XATTR_NAME_POSIX_ACL_ACCESS,
        .data = &acl,
        .data_len = sizeof(acl),
    };

    g_assert_cmpint(fs_client_call(&fixture, &call), ==, 0);
}

/* The guest says when a list of a stranger to the group takes the setgid bit away. */
static void test_acl_setgid(void)
{
    g_autofree char *path = NULL;
    struct fuse_entry_out entry;

    if (needs_root())
        return;
    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){.posix_acl = FS_ALWAYS});
    g_assert_cmpint(make(FUSE_CREATE, "file", 0755, 0, O_RDWR, NULL), ==, 0);
    g_assert_cmpint(fs_client_lookup(&fixture, ROOT, "file", &entry), ==, 0);
    path = fs_client_path(&fixture, "file");
    g_assert_cmpint(chown(path, USER, TEAM), ==, 0);
    g_assert_cmpint(chmod(path, 02755), ==, 0);
    set_acl_as(USER, GROUP, entry.nodeid, 0);
    g_assert_cmpint(fs_client_host_stat(&fixture, "file").st_mode & 07777, ==, 02770);
    set_acl_as(USER, GROUP, entry.nodeid, FUSE_SETXATTR_ACL_KILL_SGID);
    g_assert_cmpint(fs_client_host_stat(&fixture, "file").st_mode & 07777, ==, 0770);
    fs_client_tear_down(&fixture);
}

static int make_setgid(const char *name, const struct tail *tail)
{
    return make(FUSE_CREATE, name, 02770, 0, O_RDWR, tail);
}

/* In a setgid directory the setgid bit stays for a member of its group alone. */
static void test_groups(void)
{
    const uint32_t groups[] = {TEAM, GROUP};
    struct tail team = {.len = 0}, none = {.len = 0}, two = {.len = 0}, twice = {.len = 0};

    if (needs_root())
        return;
    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){0});
    g_assert_cmpint(chown(fixture.dir, 0, TEAM), ==, 0);
    g_assert_cmpint(chmod(fixture.dir, 02775), ==, 0);
    tail_add_groups(&team, 1, groups);
    tail_add_groups(&none, 0, groups);
    tail_add_groups(&two, 2, groups);
    tail_add_groups(&twice, 1, groups);
    tail_add_groups(&twice, 1, groups);

    g_assert_cmpint(make_setgid("stranger", NULL), ==, 0);
    g_assert_cmpint(fs_client_host_stat(&fixture, "stranger").st_gid, ==, TEAM);
    g_assert_cmpint(fs_client_host_stat(&fixture, "stranger").st_mode & 07777, ==, 0770);
    g_assert_cmpint(make_setgid("member", &team), ==, 0);
    g_assert_cmpint(fs_client_host_stat(&fixture, "member").st_uid, ==, USER);
    g_assert_cmpint(fs_client_host_stat(&fixture, "member").st_gid, ==, TEAM);
    g_assert_cmpint(fs_client_host_stat(&fixture, "member").st_mode & 07777, ==, 02770);
    /* The group was the thread's for that one file. */
    g_assert_cmpint(make_setgid("later", &none), ==, 0);
    g_assert_cmpint(fs_client_host_stat(&fixture, "later").st_mode & 07777, ==, 0770);

    g_assert_cmpint(make_setgid("two", &two), ==, -EINVAL);
    g_assert_cmpint(make_setgid("twice", &twice), ==, -EINVAL);
    g_assert_false(fs_client_host_has(&fixture, "two"));
    for (size_t i = 0; i < G_N_ELEMENTS(opcodes); i++) {
        g_autofree char *name = g_strdup_printf("of-team-%zu", i);

        g_assert_cmpint(make(opcodes[i], name, 0755, 022, O_RDONLY, &team), ==, 0);
        g_assert_cmpint(fs_client_host_stat(&fixture, name).st_gid, ==, TEAM);
    }
    fs_client_tear_down(&fixture);
}

/* Of each kind, in both ways in which kernels send labels. */
static void test_labels(void)
{
    const char *name = "trusted.guest.security.selinux";

    if (needs_root())
        return;
    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){.map = ":map:security.:trusted.guest.:",
                                                       .security_label = FS_ALWAYS});
    g_assert_cmpint(fixture.share.label_tasks, ==, -1);
    for (size_t i = 0; i < 2 * G_N_ELEMENTS(opcodes); i++) {
        struct tail tail = {.is_uncounted = i % 2 != 0};

        tail_add_label(&tail, XATTR_NAME_SELINUX, "system_u:object_r:tmp_t:s0");
        g_assert_cmpint(make(opcodes[i / 2], "new", 0640, 0, O_RDONLY, &tail), ==, 0);
        host_check_label("new", name, "system_u:object_r:tmp_t:s0");
        g_assert_cmpint(fs_client_host_stat(&fixture, "new").st_uid, ==, USER);
        g_assert_cmpint(make(opcodes[i / 2], "new", 0640, 0, O_RDONLY | O_EXCL, &tail), ==,
                        -EEXIST);
        host_remove("new");
        /* And without one. */
        tail.len = 0;
        g_assert_cmpint(make(opcodes[i / 2], "new", 0640, 0, O_WRONLY, &tail), ==, 0);
        host_check_label("new", name, NULL);
        host_remove("new");
    }
    fs_client_tear_down(&fixture);
}

/* Nothing is left that does not bear the label that it should. */
static void test_labels_refused(void)
{
    struct tail tail = {.len = 0};

    fs_xattr_set_up(&fixture,
                    &(struct fs_xattr_setup){.map = ":bad:all:security.ima:: "
                                                    ":unsupported:all:security.evm:: "
                                                    ":prefix:all:security.:nonsense.: :ok:all:::",
                                             .security_label = FS_ALWAYS});
    for (size_t i = 0; i < G_N_ELEMENTS(opcodes); i++) {
        tail.len = 0;
        tail_add_label(&tail, XATTR_NAME_SELINUX, "label");
        g_assert_cmpint(make(opcodes[i], "new", 0640, 0, O_RDWR, &tail), ==, -EOPNOTSUPP);
        g_assert_false(fs_client_host_has(&fixture, "new"));
        tail.len = 0;
        tail_add_label(&tail, "security.ima", "label");
        g_assert_cmpint(make(opcodes[i], "new", 0640, 0, O_RDWR, &tail), ==, -EPERM);
        g_assert_false(fs_client_host_has(&fixture, "new"));
        tail.len = 0;
        tail_add_label(&tail, "security.evm", "label");
        g_assert_cmpint(make(opcodes[i], "new", 0640, 0, O_RDWR, &tail), ==, -EOPNOTSUPP);
        g_assert_false(fs_client_host_has(&fixture, "new"));
    }
    fs_client_tear_down(&fixture);
}

static void test_hostile(void)
{
    static const struct {
        uint32_t size, type;
        size_t len;
        const char *bytes;
        int expected;
    } tails[] = {
        {0, 0, 0, NULL, -EINVAL},
        {7, 0, 0, NULL, -EINVAL},
        {16, 0, 0, NULL, -EINVAL},
        {UINT32_MAX, 0, 0, NULL, -EINVAL},
        {8, 0, 0, NULL, 0}, /* no label */
        {8, 1, 0, NULL, -EINVAL},
        {8, 32, 0, NULL, -EINVAL},
        {8, 33, 0, NULL, -EINVAL},
        {8, UINT32_MAX, 0, NULL, -EINVAL},
        {16, 0, 8, "\0\0\0\0\0\0\0\0", -EINVAL},                   /* more than is meant */
        {16, 1, 8, "\1\0\0\0\0\0\0\0", -EINVAL},                   /* no name */
        {24, 1, 16, "\1\0\0\0\0\0\0\0security", -EINVAL},          /* unterminated */
        {32, 1, 24, "\1\0\0\0\0\0\0\0security.abcdef", -EINVAL},   /* no label behind it */
        {32, 1, 24, "\2\0\0\0\0\0\0\0security.abcd\0xy", 0},       /* exact */
        {32, 1, 24, "\3\0\0\0\0\0\0\0security.abcd\0xy", -EINVAL}, /* longer than there is */
        {32, 1, 24, "\377\377\377\377\0\0\0\0security.abcd\0x", -EINVAL},
        {32, 1, 24, "\0\0\0\0\0\0\0\0security.abcd\0xy", -EINVAL}, /* empty */
        {32, 2, 24, "\2\0\0\0\0\0\0\0security.abcd\0xy", -EINVAL}, /* two of them */
        {32, 1, 24, "\2\0\0\0\0\0\0\0trusted.abcde\0xy", -EINVAL}, /* none */
        {40, 1, 32, "\2\0\0\0\0\0\0\0security.abcd\0xy\0\0\0\0\0\0\0\0", -EINVAL},
        {16, 32, 8, "\1\0\0\0\377\377\377\377", -EINVAL},
        {16, 32, 8, "\377\377\377\377\1\0\0\0", -EINVAL},
    };

    if (needs_root())
        return;
    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){.security_label = FS_ALWAYS});
    for (size_t i = 0; i < G_N_ELEMENTS(tails); i++) {
        for (size_t j = 0; j < G_N_ELEMENTS(opcodes); j++) {
            struct tail tail = {.is_uncounted = tails[i].len == 24 && i % 2};

            g_test_message("tail %zu, opcode %u", i, opcodes[j]);
            tail_add_header(&tail, tails[i].size, tails[i].type);
            tail_append(&tail, tails[i].bytes, tails[i].len);
            g_assert_cmpint(make(opcodes[j], "new", 0600, 0, O_RDWR, &tail), ==, tails[i].expected);
            g_assert_true(fs_client_host_has(&fixture, "new") == (tails[i].expected == 0));
            if (tails[i].expected == 0)
                host_remove("new");
        }
    }
    fs_client_tear_down(&fixture);
}

static void test_label_length(void)
{
    g_autofree char *label = g_strnfill(FS_LABEL_MAX + 1, 'l');
    struct tail tail = {.len = 0};

    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){.security_label = FS_ALWAYS});
    tail_add_label(&tail, XATTR_NAME_SELINUX, label);
    g_assert_cmpint(make(FUSE_MKDIR, "new", 0700, 0, 0, &tail), ==, -E2BIG);
    g_assert_false(fs_client_host_has(&fixture, "new"));
    fs_client_tear_down(&fixture);
}

/* Without --security-label, what follows a name is no label, and what is counted is not looked at.
 */
static void test_not_agreed(void)
{
    struct tail tail = {.len = 0};

    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){0});
    tail_add_label(&tail, XATTR_NAME_SELINUX, "label");
    for (size_t i = 0; i < G_N_ELEMENTS(opcodes); i++) {
        tail.is_uncounted = false;
        g_assert_cmpint(make(opcodes[i], "new", 0700, 0, 0, &tail), ==, -EINVAL);
        tail.is_uncounted = true;
        g_assert_cmpint(make(opcodes[i], "new", 0700, 0, 0, &tail), ==, -EINVAL);
        g_assert_false(fs_client_host_has(&fixture, "new"));
    }
    fs_client_tear_down(&fixture);
}

/* A host with SELinux, made believe: what a thread writes into its fscreate. */
static void test_fscreate(void)
{
    g_autofree char *tasks = g_dir_make_tmp("tasks-XXXXXX", NULL);
    g_autofree char *task = g_strdup_printf("%s/%ld", tasks, syscall(SYS_gettid));
    g_autofree char *attr = g_strdup_printf("%s/attr", task);
    g_autofree char *fscreate = g_strdup_printf("%s/fscreate", attr);
    g_autofree char *written = NULL;
    struct tail tail = {.len = 0};

    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){.security_label = FS_ALWAYS});
    fixture.share.label_tasks = open(tasks, O_PATH | O_DIRECTORY | O_CLOEXEC);
    tail_add_label(&tail, XATTR_NAME_SELINUX, "host_label");
    g_assert_cmpint(make(FUSE_CREATE, "new", 0600, 0, O_RDWR, &tail), ==, -ENOENT);
    g_assert_false(fs_client_host_has(&fixture, "new"));
    g_assert_cmpint(g_mkdir_with_parents(attr, 0700), ==, 0);
    g_assert_true(g_file_set_contents(fscreate, "", 0, NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(opcodes); i++) {
        g_assert_cmpint(make(opcodes[i], "new", 0600, 0, O_RDWR, &tail), ==, 0);
        host_check_label("new", XATTR_NAME_SELINUX, NULL); /* the kernel's to set */
        host_remove("new");
        g_assert_true(g_file_get_contents(fscreate, &written, NULL, NULL));
        g_assert_cmpstr(written, ==, "\nost_label"); /* set, then taken back */
        g_clear_pointer(&written, g_free);
        g_assert_true(g_file_set_contents(fscreate, "", 0, NULL));
    }
    g_assert_cmpint(remove(fscreate), ==, 0);
    g_assert_cmpint(rmdir(attr), ==, 0);
    g_assert_cmpint(rmdir(task), ==, 0);
    g_assert_cmpint(rmdir(tasks), ==, 0);
    fs_client_tear_down(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/creation/masks", test_masks);
    g_test_add_func("/creation/default-acl", test_default_acl);
    g_test_add_func("/creation/acl-off", test_acl_off);
    g_test_add_func("/creation/acl-setgid", test_acl_setgid);
    g_test_add_func("/creation/groups", test_groups);
    g_test_add_func("/creation/labels", test_labels);
    g_test_add_func("/creation/labels-refused", test_labels_refused);
    g_test_add_func("/creation/hostile", test_hostile);
    g_test_add_func("/creation/label-length", test_label_length);
    g_test_add_func("/creation/not-agreed", test_not_agreed);
    g_test_add_func("/creation/fscreate", test_fscreate);
    return g_test_run();
}
