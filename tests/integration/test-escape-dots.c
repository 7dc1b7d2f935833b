/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways up: `.` and `..` where the guest makes file handles of its own (EXPORT_SUPPORT), in
 * listings, and names where the wire has room for more than a name.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs-guest.h"
#include "virtiofsd/fuse-wire.h"

/* --- lookups --- */

/* The one operation that knows dots is LOOKUP, and it leads no higher than the share. */
static void test_lookup(struct fs_guest *guest)
{
    g_autofree char *here = fs_guest_path(guest, "folder");
    g_autofree char *there = fs_guest_outside_path(guest, "moved");
    const struct fuse_mkdir_in mkdir_in = {.mode = 0755};
    const struct fuse_rename_in rename_in = {.newdir = FUSE_ROOT_ID};
    struct fuse_entry_out folder, sub, file, entry;
    int ret;

    g_assert_cmpint(fs_guest_init_with(guest, FUSE_EXPORT_SUPPORT), ==, 0);
    fs_guest_make_folder(guest, "folder");
    fs_guest_make_folder(guest, "folder/sub");
    fs_guest_write_file(guest, "folder/file", "inside\n");
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "..", &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, ==, FUSE_ROOT_ID);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "folder", &folder), ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, folder.nodeid, "sub", &sub), ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, folder.nodeid, "file", &file), ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, sub.nodeid, "..", &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, ==, folder.nodeid);
    g_assert_cmpint(fs_guest_lookup(guest, folder.nodeid, "..", &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, ==, FUSE_ROOT_ID);
    g_assert_cmpint(fs_guest_lookup(guest, file.nodeid, "..", &entry), ==, -ENOTDIR);
    for (unsigned i = 0; i < 3; i++) {
        const char *const names[] = {"../..", "..", "."};

        if (i == 0)
            g_assert_cmpint(fs_guest_lookup(guest, sub.nodeid, names[i], &entry), ==, -EINVAL);
        g_assert_cmpint(fs_guest_make(guest, FUSE_MKDIR, sub.nodeid, &mkdir_in, sizeof(mkdir_in),
                                      names[i], NULL, &entry),
                        ==, -EINVAL);
        g_assert_cmpint(fs_guest_make(guest, FUSE_RMDIR, sub.nodeid, NULL, 0, names[i], NULL, NULL),
                        ==, -EINVAL);
        g_assert_cmpint(fs_guest_make(guest, FUSE_RENAME, sub.nodeid, &rename_in, sizeof(rename_in),
                                      names[i], "taken", NULL),
                        ==, -EINVAL);
    }

    g_assert_cmpint(rename(here, there), ==, 0);
    /* Of a mount of its own the kernel knows that the folder has left it. */
    ret = fs_guest_lookup(guest, folder.nodeid, "..", &entry);
    g_assert_true(ret == -ESTALE || ret == -ENOENT);
    ret = fs_guest_lookup(guest, sub.nodeid, "..", &entry);
    g_assert_true(ret == -ESTALE || ret == -ENOENT);
    g_assert_cmpint(fs_guest_lookup(guest, folder.nodeid, ".", &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, ==, folder.nodeid);
    g_assert_cmpint(rename(there, here), ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, sub.nodeid, "..", &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, ==, folder.nodeid);
}

/* --- listings --- */

/* Looks at each entry of READDIRPLUS. How many there are; of dots nothing is told. */
static unsigned check_listing(struct fs_guest *guest, uint64_t fh)
{
    char list[4096];
    int len = fs_guest_read(guest, FUSE_READDIRPLUS, fh, list, sizeof(list));
    unsigned n = 0;

    g_assert_cmpint(len, >, 0);
    for (size_t at = 0; at < (size_t)len; n++) {
        const struct fuse_direntplus *plus = (const void *)(list + at);
        const char *name = plus->dirent.name;
        size_t name_len = plus->dirent.namelen;

        g_assert_cmpuint(at + FUSE_NAME_OFFSET_DIRENTPLUS + name_len, <=, (size_t)len);
        g_assert_null(memchr(name, '/', name_len));
        if (name[0] == '.')
            g_assert_cmpuint(plus->entry_out.nodeid | plus->entry_out.attr.ino, ==, 0);
        else
            g_assert_cmphex(plus->entry_out.attr.mode >> 12, ==, plus->dirent.type);
        at += FUSE_DIRENTPLUS_SIZE(plus);
    }
    return n;
}

static void test_listing(struct fs_guest *guest)
{
    g_autofree char *secret = fs_guest_outside_path(guest, "secret");
    g_autofree char *link = fs_guest_path(guest, "folder/link");
    g_autofree char *fifo = fs_guest_path(guest, "folder/fifo");
    g_autofree char *here = fs_guest_path(guest, "folder");
    g_autofree char *there = fs_guest_outside_path(guest, "moved");
    struct fuse_entry_out folder;
    uint64_t fh;

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_make_folder(guest, "folder");
    fs_guest_make_folder(guest, "folder/sub");
    g_assert_cmpint(symlink(secret, link), ==, 0);
    g_assert_cmpint(mkfifo(fifo, 0666), ==, 0);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPENDIR, FUSE_ROOT_ID, O_RDONLY, &fh), ==, 0);
    g_assert_cmpuint(check_listing(guest, fh), ==, 3);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "folder", &folder), ==, 0);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPENDIR, folder.nodeid, O_RDONLY, &fh), ==, 0);
    g_assert_cmpint(rename(here, there), ==, 0);
    g_assert_cmpuint(check_listing(guest, fh), ==, 5);
    g_assert_cmpint(rename(there, here), ==, 0);
}

/* --- more than a name --- */

/* CREATE, MKDIR and the like with bytes behind the name, of which the header counts n_ext * 8 as
 * extensions. The errno. */
static int create_extended(struct fs_guest *guest, uint32_t opcode, const char *name,
                           const void *extension, size_t extension_len, uint16_t n_ext)
{
    const struct fuse_create_in create = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0644};
    const struct fuse_mkdir_in folder = {.mode = 0755};
    const void *args = opcode == FUSE_MKDIR ? (const void *)&folder : &create;
    size_t args_len = opcode == FUSE_MKDIR ? sizeof(folder) : sizeof(create), at;
    struct fuse_in_header header = {.opcode = opcode,
                                    .unique = 5,
                                    .nodeid = FUSE_ROOT_ID,
                                    .uid = guest->mode->uid,
                                    .gid = guest->mode->uid,
                                    .total_extlen = n_ext};
    struct fuse_out_header reply;

    at = sizeof(header);
    memcpy(guest->out + at, args, args_len);
    at += args_len;
    memcpy(guest->out + at, name, strlen(name) + 1);
    at += strlen(name) + 1;
    memcpy(guest->out + at, extension, extension_len);
    at += extension_len;
    header.len = (uint32_t)at;
    memcpy(guest->out, &header, sizeof(header));
    g_assert_cmpuint(fs_guest_send(guest, header.len, 1024), >=, sizeof(reply));
    memcpy(&reply, guest->in, sizeof(reply));
    return reply.error;
}

/* Extensions that are sound and names that are not, and the other way round. */
static void test_extensions(struct fs_guest *guest)
{
    static const uint32_t opcodes[] = {FUSE_CREATE, FUSE_MKDIR};
    static const char *const bad_names[] = {"", ".", "..", "../secret", "/etc/passwd", "a/b"};
    const uint32_t group[] = {16, FS_EXT_GROUPS, 1, guest->mode->uid};
    const uint32_t wrong[][4] = {
        {17, FS_EXT_GROUPS, 1, 0},         /* longer than all of it */
        {UINT32_MAX, FS_EXT_GROUPS, 1, 0}, /* by far */
        {7, FS_EXT_GROUPS, 1, 0},          /* shorter than its own head */
        {0, FS_EXT_GROUPS, 1, 0},          /* for ever */
        {16, FS_EXT_GROUPS, UINT32_MAX, 0},
        {16, FS_EXT_GROUPS, 2, 0},
        {16, 12345, 1, 0},
        {16, 1, 1, 0}, /* a label: not agreed on */
    };
    struct fuse_entry_out entry;

    g_assert_cmpint(fs_guest_init_with(guest, FUSE_CREATE_SUPP_GROUP), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(opcodes); i++) {
        for (size_t k = 0; k < G_N_ELEMENTS(bad_names); k++)
            g_assert_cmpint(
                create_extended(guest, opcodes[i], bad_names[k], group, sizeof(group), 2), ==,
                -EINVAL);
        for (size_t k = 0; k < G_N_ELEMENTS(wrong); k++)
            g_assert_cmpint(create_extended(guest, opcodes[i], "new", wrong[k], sizeof(group), 2),
                            ==, -EINVAL);
        /* The count covers half of it, reaches into the name, or far beyond. */
        g_assert_cmpint(create_extended(guest, opcodes[i], "new", group, sizeof(group), 1), ==,
                        -EINVAL);
        g_assert_cmpint(create_extended(guest, opcodes[i], "new", group, sizeof(group), 3), ==,
                        -EINVAL);
        g_assert_cmpint(create_extended(guest, opcodes[i], "new", group, sizeof(group), UINT16_MAX),
                        ==, -EINVAL);
        g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "new", &entry), ==, -ENOENT);
    }
    g_assert_cmpint(create_extended(guest, FUSE_CREATE, "new", group, sizeof(group), 2), ==, 0);
}

/* The name of a file that has none is nobody's business. */
static void test_tmpfile(struct fs_guest *guest)
{
    static const char *const names[] = {"/", "", "..", "../stolen", "/tmp/stolen", "file"};
    g_autofree char *outside = fs_guest_outside_path(guest, "stolen");
    const struct fuse_create_in in = {.flags = O_RDWR, .mode = S_IFREG | 0644};
    char reply[512];

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_write_file(guest, "file", "inside\n");
    guest->uid = guest->mode->uid;
    for (size_t i = 0; i <= G_N_ELEMENTS(names); i++) {
        const char *name = i < G_N_ELEMENTS(names) ? names[i] : outside;
        const struct fs_guest_call call = {.opcode = FUSE_TMPFILE,
                                           .nodeid = FUSE_ROOT_ID,
                                           .args = &in,
                                           .args_len = sizeof(in),
                                           .names = name,
                                           .names_len = strlen(name) + 1,
                                           .reply = reply,
                                           .room = sizeof(reply)};
        int ret = fs_guest_call(guest, &call);

        g_assert_true(ret > 0 || ret == -EOPNOTSUPP || ret == -EINVAL);
        g_assert_cmpint(access(outside, F_OK), ==, -1);
        g_assert_cmpint(access("/tmp/stolen", F_OK), ==, -1);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fs_guest_add("escape-dots/lookup", test_lookup);
    fs_guest_add("escape-dots/listing", test_listing);
    fs_guest_add("escape-dots/extensions", test_extensions);
    fs_guest_add("escape-dots/tmpfile", test_tmpfile);
    return g_test_run();
}
