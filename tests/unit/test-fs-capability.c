/* SPDX-License-Identifier: Apache-2.0 */
/* kill-privileges.c: what a file loses when it is written, cut or given away, and what it keeps;
 * capabilities that bear another name on the host included. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/capability.h>
#include <linux/xattr.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/unit/fs-xattr-client.h"

#define ROOT FUSE_ROOT_ID
#define USER 1000

static struct fs_fixture fixture;
static uint64_t nodeid, fh;
static char *path; /* the same file on the host */

/* One capability, as setcap would write it. */
static const struct vfs_cap_data capability = {
    .magic_etc = VFS_CAP_REVISION_2,
    .data[0].permitted = 1u << CAP_NET_RAW,
};

static void set_up(const char *map)
{
    fs_xattr_set_up(&fixture, &(struct fs_xattr_setup){.map = map});
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "file", O_RDWR, &nodeid, &fh), ==, 0);
    path = fs_client_path(&fixture, "file");
}

static void tear_down(void)
{
    g_assert_cmpint(fs_client_release(&fixture, nodeid, fh), ==, 0);
    fs_client_tear_down(&fixture);
    g_free(path);
}

static int set_attributes(struct fuse_setattr_in *in)
{
    struct fuse_attr_out out;
    struct fs_call call = {.opcode = FUSE_SETATTR,
                           .nodeid = nodeid,
                           .args = in,
                           .args_len = sizeof(*in),
                           .reply = &out,
                           .room = sizeof(out)};
    int ret = fs_client_call(&fixture, &call);

    return ret < 0 ? ret : 0;
}

/* --- ways to change a file; `kill` is what the guest says of a user without CAP_FSETID --- */

static void do_write(bool kill)
{
    struct fuse_write_in in = {
        .fh = fh, .size = 1, .write_flags = kill ? FUSE_WRITE_KILL_SUIDGID : 0};
    struct fuse_write_out out;
    struct fs_call call = {.opcode = FUSE_WRITE,
                           .args = &in,
                           .args_len = sizeof(in),
                           .data = "x",
                           .data_len = 1,
                           .reply = &out,
                           .room = sizeof(out)};

    g_assert_cmpint(fs_client_call(&fixture, &call), ==, sizeof(out));
}

static void do_truncate(bool kill)
{
    struct fuse_setattr_in in = {.valid = FATTR_SIZE | (kill ? FATTR_KILL_SUIDGID : 0)};

    g_assert_cmpint(set_attributes(&in), ==, 0);
}

static void do_truncate_open(bool kill)
{
    struct fuse_setattr_in in = {
        .valid = FATTR_SIZE | FATTR_FH | (kill ? FATTR_KILL_SUIDGID : 0), .fh = fh, .size = 10};

    g_assert_cmpint(set_attributes(&in), ==, 0);
}

static void do_open(int flags, bool kill)
{
    struct fuse_open_in in = {.flags = (uint32_t)flags,
                              .open_flags = kill ? FUSE_OPEN_KILL_SUIDGID : 0};
    struct fuse_open_out out;
    struct fs_call call = {.opcode = FUSE_OPEN,
                           .nodeid = nodeid,
                           .args = &in,
                           .args_len = sizeof(in),
                           .reply = &out,
                           .room = sizeof(out)};

    g_assert_cmpint(fs_client_call(&fixture, &call), ==, sizeof(out));
    g_assert_cmpint(fs_client_release(&fixture, nodeid, out.fh), ==, 0);
}

static void do_open_truncating(bool kill)
{
    do_open(O_WRONLY | O_TRUNC, kill);
}

static void do_create_existing(bool kill)
{
    struct fuse_create_in in = {.flags = O_WRONLY | O_CREAT | O_TRUNC,
                                .mode = 0644,
                                .open_flags = kill ? FUSE_OPEN_KILL_SUIDGID : 0};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;
    struct fs_call call = {.opcode = FUSE_CREATE,
                           .nodeid = ROOT,
                           .args = &in,
                           .args_len = sizeof(in),
                           .name = "file",
                           .reply = &out,
                           .room = sizeof(out)};

    g_assert_cmpint(fs_client_call(&fixture, &call), ==, sizeof(out));
    g_assert_cmpint(fs_client_release(&fixture, nodeid, out.open.fh), ==, 0);
    fs_client_forget(&fixture, nodeid, 1);
}

/* The two that have no flag: the guest's user counts. */
static void do_fallocate(bool kill)
{
    struct fuse_fallocate_in in = {.fh = fh, .length = 4096};
    struct fs_call call = {.opcode = FUSE_FALLOCATE,
                           .nodeid = nodeid,
                           .uid = kill ? USER : 0,
                           .args = &in,
                           .args_len = sizeof(in)};

    g_assert_cmpint(fs_client_call(&fixture, &call), ==, 0);
}

static void do_copy(bool kill)
{
    struct fuse_copy_file_range_in in = {
        .fh_in = fh, .fh_out = fh, .nodeid_out = nodeid, .off_out = 8192, .len = 1};
    struct fuse_write_out out;
    struct fs_call call = {.opcode = FUSE_COPY_FILE_RANGE,
                           .nodeid = nodeid,
                           .uid = kill ? USER : 0,
                           .args = &in,
                           .args_len = sizeof(in),
                           .reply = &out,
                           .room = sizeof(out)};

    do_write(kill);
    g_assert_cmpint(fs_client_call(&fixture, &call), ==, sizeof(out));
}

static const struct {
    const char *name;
    void (*call)(bool kill);
} changes[] = {
    {"write", do_write},
    {"truncate", do_truncate},
    {"truncate by handle", do_truncate_open},
    {"open", do_open_truncating},
    {"create", do_create_existing},
    {"fallocate", do_fallocate},
    {"copy", do_copy},
};

static mode_t mode_after(void (*call)(bool kill), mode_t mode, bool kill)
{
    struct stat st;

    g_assert_cmpint(chmod(path, mode), ==, 0);
    call(kill);
    g_assert_cmpint(stat(path, &st), ==, 0);
    return st.st_mode & 07777;
}

static void test_bits(void)
{
    if (geteuid() != 0) {
        g_test_skip("needs root");
        return;
    }
    set_up(NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_test_message("%s", changes[i].name);
        g_assert_cmpint(mode_after(changes[i].call, 06755, true), ==, 0755);
        g_assert_cmpint(mode_after(changes[i].call, 04600, true), ==, 0600);
        g_assert_cmpint(mode_after(changes[i].call, 02710, true), ==, 0710);
        /* That means something else than the group's rights. */
        g_assert_cmpint(mode_after(changes[i].call, 02700, true), ==, 02700);
        /* And root, or who has CAP_FSETID in the guest, keeps them. */
        g_assert_cmpint(mode_after(changes[i].call, 06755, false), ==, 06755);
    }
    tear_down();
}

static void test_chown_bits(void)
{
    struct fuse_setattr_in in = {.valid = FATTR_UID | FATTR_GID, .uid = USER, .gid = USER};
    struct stat st;

    if (geteuid() != 0) {
        g_test_skip("needs root");
        return;
    }
    set_up(NULL);
    g_assert_cmpint(chmod(path, 06755), ==, 0);
    g_assert_cmpint(set_attributes(&in), ==, 0);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 07777, ==, 0755);
    tear_down();
}

static bool has_capability(void)
{
    char value[64];

    return fs_xattr_get_value(&fixture, nodeid, XATTR_NAME_CAPS, value, sizeof(value)) ==
           sizeof(capability);
}

static void give_capability(void)
{
    g_assert_cmpint(
        fs_xattr_set_value(&fixture, nodeid, XATTR_NAME_CAPS, &capability, sizeof(capability), 0),
        ==, 0);
    g_assert_true(has_capability());
}

/* Gives the file away, by whom it is open. */
static void give_away(void)
{
    struct fuse_setattr_in in = {.valid = FATTR_UID | FATTR_GID | FATTR_FH | FATTR_KILL_SUIDGID,
                                 .fh = fh,
                                 .uid = USER,
                                 .gid = USER};

    g_assert_cmpint(set_attributes(&in), ==, 0);
}

/* A file on its way into a directory: as overlayfs makes one, owner last. */
static void test_unnamed(void)
{
    char link_path[64], value[64];
    struct stat st;

    if (geteuid() != 0) {
        g_test_skip("needs root");
        return;
    }
    for (int mapped = 0; mapped < 2; mapped++) {
        int fd;

        set_up(mapped ? ":map::user.virtiofs.:" : NULL);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        g_assert_cmpint(fd, >=, 0);
        g_snprintf(link_path, sizeof(link_path), "/proc/self/fd/%d", fd);
        give_capability();
        g_assert_cmpint(chmod(path, 06755), ==, 0);
        g_assert_cmpint(unlink(path), ==, 0);
        give_away();
        g_assert_cmpint(fstat(fd, &st), ==, 0);
        g_assert_cmpint(st.st_mode & 07777, ==, 06755);
        g_assert_cmpuint(st.st_uid, ==, USER);
        g_assert_cmpint(getxattr(link_path,
                                 mapped ? "user.virtiofs.security.capability" : XATTR_NAME_CAPS,
                                 value, sizeof(value)),
                        ==, sizeof(capability));
        close(fd);
        tear_down();
    }
}

/* A guest that takes privileges away by itself says so by the mode it sets, and by REMOVEXATTR. */
static void test_guest_kills(void)
{
    struct fuse_setattr_in in = {.valid = FATTR_UID, .uid = USER};
    struct stat st;

    if (geteuid() != 0) {
        g_test_skip("needs root");
        return;
    }
    set_up(NULL);
    fixture.share.negotiated.flags &= ~(uint64_t)FUSE_HANDLE_KILLPRIV_V2;
    give_capability();
    g_assert_cmpint(chmod(path, 04755), ==, 0);
    g_assert_cmpint(set_attributes(&in), ==, 0);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 07777, ==, 04755);
    g_assert_true(has_capability());
    in.valid |= FATTR_MODE;
    in.mode = 0755;
    g_assert_cmpint(set_attributes(&in), ==, 0);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 07777, ==, 0755);
    tear_down();
}

/* The guest is not told of the bits that a write takes away, so it must not keep them. */
static void test_kept(void)
{
    struct fuse_getattr_in in = {0};
    struct fuse_attr_out out;
    struct fs_call call = {.opcode = FUSE_GETATTR,
                           .args = &in,
                           .args_len = sizeof(in),
                           .reply = &out,
                           .room = sizeof(out)};
    struct fuse_entry_out entry;

    set_up(NULL);
    call.nodeid = nodeid;
    for (int with = 0; with < 2; with++) {
        g_assert_cmpint(chmod(path, with ? 04755 : 0755), ==, 0);
        g_assert_cmpint(fs_client_call(&fixture, &call), ==, sizeof(out));
        g_assert_cmpuint(out.attr_valid, ==, with ? 0 : 1);
        g_assert_cmpint(fs_client_lookup(&fixture, ROOT, "file", &entry), ==, 0);
        g_assert_cmpuint(entry.attr_valid, ==, with ? 0 : 1);
        g_assert_cmpuint(entry.entry_valid, ==, 1);
    }
    tear_down();
}

/* Whoever writes: capabilities go in any case, as they do on a local file system. */
static void try_changes(void)
{
    struct fuse_setattr_in owner = {.valid = FATTR_GID, .gid = (uint32_t)getegid()};

    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++)
        for (int kill = 0; kill < 2; kill++) {
            g_test_message("%s", changes[i].name);
            give_capability();
            changes[i].call(kill);
            g_assert_false(has_capability());
        }
    give_capability();
    g_assert_cmpint(set_attributes(&owner), ==, 0);
    g_assert_false(has_capability());
    give_capability();
    owner = (struct fuse_setattr_in){
        .valid = FATTR_GID | FATTR_FH, .fh = fh, .gid = (uint32_t)getegid()};
    g_assert_cmpint(set_attributes(&owner), ==, 0);
    g_assert_false(has_capability());
}

/* What changes neither data nor owner. */
static void try_others(void)
{
    struct fuse_setattr_in times = {.valid = FATTR_MTIME | FATTR_ATIME, .mtime = 1, .atime = 1};
    struct fuse_setattr_in mode = {.valid = FATTR_MODE, .mode = 0755};
    char data[8];

    give_capability();
    g_assert_cmpint(fs_client_read(&fixture, fh, 0, data, sizeof(data)), >=, 0);
    g_assert_cmpint(set_attributes(&times), ==, 0);
    g_assert_cmpint(set_attributes(&mode), ==, 0);
    do_open(O_RDWR, true);
    g_assert_cmpint(fs_xattr_set_value(&fixture, nodeid, "user.other", "x", 1, 0), ==, 0);
    g_assert_true(has_capability());
}

static void test_own_name(void)
{
    if (geteuid() != 0) {
        g_test_skip("needs root");
        return;
    }
    set_up(NULL);
    g_assert_null(fixture.share.capability_name);
    try_changes();
    try_others();
    g_assert_cmpint(getxattr(path, XATTR_NAME_CAPS, NULL, 0), ==, sizeof(capability));
    tear_down();
}

static void test_mapped_name(void)
{
    set_up(":map::user.virtiofs.:");
    g_assert_cmpstr(fixture.share.capability_name, ==, "user.virtiofs.security.capability");
    try_changes();
    try_others();
    g_assert_cmpint(getxattr(path, "user.virtiofs.security.capability", NULL, 0), ==,
                    sizeof(capability));
    tear_down();
}

static void test_refused_name(void)
{
    set_up(":bad:client:security.:: :ok:all:::");
    g_assert_null(fixture.share.capability_name);
    tear_down();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fs-capability/bits", test_bits);
    g_test_add_func("/fs-capability/chown-bits", test_chown_bits);
    g_test_add_func("/fs-capability/unnamed", test_unnamed);
    g_test_add_func("/fs-capability/guest-kills", test_guest_kills);
    g_test_add_func("/fs-capability/kept", test_kept);
    g_test_add_func("/fs-capability/own-name", test_own_name);
    g_test_add_func("/fs-capability/mapped-name", test_mapped_name);
    g_test_add_func("/fs-capability/refused-name", test_refused_name);
    return g_test_run();
}
