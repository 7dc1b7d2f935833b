/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every operation that the daemon knows, each to its end, with all that can be switched on, while a
 * system call outside the filter kills it (--seccomp=kill) and in each sandbox.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/stat.h>

#include "fs-guest.h"
#include "virtiofsd/fuse-wire.h"

#define ALL_OPTIONS "--seccomp=kill --xattr --posix-acl=auto --posix-lock --flock"
#define ALL_FLAGS                                                                         \
    ((uint64_t)FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_POSIX_ACL | FUSE_SETXATTR_EXT | \
     FUSE_EXPORT_SUPPORT | FUSE_HANDLE_KILLPRIV_V2 | FUSE_CREATE_SUPP_GROUP | FUSE_DONT_MASK)
#define ALL_OPCODES 64

static bool seen[ALL_OPCODES];
static struct fs_guest *guest;
static char reply[4096];

/* Bytes of the answer, in `reply`. Where the file system cannot do it, 0. */
static int run(uint32_t opcode, uint64_t nodeid, const void *args, size_t args_len,
               const char *names, size_t names_len, size_t room)
{
    const struct fs_guest_call call = {.opcode = opcode,
                                       .nodeid = nodeid,
                                       .args = args,
                                       .args_len = args_len,
                                       .names = names,
                                       .names_len = names_len,
                                       .reply = reply,
                                       .room = room};
    int ret = fs_guest_call(guest, &call);

    seen[opcode] = true;
    if (ret < 0 && ret != -EOPNOTSUPP && ret != -ENOTTY)
        g_error("opcode %u: %s", opcode, g_strerror(-ret));
    return MAX(ret, 0);
}

/* A literal, with its NUL and those inside. */
#define NAMES(text) text, sizeof(text)

static uint64_t make(uint32_t opcode, const void *args, size_t args_len, const char *names,
                     size_t names_len)
{
    struct fuse_entry_out entry;

    g_assert_cmpint(run(opcode, FUSE_ROOT_ID, args, args_len, names, names_len, sizeof(entry)), ==,
                    sizeof(entry));
    memcpy(&entry, reply, sizeof(entry));
    return entry.nodeid;
}

static uint64_t open_handle(uint32_t opcode, uint64_t nodeid, uint32_t flags)
{
    const struct fuse_open_in in = {.flags = flags};
    struct fuse_open_out out;

    g_assert_cmpint(run(opcode, nodeid, &in, sizeof(in), NULL, 0, sizeof(out)), ==, sizeof(out));
    memcpy(&out, reply, sizeof(out));
    return out.fh;
}

static void run_names(void)
{
    const struct fuse_mknod_in fifo = {.mode = S_IFIFO | 0644};
    const struct fuse_mkdir_in folder = {.mode = 0755};
    const struct fuse_rename_in rename = {.newdir = FUSE_ROOT_ID};
    const struct fuse_rename2_in exchange = {.newdir = FUSE_ROOT_ID, .flags = 2};
    struct fuse_link_in link_in;
    uint64_t nodeid = make(FUSE_SYMLINK, NULL, 0, NAMES("link\0target"));

    g_assert_cmpint(run(FUSE_READLINK, nodeid, NULL, 0, NULL, 0, 100), ==, 6);
    link_in.oldnodeid = make(FUSE_MKNOD, &fifo, sizeof(fifo), NAMES("fifo"));
    make(FUSE_LINK, &link_in, sizeof(link_in), NAMES("again"));
    make(FUSE_MKDIR, &folder, sizeof(folder), NAMES("folder"));
    run(FUSE_RENAME, FUSE_ROOT_ID, &rename, sizeof(rename), NAMES("again\0other"), 0);
    run(FUSE_RENAME2, FUSE_ROOT_ID, &exchange, sizeof(exchange), NAMES("other\0folder"), 0);
    run(FUSE_RMDIR, FUSE_ROOT_ID, NULL, 0, NAMES("other"), 0);
    run(FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, NAMES("folder"), 0);
    make(FUSE_LOOKUP, NULL, 0, NAMES("fifo"));
    make(FUSE_LOOKUP, NULL, 0, NAMES(".."));
}

static void run_attributes(uint64_t nodeid)
{
    const struct fuse_getattr_in get = {.getattr_flags = 0};
    const struct fuse_setattr_in set = {.valid = FATTR_MODE | FATTR_SIZE | FATTR_MTIME |
                                                 FATTR_ATIME_NOW | FATTR_UID | FATTR_GID,
                                        .mode = 0640,
                                        .size = 100,
                                        .uid = guest->uid,
                                        .gid = guest->uid};
    const struct fs_wire_statx_in statx_in = {.sx_mask = 0xfff};
    const struct fuse_access_in access_in = {.mask = R_OK};
    const struct fuse_setxattr_in setxattr = {.size = 3};
    const struct fuse_getxattr_in getxattr = {.size = 100};
    const struct fuse_syncfs_in syncfs_in = {.padding = 0};

    run(FUSE_GETATTR, nodeid, &get, sizeof(get), NULL, 0, sizeof(struct fuse_attr_out));
    run(FUSE_SETATTR, nodeid, &set, sizeof(set), NULL, 0, sizeof(struct fuse_attr_out));
    run(FS_OPCODE_STATX, nodeid, &statx_in, sizeof(statx_in), NULL, 0,
        sizeof(struct fs_wire_statx_out));
    run(FUSE_ACCESS, nodeid, &access_in, sizeof(access_in), NULL, 0, 0);
    run(FUSE_SETXATTR, nodeid, &setxattr, sizeof(setxattr), "user.a\0abc", 10, 0);
    run(FUSE_GETXATTR, nodeid, &getxattr, sizeof(getxattr), NAMES("user.a"), 100);
    run(FUSE_LISTXATTR, nodeid, &getxattr, sizeof(getxattr), NULL, 0, 100);
    run(FUSE_REMOVEXATTR, nodeid, NULL, 0, NAMES("user.a"), 0);
    run(FUSE_STATFS, FUSE_ROOT_ID, NULL, 0, NULL, 0, sizeof(struct fuse_statfs_out));
    run(FUSE_SYNCFS, FUSE_ROOT_ID, &syncfs_in, sizeof(syncfs_in), NULL, 0, 0);
}

static void run_data(uint64_t nodeid, uint64_t fh)
{
    struct {
        struct fuse_write_in in;
        char data[100];
    } write_in = {.in = {.fh = fh, .size = 100}};
    const struct fuse_read_in read_in = {.fh = fh, .size = 100};
    const struct fuse_lseek_in seek = {.fh = fh, .whence = SEEK_HOLE};
    const struct fuse_fallocate_in allocate = {.fh = fh, .length = 8192};
    const struct fuse_copy_file_range_in copy = {
        .fh_in = fh, .fh_out = fh, .nodeid_out = nodeid, .off_out = 4096, .len = 10};
    const struct fuse_fsync_in sync = {.fh = fh}, datasync = {.fh = fh, .fsync_flags = 1};
    const struct fuse_ioctl_in flags = {.fh = fh, .cmd = (uint32_t)FS_IOC_GETFLAGS, .out_size = 8};
    const struct fuse_ioctl_in project = {
        .fh = fh, .cmd = (uint32_t)FS_IOC_FSGETXATTR, .out_size = sizeof(struct fsxattr)};

    g_assert_cmpint(run(FUSE_WRITE, nodeid, &write_in, sizeof(write_in), NULL, 0, 8), ==, 8);
    write_in.in.write_flags = FUSE_WRITE_KILL_SUIDGID;
    write_in.in.flags = O_SYNC;
    g_assert_cmpint(run(FUSE_WRITE, nodeid, &write_in, sizeof(write_in), NULL, 0, 8), ==, 8);
    g_assert_cmpint(run(FUSE_READ, nodeid, &read_in, sizeof(read_in), NULL, 0, 100), ==, 100);
    run(FUSE_LSEEK, nodeid, &seek, sizeof(seek), NULL, 0, 8);
    run(FUSE_FALLOCATE, nodeid, &allocate, sizeof(allocate), NULL, 0, 0);
    run(FUSE_COPY_FILE_RANGE, nodeid, &copy, sizeof(copy), NULL, 0, 8);
    run(FS_OPCODE_COPY_FILE_RANGE_64, nodeid, &copy, sizeof(copy), NULL, 0, 8);
    run(FUSE_FSYNC, nodeid, &sync, sizeof(sync), NULL, 0, 0);
    run(FUSE_FSYNC, nodeid, &datasync, sizeof(datasync), NULL, 0, 0);
    run(FUSE_IOCTL, nodeid, &flags, sizeof(flags), NULL, 0, 100);
    run(FUSE_IOCTL, nodeid, &project, sizeof(project), NULL, 0, 100);
}

static void run_locks(uint64_t nodeid, uint64_t fh)
{
    struct fuse_lk_in lock = {.fh = fh, .owner = 1, .lk = {0, 99, F_WRLCK, 1}};
    const struct fuse_lk_in file = {
        .fh = fh, .owner = 1, .lk = {0, INT64_MAX, F_WRLCK, 1}, .lk_flags = FUSE_LK_FLOCK};
    const struct fuse_flush_in flush = {.fh = fh, .lock_owner = 1};

    run(FUSE_SETLK, nodeid, &lock, sizeof(lock), NULL, 0, 0);
    run(FUSE_SETLKW, nodeid, &file, sizeof(file), NULL, 0, 0);
    lock.owner = 2;
    g_assert_cmpint(
        run(FUSE_GETLK, nodeid, &lock, sizeof(lock), NULL, 0, sizeof(struct fuse_lk_out)), >, 0);
    g_assert_cmpuint(((const struct fuse_lk_out *)(const void *)reply)->lk.pid, ==, 1);
    run(FUSE_FLUSH, nodeid, &flush, sizeof(flush), NULL, 0, 0);
    run(FUSE_SETLKW, nodeid, &lock, sizeof(lock), NULL, 0, 0);
}

static void run_file(void)
{
    const struct fuse_create_in in = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0644};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;
    struct fuse_release_in release;
    uint64_t fh;

    run(FUSE_TMPFILE, FUSE_ROOT_ID, &in, sizeof(in), NAMES("/"), sizeof(out));
    g_assert_cmpint(run(FUSE_CREATE, FUSE_ROOT_ID, &in, sizeof(in), NAMES("new"), sizeof(out)), ==,
                    sizeof(out));
    memcpy(&out, reply, sizeof(out));
    run_attributes(out.entry.nodeid);
    run_data(out.entry.nodeid, out.open.fh);
    run_locks(out.entry.nodeid, out.open.fh);
    release =
        (struct fuse_release_in){.fh = out.open.fh, .release_flags = FUSE_RELEASE_FLOCK_UNLOCK};
    run(FUSE_RELEASE, out.entry.nodeid, &release, sizeof(release), NULL, 0, 0);
    fh = open_handle(FUSE_OPEN, out.entry.nodeid, O_RDWR | O_TRUNC);
    run_data(out.entry.nodeid, fh);
    fs_guest_forget(guest, out.entry.nodeid, 1);
}

static void run_folder(void)
{
    const uint64_t fh = open_handle(FUSE_OPENDIR, FUSE_ROOT_ID, O_RDONLY);
    const struct fuse_read_in in = {.fh = fh, .size = 2000};
    const struct fuse_fsync_in sync = {.fh = fh};
    const struct fuse_release_in release = {.fh = fh};

    g_assert_cmpint(run(FUSE_READDIR, FUSE_ROOT_ID, &in, sizeof(in), NULL, 0, 2000), >, 0);
    run(FUSE_READDIRPLUS, FUSE_ROOT_ID, &in, sizeof(in), NULL, 0, 2000);
    run(FUSE_FSYNCDIR, FUSE_ROOT_ID, &sync, sizeof(sync), NULL, 0, 0);
    run(FUSE_RELEASEDIR, FUSE_ROOT_ID, &release, sizeof(release), NULL, 0, 0);
}

/* What was not run the daemon does not know: it is missing above otherwise. */
static void check_all_seen(void)
{
    seen[FUSE_FORGET] = seen[FUSE_BATCH_FORGET] = seen[FUSE_INIT] = seen[FUSE_DESTROY] = true;
    for (uint32_t opcode = 0; opcode < ALL_OPCODES; opcode++) {
        const struct fs_guest_call call = {
            .opcode = opcode, .nodeid = FUSE_ROOT_ID, .reply = reply, .room = sizeof(reply)};

        if (!seen[opcode] && fs_guest_call(guest, &call) != -ENOSYS)
            g_error("opcode %u is not among those run here", opcode);
    }
}

static void test_all(struct fs_guest *with)
{
    guest = with;
    memset(seen, 0, sizeof(seen));
    guest->uid = guest->mode->uid;
    g_assert_cmpint(fs_guest_init_with(guest, ALL_FLAGS), ==, 0);
    run_names();
    run_file();
    run_folder();
    check_all_seen();
}

/* As another user of the guest: ids, groups and capabilities change for a moment. */
static void test_all_as_user(struct fs_guest *with)
{
    const struct fuse_mkdir_in folder = {.mode = 0755, .umask = 022};

    guest = with;
    guest->uid = guest->mode->uid ? guest->mode->uid : 1000;
    g_assert_cmpint(fs_guest_init_with(guest, ALL_FLAGS), ==, 0);
    make(FUSE_MKDIR, &folder, sizeof(folder), NAMES("theirs"));
    run_names();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fs_guest_add_with("all-operations/all", ALL_OPTIONS, test_all);
    fs_guest_add_with("all-operations/as-user", ALL_OPTIONS, test_all_as_user);
    fs_guest_add_with("all-operations/file-handles",
                      ALL_OPTIONS " --inode-file-handles=prefer --cache=always", test_all);
    return g_test_run();
}
