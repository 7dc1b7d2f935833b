/* SPDX-License-Identifier: Apache-2.0 */
/* See fs-differential.h. */
#include "tests/unit/fs-differential.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/unit/fs-client.h"
#include "vhost-user/cleanup.h"

#define DIFF_DATA_MAX (XATTR_SIZE_MAX + 1)

static struct fs_fixture fixture;
static uint64_t dir_nodeid, file_nodeid, file_fh; /* the guest's */
static int host_dir, host_fd;
static char data[DIFF_DATA_MAX];

/* --- the guest --- */

static int guest_call(uint32_t opcode, uint64_t nodeid, const void *args, size_t args_len,
                      const struct diff_row *row, void *reply, size_t room)
{
    const struct fs_call call = {.opcode = opcode,
                                 .nodeid = nodeid,
                                 .args = args,
                                 .args_len = args_len,
                                 .name = row ? row->name : NULL,
                                 .name2 = row ? row->name2 : NULL,
                                 .reply = reply,
                                 .room = room};

    return fs_client_call(&fixture, &call);
}

/* For requests whose answer says nothing but that it is done. */
static int guest_make(uint32_t opcode, const void *args, size_t args_len,
                      const struct diff_row *row)
{
    struct fuse_entry_out out;
    int ret = guest_call(opcode, dir_nodeid, args, args_len, row, &out, sizeof(out));

    return ret < 0 ? ret : 0;
}

static int guest_seek(const struct diff_row *row)
{
    const struct fuse_lseek_in in = {.fh = file_fh, .offset = row->a, .whence = (uint32_t)row->b};
    struct fuse_lseek_out out;
    int ret = guest_call(FUSE_LSEEK, file_nodeid, &in, sizeof(in), NULL, &out, sizeof(out));

    return ret < 0 ? ret : (int)out.offset;
}

static int guest_allocate(const struct diff_row *row)
{
    const struct fuse_fallocate_in in = {
        .fh = file_fh, .mode = (uint32_t)row->a, .offset = row->b, .length = row->c};

    return guest_call(FUSE_FALLOCATE, file_nodeid, &in, sizeof(in), NULL, NULL, 0);
}

static int guest_copy(const struct diff_row *row)
{
    const struct fuse_copy_file_range_in in = {.fh_in = file_fh,
                                               .fh_out = file_fh,
                                               .nodeid_out = file_nodeid,
                                               .off_in = row->a,
                                               .off_out = row->b,
                                               .len = row->c,
                                               .flags = row->name ? 1 : 0};
    struct fuse_write_out out;
    int ret =
        guest_call(FUSE_COPY_FILE_RANGE, file_nodeid, &in, sizeof(in), NULL, &out, sizeof(out));

    return ret < 0 ? ret : (int)out.size;
}

static int guest_truncate(const struct diff_row *row)
{
    const struct fuse_setattr_in in = {.valid = FATTR_SIZE, .size = row->a};
    struct fuse_attr_out out;
    int ret = guest_call(FUSE_SETATTR, file_nodeid, &in, sizeof(in), NULL, &out, sizeof(out));

    return ret < 0 ? ret : 0;
}

static int guest_write(const struct diff_row *row)
{
    return fs_client_write(&fixture, file_fh, row->a, data, (uint32_t)row->b, 0);
}

static int guest_read(const struct diff_row *row)
{
    return fs_client_read(&fixture, file_fh, row->a, data, (uint32_t)row->b);
}

static int guest_setxattr(const struct diff_row *row)
{
    const struct fuse_setxattr_in in = {.size = (uint32_t)row->a, .flags = (uint32_t)row->b};
    const struct fs_call call = {.opcode = FUSE_SETXATTR,
                                 .nodeid = file_nodeid,
                                 .args = &in,
                                 .args_len = FUSE_COMPAT_SETXATTR_IN_SIZE,
                                 .name = row->name,
                                 .data = data,
                                 .data_len = row->a};

    return fs_client_call(&fixture, &call);
}

static int guest_getxattr(const struct diff_row *row)
{
    const struct fuse_getxattr_in in = {.size = (uint32_t)row->a};
    struct fuse_getxattr_out *out = (void *)data;
    int ret = guest_call(FUSE_GETXATTR, file_nodeid, &in, sizeof(in), row, data,
                         MAX(row->a, sizeof(*out)));

    return ret > 0 && row->a == 0 ? (int)out->size : ret;
}

static int guest_removexattr(const struct diff_row *row)
{
    return guest_call(FUSE_REMOVEXATTR, file_nodeid, NULL, 0, row, NULL, 0);
}

static int guest_unlink(const struct diff_row *row)
{
    return guest_call(FUSE_UNLINK, dir_nodeid, NULL, 0, row, NULL, 0);
}

static int guest_rmdir(const struct diff_row *row)
{
    return guest_call(FUSE_RMDIR, dir_nodeid, NULL, 0, row, NULL, 0);
}

static int guest_mkdir(const struct diff_row *row)
{
    const struct fuse_mkdir_in in = {.mode = 0755};

    return guest_make(FUSE_MKDIR, &in, sizeof(in), row);
}

static int guest_mknod(const struct diff_row *row)
{
    const struct fuse_mknod_in in = {.mode = (uint32_t)row->a, .rdev = (uint32_t)row->b};

    return guest_make(FUSE_MKNOD, &in, sizeof(in), row);
}

static int guest_symlink(const struct diff_row *row)
{
    return guest_make(FUSE_SYMLINK, NULL, 0, row);
}

/* Of a file of the folder, by a new name in it. */
static int guest_link(const struct diff_row *row)
{
    struct diff_row to = {.name = row->name2};
    struct fuse_entry_out entry;
    struct fuse_link_in in;

    g_assert_cmpint(fs_client_lookup(&fixture, dir_nodeid, row->name, &entry), ==, 0);
    in.oldnodeid = entry.nodeid;
    return guest_make(FUSE_LINK, &in, sizeof(in), &to);
}

/* To a folder of the folder: a names it, 0 the folder itself. */
static int guest_rename(const struct diff_row *row)
{
    struct fuse_rename2_in in = {.newdir = dir_nodeid, .flags = (uint32_t)row->b};
    struct fuse_entry_out entry;

    if (row->a) {
        g_assert_cmpint(fs_client_lookup(&fixture, dir_nodeid, "full", &entry), ==, 0);
        in.newdir = entry.nodeid;
    }
    return guest_call(FUSE_RENAME2, dir_nodeid, &in, sizeof(in), row, NULL, 0);
}

static int guest_times(const struct diff_row *row)
{
    const struct fuse_setattr_in in = {.valid = FATTR_ATIME | FATTR_MTIME,
                                       .atime = row->a,
                                       .atimensec = (uint32_t)row->b,
                                       .mtimensec = (uint32_t)row->c};
    struct fuse_attr_out out;
    int ret = guest_call(FUSE_SETATTR, file_nodeid, &in, sizeof(in), NULL, &out, sizeof(out));

    return ret < 0 ? ret : 0;
}

static int guest_ioctl(const struct diff_row *row)
{
    const struct fuse_ioctl_in in = {
        .fh = file_fh, .cmd = (uint32_t)row->a, .in_size = 64, .out_size = 64};
    const struct fs_call call = {.opcode = FUSE_IOCTL,
                                 .nodeid = file_nodeid,
                                 .args = &in,
                                 .args_len = sizeof(in),
                                 .data = data,
                                 .data_len = 64,
                                 .reply = data + 64,
                                 .room = 128};
    int ret = fs_client_call(&fixture, &call);

    return ret < 0 ? ret : 0;
}

static int guest_lock(const struct diff_row *row)
{
    const struct fuse_lk_in in = {
        .fh = file_fh, .owner = 1, .lk = {row->b, row->c, (uint32_t)row->a, 1}};

    return guest_call(FUSE_SETLK, file_nodeid, &in, sizeof(in), NULL, NULL, 0);
}

/* --- the host --- */

static int host_result(int64_t ret)
{
    return ret < 0 ? -errno : (int)ret;
}

static int host_seek(const struct diff_row *row)
{
    return host_result(lseek(host_fd, (off_t)row->a, (int)row->b));
}

static int host_allocate(const struct diff_row *row)
{
    return host_result(fallocate(host_fd, (int)row->a, (off_t)row->b, (off_t)row->c));
}

static int host_copy(const struct diff_row *row)
{
    off_t in = (off_t)row->a, out = (off_t)row->b;

    return host_result(copy_file_range(host_fd, &in, host_fd, &out, row->c, row->name ? 1 : 0));
}

static int host_truncate(const struct diff_row *row)
{
    return host_result(ftruncate(host_fd, (off_t)row->a));
}

static int host_write(const struct diff_row *row)
{
    return host_result(pwrite(host_fd, data, row->b, (off_t)row->a));
}

static int host_read(const struct diff_row *row)
{
    return host_result(pread(host_fd, data, row->b, (off_t)row->a));
}

static int host_setxattr(const struct diff_row *row)
{
    return host_result(fsetxattr(host_fd, row->name, data, row->a, (int)row->b));
}

static int host_getxattr(const struct diff_row *row)
{
    return host_result(fgetxattr(host_fd, row->name, data, row->a));
}

static int host_removexattr(const struct diff_row *row)
{
    return host_result(fremovexattr(host_fd, row->name));
}

static int host_unlink(const struct diff_row *row)
{
    return host_result(unlinkat(host_dir, row->name, 0));
}

static int host_rmdir(const struct diff_row *row)
{
    return host_result(unlinkat(host_dir, row->name, AT_REMOVEDIR));
}

static int host_mkdir(const struct diff_row *row)
{
    return host_result(mkdirat(host_dir, row->name, 0755));
}

static int host_mknod(const struct diff_row *row)
{
    return host_result(mknodat(host_dir, row->name, (mode_t)row->a, row->b));
}

static int host_symlink(const struct diff_row *row)
{
    return host_result(symlinkat(row->name2, host_dir, row->name));
}

static int host_link(const struct diff_row *row)
{
    return host_result(linkat(host_dir, row->name, host_dir, row->name2, 0));
}

static int host_rename(const struct diff_row *row)
{
    vu_autofd int full = openat(host_dir, "full", O_PATH | O_CLOEXEC);

    return host_result(
        renameat2(host_dir, row->name, row->a ? full : host_dir, row->name2, (unsigned)row->b));
}

static int host_times(const struct diff_row *row)
{
    const struct timespec times[2] = {{.tv_sec = (time_t)row->a, .tv_nsec = (long)row->b},
                                      {.tv_nsec = (long)row->c}};

    return host_result(futimens(host_fd, times));
}

static int host_ioctl(const struct diff_row *row)
{
    return host_result(ioctl(host_fd, (unsigned)row->a, data));
}

/* c is the last byte, as the guest's kernel puts it. */
static int host_lock(const struct diff_row *row)
{
    struct flock lock = {.l_type = (short)row->a,
                         .l_whence = SEEK_SET,
                         .l_start = (off_t)row->b,
                         .l_len = row->c == INT64_MAX ? 0 : (off_t)(row->c - row->b + 1)};

    return host_result(fcntl(host_fd, F_OFD_SETLK, &lock));
}

/* --- both --- */

const struct diff_operation diff_operations[] = {
    {"seek", guest_seek, host_seek},
    {"allocate", guest_allocate, host_allocate},
    {"copy", guest_copy, host_copy},
    {"truncate", guest_truncate, host_truncate},
    {"write", guest_write, host_write},
    {"read", guest_read, host_read},
    {"setxattr", guest_setxattr, host_setxattr},
    {"getxattr", guest_getxattr, host_getxattr},
    {"removexattr", guest_removexattr, host_removexattr},
    {"unlink", guest_unlink, host_unlink},
    {"rmdir", guest_rmdir, host_rmdir},
    {"mkdir", guest_mkdir, host_mkdir},
    {"mknod", guest_mknod, host_mknod},
    {"symlink", guest_symlink, host_symlink},
    {"link", guest_link, host_link},
    {"rename", guest_rename, host_rename},
    {"times", guest_times, host_times},
    {"ioctl", guest_ioctl, host_ioctl},
    {"lock", guest_lock, host_lock},
};

const size_t diff_n_operations = G_N_ELEMENTS(diff_operations);

/* --- the share --- */

static void diff_make_files(const char *folder)
{
    g_autofree char *path = fs_client_path(&fixture, folder);
    vu_autofd int dir = -1, fd = -1;

    g_assert_cmpint(mkdir(path, 0755), ==, 0);
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fd = openat(dir, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    g_assert_cmpint(write(fd, data, DIFF_FILE_LEN), ==, DIFF_FILE_LEN);
    if (fsetxattr(fd, "user.old", "old", 3, 0) < 0)
        g_assert_cmpint(errno, ==, EOPNOTSUPP);
    g_assert_cmpint(mkdirat(dir, "dir", 0755), ==, 0);
    g_assert_cmpint(mkdirat(dir, "full", 0755), ==, 0);
    g_assert_cmpint(mkdirat(dir, "full/x", 0755), ==, 0);
    g_assert_cmpint(symlinkat("file", dir, "link"), ==, 0);
    g_assert_cmpint(symlinkat("nowhere", dir, "dangling"), ==, 0);
    g_assert_cmpint(mknodat(dir, "fifo", S_IFIFO | 0644, 0), ==, 0);
}

void diff_set_up(void)
{
    g_autofree char *path = NULL;
    struct fuse_entry_out entry;
    struct fuse_init_out out;
    struct fuse_open_out open_out;

    umask(0);
    fs_fixture_init(&fixture);
    fixture.options.posix_lock = true;
    fixture.options.xattr = true;
    fs_fixture_open(&fixture);
    fs_fixture_send_init(&fixture, &out);
    diff_make_files("guest");
    diff_make_files("host");
    g_assert_cmpint(fs_client_lookup(&fixture, FUSE_ROOT_ID, "guest", &entry), ==, 0);
    dir_nodeid = entry.nodeid;
    g_assert_cmpint(fs_client_lookup(&fixture, dir_nodeid, "file", &entry), ==, 0);
    file_nodeid = entry.nodeid;
    g_assert_cmpint(fs_client_open(&fixture, file_nodeid, O_RDWR, &open_out), ==, 0);
    file_fh = open_out.fh;
    path = fs_client_path(&fixture, "host");
    host_dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    host_fd = openat(host_dir, "file", O_RDWR | O_CLOEXEC);
    g_assert_cmpint(host_fd, >=, 0);
}

void diff_tear_down(void)
{
    close(host_fd);
    close(host_dir);
    fs_client_release(&fixture, file_nodeid, file_fh);
    fs_client_tear_down(&fixture);
}
