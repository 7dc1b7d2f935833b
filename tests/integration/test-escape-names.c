/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, links and special files in the hands of a hostile guest: what leads out of a directory is
 * refused in every operation that takes a name, links are never followed, and nothing but regular
 * files and directories is ever opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "fs-guest.h"

/* Operations with names, and what else they take. */
static const struct named_operation {
    uint32_t opcode;
    union {
        struct fuse_mknod_in mknod;
        struct fuse_mkdir_in mkdir;
        struct fuse_rename_in rename;
        struct fuse_rename2_in rename2;
        struct fuse_link_in link;
        struct fuse_create_in create;
    } args;
    size_t args_len;
    bool two;             /* names: each is tried while the other is good */
    const char *good_too; /* a fixed second name */
} named_operations[] = {
    {FUSE_LOOKUP, {{0}}, 0, false, NULL},
    {FUSE_MKNOD, {.mknod = {.mode = S_IFREG | 0666}}, sizeof(struct fuse_mknod_in), false, NULL},
    {FUSE_MKDIR, {.mkdir = {.mode = 0777}}, sizeof(struct fuse_mkdir_in), false, NULL},
    {FUSE_SYMLINK, {{0}}, 0, false, "target"},
    {FUSE_UNLINK, {{0}}, 0, false, NULL},
    {FUSE_RMDIR, {{0}}, 0, false, NULL},
    {FUSE_RENAME, {.rename = {.newdir = FUSE_ROOT_ID}}, sizeof(struct fuse_rename_in), true, NULL},
    {FUSE_RENAME2,
     {.rename2 = {.newdir = FUSE_ROOT_ID}},
     sizeof(struct fuse_rename2_in),
     true,
     NULL},
    {FUSE_LINK, {.link = {.oldnodeid = 0}}, sizeof(struct fuse_link_in), false, NULL},
    {FUSE_CREATE,
     {.create = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0666}},
     sizeof(struct fuse_create_in),
     false,
     NULL},
};

static void try_name(struct fs_guest *guest, const struct named_operation *operation,
                     const char *name, const char *name2, int expected)
{
    char names[4 * PATH_MAX], reply[512];
    char *end = stpcpy(names, name) + 1;
    struct fs_guest_call call = {.opcode = operation->opcode,
                                 .nodeid = FUSE_ROOT_ID,
                                 .args = &operation->args,
                                 .args_len = operation->args_len,
                                 .names = names,
                                 .reply = reply,
                                 .room = sizeof(reply)};
    struct fuse_entry_out file;
    int ret;

    if (name2)
        end = stpcpy(end, name2) + 1;
    call.names_len = (size_t)(end - names);
    if (operation->opcode == FUSE_LINK) {
        struct fuse_link_in in;

        g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "file", &file), ==, 0);
        in.oldnodeid = file.nodeid;
        call.args = &in;
        ret = fs_guest_call(guest, &call);
    } else {
        ret = fs_guest_call(guest, &call);
    }
    if (ret != expected)
        g_error("opcode %u of \"%s\", \"%s\": %d", operation->opcode, name, name2 ? name2 : "",
                ret);
}

static void test_names(struct fs_guest *guest)
{
    static const char *const bad[] = {"",         ".",      "..",        "/",           "//",
                                      "a/b",      "file/",  "../secret", "/etc/passwd", "./file",
                                      "../../..", "file/.."};
    g_autofree char *absolute = fs_guest_outside_path(guest, "secret");
    g_autofree char *too_long = g_strnfill(NAME_MAX + 1, 'n');

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_write_file(guest, "file", "inside\n");
    for (size_t i = 0; i < G_N_ELEMENTS(named_operations); i++) {
        const struct named_operation *operation = &named_operations[i];

        for (size_t k = 0; k <= G_N_ELEMENTS(bad); k++) {
            const char *name = k < G_N_ELEMENTS(bad) ? bad[k] : absolute;

            try_name(guest, operation, name, operation->two ? "fine" : operation->good_too,
                     -EINVAL);
            if (operation->two)
                try_name(guest, operation, "file", name, -EINVAL);
        }
        try_name(guest, operation, too_long, operation->two ? "fine" : operation->good_too,
                 -ENAMETOOLONG);
    }
}

/* --- links --- */

static void host_link(const struct fs_guest *guest, const char *target, const char *name)
{
    g_autofree char *path = fs_guest_path(guest, name);

    g_assert_cmpint(symlink(target, path), ==, 0);
    if (guest->mode->uid != 0)
        g_assert_cmpint(lchown(path, guest->mode->uid, guest->mode->uid), ==, 0);
}

static int set_attributes(struct fs_guest *guest, uint64_t nodeid, const struct fuse_setattr_in *in)
{
    struct fuse_attr_out out;
    const struct fs_guest_call call = {.opcode = FUSE_SETATTR,
                                       .nodeid = nodeid,
                                       .args = in,
                                       .args_len = sizeof(*in),
                                       .reply = &out,
                                       .room = sizeof(out)};
    int ret = fs_guest_call(guest, &call);

    return ret < 0 ? ret : 0;
}

/* Whatever a guest does with a link is done to the link. */
static void try_link(struct fs_guest *guest, const char *name, const char *target)
{
    struct fuse_setattr_in size = {.valid = FATTR_SIZE}, mode = {.valid = FATTR_MODE, .mode = 0777};
    struct fuse_setattr_in times = {.valid = FATTR_MTIME, .mtime = 1};
    struct fuse_mkdir_in mkdir_in = {.mode = 0777};
    struct fuse_link_in link_in;
    struct fuse_entry_out link, below;
    char text[PATH_MAX];
    const struct fs_guest_call readlink_call = {
        .opcode = FUSE_READLINK, .reply = text, .room = sizeof(text)};
    struct fs_guest_call call = readlink_call;
    uint64_t fh;
    int ret;

    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, name, &link), ==, 0);
    g_assert_cmphex(link.attr.mode & S_IFMT, ==, S_IFLNK);
    call.nodeid = link_in.oldnodeid = link.nodeid;
    ret = fs_guest_call(guest, &call);
    g_assert_cmpint(ret, ==, (int)strlen(target));
    g_assert_cmpint(memcmp(text, target, strlen(target)), ==, 0);

    g_assert_cmpint(fs_guest_open(guest, FUSE_OPEN, link.nodeid, O_RDONLY, &fh), ==, -ELOOP);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPEN, link.nodeid, O_RDWR | O_TRUNC, &fh), ==,
                    -ELOOP);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPENDIR, link.nodeid, O_RDONLY, &fh), ==, -ENOTDIR);
    g_assert_cmpint(fs_guest_lookup(guest, link.nodeid, "secret", &below), ==, -ENOTDIR);
    g_assert_cmpint(fs_guest_create(guest, link.nodeid, "new", O_RDWR, &below, &fh), ==, -ENOTDIR);
    g_assert_cmpint(fs_guest_make(guest, FUSE_MKDIR, link.nodeid, &mkdir_in, sizeof(mkdir_in),
                                  "new", NULL, &below),
                    ==, -ENOTDIR);
    g_assert_cmpint(fs_guest_make(guest, FUSE_UNLINK, link.nodeid, NULL, 0, "secret", NULL, NULL),
                    ==, -ENOTDIR);
    /* Neither followed nor opened; the guest has to look again. */
    g_assert_cmpint(fs_guest_create(guest, FUSE_ROOT_ID, name, O_RDWR | O_TRUNC, &below, &fh), ==,
                    -ESTALE);
    g_assert_cmpint(fs_guest_create(guest, FUSE_ROOT_ID, name, O_RDWR | O_EXCL, &below, &fh), ==,
                    -EEXIST);
    g_assert_cmpint(set_attributes(guest, link.nodeid, &size), ==, -ELOOP);
    g_assert_cmpint(set_attributes(guest, link.nodeid, &mode), ==, -EOPNOTSUPP);
    g_assert_cmpint(set_attributes(guest, link.nodeid, &times), ==, 0);
    g_assert_cmpint(fs_guest_make(guest, FUSE_LINK, FUSE_ROOT_ID, &link_in, sizeof(link_in),
                                  "again", NULL, &below),
                    ==, 0);
    g_assert_cmphex(below.attr.mode & S_IFMT, ==, S_IFLNK);
    g_assert_cmpuint(below.attr.ino, ==, link.attr.ino);
    g_assert_cmpint(fs_guest_make(guest, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, "again", NULL, NULL),
                    ==, 0);
    g_assert_cmpint(fs_guest_make(guest, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, name, NULL, NULL), ==,
                    0);
}

static void test_links(struct fs_guest *guest)
{
    g_autofree char *absolute = fs_guest_outside_path(guest, "secret");
    const char *const targets[] = {absolute, guest->outside,    "../outside/secret", "../outside",
                                   "..",     "/proc/self/root", "/proc/self/fd/0",   "nowhere"};
    struct fuse_entry_out entry;

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(targets); i++) {
        /* Made by the host, and by the guest: stored as it was given. */
        host_link(guest, targets[i], "link");
        try_link(guest, "link", targets[i]);
        g_assert_cmpint(
            fs_guest_make(guest, FUSE_SYMLINK, FUSE_ROOT_ID, NULL, 0, "link", targets[i], &entry),
            ==, 0);
        try_link(guest, "link", targets[i]);
    }
}

/* --- special files --- */

static void try_special(struct fs_guest *guest, const char *name, mode_t type)
{
    struct fuse_setattr_in size = {.valid = FATTR_SIZE};
    struct fuse_entry_out entry, again;
    uint64_t fh;

    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, name, &entry), ==, 0);
    g_assert_cmphex(entry.attr.mode & S_IFMT, ==, type);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPEN, entry.nodeid, O_RDONLY, &fh), ==, -EOPNOTSUPP);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPEN, entry.nodeid, O_RDWR, &fh), ==, -EOPNOTSUPP);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPENDIR, entry.nodeid, O_RDONLY, &fh), ==, -ENOTDIR);
    g_assert_cmpint(set_attributes(guest, entry.nodeid, &size), ==, -EOPNOTSUPP);
    g_assert_cmpint(fs_guest_create(guest, FUSE_ROOT_ID, name, O_RDWR, &again, &fh), ==, -ESTALE);
}

static void test_special(struct fs_guest *guest)
{
    struct fuse_mknod_in fifo = {.mode = S_IFIFO | 0666};
    struct fuse_mknod_in device = {.mode = S_IFCHR | 0666, .rdev = (uint32_t)makedev(1, 3)};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *path = fs_guest_path(guest, "fifo"), *socket_path = fs_guest_path(guest, "s");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;
    struct fuse_entry_out entry;

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    g_assert_cmpint(mkfifo(path, 0666), ==, 0);
    try_special(guest, "fifo", S_IFIFO);
    g_strlcpy(address.sun_path, socket_path, sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (const struct sockaddr *)&address, sizeof(address)), ==, 0);
    try_special(guest, "s", S_IFSOCK);
    close(fd);
    g_assert_cmpint(
        fs_guest_make(guest, FUSE_MKNOD, FUSE_ROOT_ID, &fifo, sizeof(fifo), "f2", NULL, &entry), ==,
        0);
    try_special(guest, "f2", S_IFIFO);
    ret = fs_guest_make(guest, FUSE_MKNOD, FUSE_ROOT_ID, &device, sizeof(device), "null", NULL,
                        &entry);
    if (guest->mode->uid != 0 || geteuid() != 0)
        g_assert_cmpint(ret, ==, -EPERM);
    if (ret == 0)
        try_special(guest, "null", S_IFCHR);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fs_guest_add("escape/names", test_names);
    fs_guest_add("escape/links", test_links);
    fs_guest_add("escape/special-files", test_special);
    return g_test_run();
}
