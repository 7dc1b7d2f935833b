/* SPDX-License-Identifier: Apache-2.0 */
/* statx.c, ioctl.c, tmpfile.c, lookup-dots.c: what a guest's programs ask for beside the usual. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fs-client.h"
#include "vhost-user/cleanup.h"

#define ROOT FUSE_ROOT_ID

static struct fs_fixture fixture;

static void test_statx(void)
{
    struct fs_wire_statx_in in = {.sx_mask = STATX_BASIC_STATS | STATX_BTIME};
    struct fs_wire_statx_out out;
    struct fs_call call = {.opcode = FS_OPCODE_STATX,
                           .args = &in,
                           .args_len = sizeof(in),
                           .reply = &out,
                           .room = sizeof(out)};
    g_autofree char *path = NULL;
    struct statx stx;
    uint64_t fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR, &call.nodeid, &fh), ==, 0);
    path = fs_client_path(&fixture, "f");
    g_assert_cmpint(statx(AT_FDCWD, path, 0, STATX_BASIC_STATS | STATX_BTIME, &stx), ==, 0);
    for (int by_handle = 0; by_handle < 2; by_handle++) {
        in.getattr_flags = by_handle ? FUSE_GETATTR_FH : 0;
        in.fh = fh;
        g_assert_cmpint(fs_client_call(&fixture, &call), ==, sizeof(out));
        g_assert_cmpuint(out.attr_valid, ==, 1);
        g_assert_cmphex(out.stat.mask, ==, stx.stx_mask & (STATX_BASIC_STATS | STATX_BTIME));
        g_assert_cmpuint(out.stat.ino, ==, stx.stx_ino);
        g_assert_cmpuint(out.stat.mode, ==, stx.stx_mode);
        g_assert_cmpint(out.stat.btime.sec, ==, stx.stx_btime.tv_sec);
        g_assert_cmpuint(out.stat.btime.nsec, ==, stx.stx_btime.tv_nsec);
        g_assert_cmpuint(out.stat.dev_minor, ==, stx.stx_dev_minor);
    }
    in.fh = 99;
    g_assert_cmpint(fs_client_call(&fixture, &call), ==, -EBADF);
    call.room--;
    g_assert_cmpint(fs_client_call(&fixture, &call), ==, -EINVAL);
    g_assert_cmpint(fs_client_release(&fixture, ROOT, fh), ==, 0);
    fs_client_tear_down(&fixture);
}

static int send_ioctl(uint64_t fh, uint32_t command, void *data, uint32_t in_len, uint32_t out_len)
{
    struct fuse_ioctl_in in = {.fh = fh, .cmd = command, .in_size = in_len, .out_size = out_len};
    struct {
        struct fuse_ioctl_out out;
        uint8_t data[256];
    } reply;
    struct fs_call call = {.opcode = FUSE_IOCTL,
                           .nodeid = ROOT,
                           .args = &in,
                           .args_len = sizeof(in),
                           .data = data,
                           .data_len = in_len,
                           .reply = &reply,
                           .room = sizeof(reply.out) + out_len};
    int ret = fs_client_call(&fixture, &call);

    if (ret < 0)
        return ret;
    g_assert_cmpint(ret, ==, sizeof(reply.out) + out_len);
    g_assert_cmpint(reply.out.result, ==, 0);
    if (out_len > 0)
        memcpy(data, reply.data, out_len);
    return 0;
}

static void test_ioctl(void)
{
    struct fsxattr attr = {0};
    uint64_t nodeid, fh;
    unsigned flags = 0;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR, &nodeid, &fh), ==, 0);
    g_assert_cmpint(send_ioctl(fh, FIOQSIZE, &flags, 0, sizeof(flags)), ==, -ENOTTY);
    g_assert_cmpint(send_ioctl(fh, FS_IOC_GETFLAGS, &flags, 0, 2), ==, -EINVAL);
    g_assert_cmpint(send_ioctl(fh, FS_IOC_SETFLAGS, &flags, 2, 0), ==, -EINVAL);
    g_assert_cmpint(send_ioctl(99, FS_IOC_GETFLAGS, &flags, 0, 4), ==, -EBADF);
    if (send_ioctl(fh, FS_IOC_GETFLAGS, &flags, 0, sizeof(flags)) == 0) {
        unsigned before = flags;

        flags |= FS_NODUMP_FL;
        g_assert_cmpint(send_ioctl(fh, FS_IOC_SETFLAGS, &flags, sizeof(flags), 0), ==, 0);
        flags = 0;
        g_assert_cmpint(send_ioctl(fh, FS_IOC_GETFLAGS, &flags, 0, sizeof(flags)), ==, 0);
        g_assert_cmphex(flags, ==, before | FS_NODUMP_FL);
        flags |= FS_PROJINHERIT_FL;
        g_assert_cmpint(send_ioctl(fh, FS_IOC_SETFLAGS, &flags, sizeof(flags), 0), ==, -EPERM);
    }
    if (send_ioctl(fh, FS_IOC_FSGETXATTR, &attr, 0, sizeof(attr)) == 0) {
        g_assert_cmphex(attr.fsx_xflags & FS_XFLAG_NODUMP, !=, 0);
        attr.fsx_projid++;
        g_assert_cmpint(send_ioctl(fh, FS_IOC_FSSETXATTR, &attr, sizeof(attr), 0), ==, -EPERM);
        attr.fsx_projid--;
        attr.fsx_xflags &= ~(uint32_t)FS_XFLAG_NODUMP;
        g_assert_cmpint(send_ioctl(fh, FS_IOC_FSSETXATTR, &attr, sizeof(attr), 0), ==, 0);
    }
    g_assert_cmpint(fs_client_release(&fixture, ROOT, fh), ==, 0);
    fs_client_tear_down(&fixture);
}

static int make_tmpfile(uint64_t parent, int flags, struct fuse_entry_out *ret_entry,
                        struct fuse_open_out *ret_open)
{
    struct fuse_create_in in = {
        .flags = (uint32_t)(flags | O_TMPFILE), .mode = S_IFREG | 0666, .umask = 022};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;
    struct fs_call call = {.opcode = FUSE_TMPFILE,
                           .nodeid = parent,
                           .uid = geteuid() == 0 ? 1234 : 0,
                           .args = &in,
                           .args_len = sizeof(in),
                           .name = "/", /* as Linux calls it */
                           .reply = &out,
                           .room = sizeof(out)};
    int ret = fs_client_call(&fixture, &call);

    if (ret < 0)
        return ret;
    *ret_entry = out.entry;
    *ret_open = out.open;
    return 0;
}

static void test_tmpfile(void)
{
    struct fuse_link_in link = {0};
    struct fuse_entry_out entry, linked;
    struct fuse_open_out open;
    struct fs_call call = {.opcode = FUSE_LINK,
                           .nodeid = ROOT,
                           .args = &link,
                           .args_len = sizeof(link),
                           .name = "named",
                           .reply = &linked,
                           .room = sizeof(linked)};

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(make_tmpfile(ROOT, O_RDWR, &entry, &open), ==, 0);
    g_assert_cmpuint(entry.attr.nlink, ==, 0);
    g_assert_cmpuint(entry.attr.mode, ==, S_IFREG | 0644);
    if (geteuid() == 0)
        g_assert_cmpuint(entry.attr.uid, ==, 1234);
    g_assert_cmpint(fs_client_write(&fixture, open.fh, 0, "hello", 5, 0), ==, 5);
    link.oldnodeid = entry.nodeid;
    g_assert_cmpint(fs_client_call(&fixture, &call), ==, sizeof(linked));
    g_assert_cmpuint(linked.nodeid, ==, entry.nodeid);
    g_assert_cmpuint(linked.attr.nlink, ==, 1);
    g_assert_cmpuint(linked.attr.size, ==, 5);
    g_assert_cmpint(fs_client_release(&fixture, ROOT, open.fh), ==, 0);

    g_assert_cmpint(make_tmpfile(ROOT, O_WRONLY | O_EXCL, &entry, &open), ==, 0);
    link.oldnodeid = entry.nodeid;
    call.name = "never";
    g_assert_cmpint(fs_client_call(&fixture, &call), ==, -ENOENT);
    g_assert_cmpint(fs_client_release(&fixture, ROOT, open.fh), ==, 0);
    g_assert_cmpint(make_tmpfile(linked.nodeid, O_RDWR, &entry, &open), ==, -ENOTDIR);
    g_assert_cmpint(make_tmpfile(77, O_RDWR, &entry, &open), ==, -ESTALE);
    fs_client_tear_down(&fixture);
}

static void test_dots(void)
{
    g_autofree char *inside = NULL, *outside = NULL;
    struct fuse_entry_out entry;
    uint64_t a, b, file, fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(fs_client_mkdir(&fixture, ROOT, "a", &a), ==, 0);
    g_assert_cmpint(fs_client_mkdir(&fixture, a, "b", &b), ==, 0);
    g_assert_cmpint(fs_client_create(&fixture, b, "f", O_RDWR, &file, &fh), ==, 0);
    g_assert_cmpint(fs_client_release(&fixture, file, fh), ==, 0);
    g_assert_cmpint(fs_client_lookup(&fixture, b, ".", &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, ==, b);
    g_assert_cmpint(fs_client_lookup(&fixture, file, ".", &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, ==, file);
    g_assert_cmpint(fs_client_lookup(&fixture, file, "..", &entry), ==, -ENOTDIR);
    g_assert_cmpint(fs_client_lookup(&fixture, b, "..", &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, ==, a);
    g_assert_cmpint(fs_client_lookup(&fixture, a, "..", &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, ==, ROOT);
    g_assert_cmpint(fs_client_lookup(&fixture, ROOT, "..", &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, ==, ROOT);
    g_assert_cmpint(fs_client_lookup(&fixture, b, "../..", &entry), ==, -EINVAL);
    g_assert_cmpint(fs_client_mkdir(&fixture, a, "..", &b), ==, -EINVAL);

    /* Moved out of the share: its parents are none of the guest's business. */
    inside = fs_client_path(&fixture, "a");
    outside = g_strconcat(fixture.dir, ".outside", NULL);
    g_assert_cmpint(rename(inside, outside), ==, 0);
    g_assert_cmpint(fs_client_lookup(&fixture, a, "..", &entry), ==, -ESTALE);
    g_assert_cmpint(fs_client_lookup(&fixture, b, "..", &entry), ==, -ESTALE);
    g_assert_cmpint(rename(outside, inside), ==, 0);
    fs_client_tear_down(&fixture);
}

static void test_copy(void)
{
    struct fuse_copy_file_range_in in = {.len = 5};
    struct fs_call call = {
        .opcode = FS_OPCODE_COPY_FILE_RANGE_64, .args = &in, .args_len = sizeof(in)};
    uint64_t nodeid, copied = 0;
    char back[6] = {0};

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR, &nodeid, &in.fh_in), ==, 0);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "g", O_RDWR, &nodeid, &in.fh_out), ==, 0);
    g_assert_cmpint(fs_client_write(&fixture, in.fh_in, 0, "hello", 5, 0), ==, 5);
    call.reply = &copied;
    call.room = sizeof(copied);
    in.len = UINT64_C(1) << 40;
    g_assert_cmpint(fs_client_call(&fixture, &call), ==, sizeof(copied));
    g_assert_cmpuint(copied, ==, 5);
    g_assert_cmpint(fs_client_read(&fixture, in.fh_out, 0, back, 5), ==, 5);
    g_assert_cmpstr(back, ==, "hello");
    g_assert_cmpint(fs_client_release(&fixture, ROOT, in.fh_in), ==, 0);
    g_assert_cmpint(fs_client_release(&fixture, ROOT, in.fh_out), ==, 0);
    fs_client_tear_down(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/extra/statx", test_statx);
    g_test_add_func("/extra/ioctl", test_ioctl);
    g_test_add_func("/extra/tmpfile", test_tmpfile);
    g_test_add_func("/extra/dots", test_dots);
    g_test_add_func("/extra/copy", test_copy);
    return g_test_run();
}
