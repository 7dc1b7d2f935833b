/* SPDX-License-Identifier: Apache-2.0 */
/* init.h: what INIT agrees on under which options, versions, and INIT again. */
#include "virtiofsd/init.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fs-fixture.h"
#include "vhost-user/log.h"

static int test_send(struct fs_fixture *fixture, const struct fuse_init_in *in, size_t in_len,
                     struct fuse_init_out *ret_out)
{
    return fs_fixture_call(fixture, FUSE_INIT, 0, in, in_len, NULL, 0, ret_out, sizeof(*ret_out));
}

static void test_flags(void)
{
    /* What we do not implement must stay off, whatever is offered. */
    const uint64_t never = FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_POSIX_ACL | FUSE_DONT_MASK |
                           FUSE_WRITEBACK_CACHE | FUSE_HANDLE_KILLPRIV | FUSE_SETXATTR_EXT |
                           FUSE_MAP_ALIGNMENT | FUSE_NO_OPEN_SUPPORT | FUSE_EXPLICIT_INVAL_DATA |
                           FUSE_SECURITY_CTX | FUSE_HAS_INODE_DAX | FUSE_PASSTHROUGH;
    struct fs_options options;
    uint64_t agreed;

    fs_options_init(&options);
    agreed = fs_init_negotiate(&options, UINT64_MAX);
    g_assert_cmphex(agreed & never, ==, 0);
    g_assert_cmphex(agreed & (FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO), ==,
                    FUSE_DO_READDIRPLUS);
    g_assert_cmphex(agreed & FUSE_SUBMOUNTS, !=, 0);
    g_assert_cmphex(agreed & FUSE_INIT_EXT, !=, 0);
    g_assert_cmphex(agreed & FUSE_DIRECT_IO_ALLOW_MMAP, ==, 0);
    g_assert_cmphex(fs_init_negotiate(&options, 0), ==, 0);
    g_assert_cmphex(fs_init_negotiate(&options, FUSE_ASYNC_DIO | FUSE_POSIX_ACL), ==,
                    FUSE_ASYNC_DIO);

    options.cache = FS_CACHE_NEVER;
    options.allow_mmap = true;
    options.announce_submounts = false;
    agreed = fs_init_negotiate(&options, UINT64_MAX);
    g_assert_cmphex(agreed & (FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO), ==, 0);
    g_assert_cmphex(agreed & (FUSE_CACHE_SYMLINKS | FUSE_SUBMOUNTS), ==, 0);
    g_assert_cmphex(agreed & FUSE_DIRECT_IO_ALLOW_MMAP, !=, 0);
    /* The second word does not count without INIT_EXT. */
    g_assert_cmphex(fs_init_negotiate(&options, UINT64_MAX & ~(uint64_t)FUSE_INIT_EXT) >> 32, ==,
                    0);

    /* Written data is kept where data is, and attributes are handed out where they are kept. */
    options.writeback = true;
    g_assert_cmphex(fs_init_negotiate(&options, UINT64_MAX) & FUSE_WRITEBACK_CACHE, ==, 0);
    options.cache = FS_CACHE_AUTO;
    g_assert_cmphex(fs_init_negotiate(&options, UINT64_MAX) & FUSE_WRITEBACK_CACHE, !=, 0);
    options.entry_timeout = 0;
    g_assert_cmphex(fs_init_negotiate(&options, UINT64_MAX) & FUSE_DO_READDIRPLUS, ==, 0);
    options.entry_timeout = -1;
    g_assert_cmphex(fs_init_negotiate(&options, UINT64_MAX) & FUSE_DO_READDIRPLUS, !=, 0);

    options.readdirplus = false;
    g_assert_cmphex(fs_init_negotiate(&options, UINT64_MAX) & FUSE_DO_READDIRPLUS, ==, 0);
}

/* What an option is about is asked for with it, and only then. */
static void test_option_flags(void)
{
    const uint64_t acl = FUSE_POSIX_ACL | FUSE_DONT_MASK | FUSE_SETXATTR_EXT;
    struct fs_options options;

    fs_options_init(&options);
    g_assert_cmphex(fs_init_negotiate(&options, UINT64_MAX) & FUSE_CREATE_SUPP_GROUP, !=, 0);
    options.posix_acl = FS_ALWAYS;
    g_assert_cmphex(fs_init_negotiate(&options, UINT64_MAX) & acl, ==, acl);
    g_assert_cmphex(fs_init_negotiate(&options, UINT64_MAX) & FUSE_SECURITY_CTX, ==, 0);
    /* Attributes cost the guest a question before each write, but for this. */
    g_assert_cmphex(fs_init_negotiate(&options, UINT64_MAX) & FUSE_HANDLE_KILLPRIV_V2, !=, 0);
    options.killpriv_v2 = 0; /* --no-killpriv-v2 */
    g_assert_cmphex(fs_init_negotiate(&options, UINT64_MAX) & FUSE_HANDLE_KILLPRIV_V2, ==, 0);
    options.security_label = FS_ALWAYS;
    g_assert_cmphex(fs_init_negotiate(&options, UINT64_MAX) & FUSE_SECURITY_CTX, !=, 0);
    fs_options_clear(&options);

    fs_options_init(&options);
    options.cache = FS_CACHE_NEVER;
    g_assert_cmphex(fs_init_negotiate(&options, UINT64_MAX) & FUSE_HANDLE_KILLPRIV_V2, !=, 0);
    options.cache = FS_CACHE_AUTO;
    options.killpriv_v2 = 1;
    g_assert_cmphex(fs_init_negotiate(&options, UINT64_MAX) & FUSE_HANDLE_KILLPRIV_V2, !=, 0);
}

/* A guest that would not obey what was asked for is turned away. */
static void test_required(void)
{
    struct fuse_init_in in = {.major = 7, .minor = 38, .flags = UINT32_MAX, .flags2 = UINT32_MAX};
    struct fuse_init_out out;
    struct fs_fixture fixture;

    fs_fixture_init(&fixture);
    fixture.options.posix_acl = fixture.options.security_label = FS_ALWAYS;
    fs_fixture_open(&fixture);
    vu_log_set_level(VU_LOG_OFF);
    g_assert_cmpint(test_send(&fixture, &in, sizeof(in), &out), ==, sizeof(out));
    in.flags = ~(uint32_t)FUSE_SETXATTR_EXT;
    g_assert_cmpint(test_send(&fixture, &in, sizeof(in), &out), ==, -EPROTO);
    g_assert_false(fs_share_is_initialised(&fixture.share));
    in.flags = UINT32_MAX;
    in.flags2 = ~(uint32_t)(FUSE_SECURITY_CTX >> 32);
    g_assert_cmpint(test_send(&fixture, &in, sizeof(in), &out), ==, -EPROTO);
    fixture.options.security_label = FS_NEVER;
    g_assert_cmpint(test_send(&fixture, &in, sizeof(in), &out), ==, sizeof(out));
    vu_log_set_level(VU_LOG_INFO);
    fs_fixture_finish(&fixture);
}

/* ... unless it is free to do without, then with none of it. */
static void test_optional(void)
{
    const uint32_t acl = FUSE_POSIX_ACL | FUSE_DONT_MASK;
    struct fuse_init_in in = {.major = 7, .minor = 38, .flags = UINT32_MAX, .flags2 = UINT32_MAX};
    struct fuse_init_out out;
    struct fs_fixture fixture;

    fs_fixture_init(&fixture);
    fixture.options.posix_acl = fixture.options.security_label = FS_AUTO;
    fs_fixture_open(&fixture);
    g_assert_cmpint(test_send(&fixture, &in, sizeof(in), &out), ==, sizeof(out));
    g_assert_cmphex(out.flags & acl, ==, acl);
    g_assert_cmphex(out.flags2 & (FUSE_SECURITY_CTX >> 32), !=, 0);
    in.flags = ~(uint32_t)FUSE_SETXATTR_EXT;
    g_assert_cmpint(test_send(&fixture, &in, sizeof(in), &out), ==, sizeof(out));
    g_assert_cmphex(out.flags & acl, ==, 0);
    g_assert_cmphex(out.flags2 & (FUSE_SECURITY_CTX >> 32), !=, 0);
    in.flags2 = ~(uint32_t)(FUSE_SECURITY_CTX >> 32);
    g_assert_cmpint(test_send(&fixture, &in, sizeof(in), &out), ==, sizeof(out));
    g_assert_cmphex(out.flags2 & (FUSE_SECURITY_CTX >> 32), ==, 0);
    fs_fixture_finish(&fixture);
}

static void test_versions(void)
{
    struct fuse_init_in in = {.major = 7, .minor = 31, .max_readahead = 4096};
    struct fuse_init_out out;
    struct fs_fixture fixture;

    fs_fixture_init(&fixture);
    fs_fixture_open(&fixture);
    vu_log_set_level(VU_LOG_OFF);

    g_assert_cmpint(test_send(&fixture, &in, 16, &out), ==, sizeof(out)); /* as before 7.36 */
    g_assert_cmpuint(out.major, ==, 7);
    g_assert_cmpuint(out.minor, >=, 31);
    g_assert_cmpuint(out.max_readahead, ==, 4096);
    g_assert_cmpuint(out.max_write, >=, 1 << 20);
    g_assert_cmpuint(out.max_pages * 4096u, >=, out.max_write);
    g_assert_true(fs_share_is_initialised(&fixture.share));

    in.minor = 99;
    g_assert_cmpint(test_send(&fixture, &in, sizeof(in), &out), ==, sizeof(out));
    g_assert_cmpint(test_send(&fixture, &in, 15, &out), ==, -EINVAL);

    in.minor = 30;
    g_assert_cmpint(test_send(&fixture, &in, 16, &out), ==, -EPROTO);
    g_assert_false(fs_share_is_initialised(&fixture.share));
    in = (struct fuse_init_in){.major = 6, .minor = 99};
    g_assert_cmpint(test_send(&fixture, &in, 16, &out), ==, -EPROTO);

    /* A later major version is told ours, and not taken for done. */
    in = (struct fuse_init_in){.major = 8};
    g_assert_cmpint(test_send(&fixture, &in, sizeof(in), &out), ==, sizeof(out));
    g_assert_cmpuint(out.major, ==, 7);
    g_assert_false(fs_share_is_initialised(&fixture.share));
    vu_log_set_level(VU_LOG_INFO);
    fs_fixture_finish(&fixture);
}

static void test_make_file(struct fs_fixture *fixture, const char *name)
{
    g_autofree char *path = g_build_filename(fixture->dir, name, NULL);
    int fd = open(path, O_CREAT | O_WRONLY, 0644);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
}

/* A guest that was reset sends INIT and nothing before it: all that it knew is gone. */
static void test_again(void)
{
    struct fuse_open_in open_in = {.flags = O_RDONLY};
    struct fuse_open_out open_out;
    struct fuse_entry_out entry;
    struct fuse_init_out out;
    struct fuse_attr_out attr;
    struct fuse_getattr_in getattr = {0};
    struct fs_fixture fixture;

    fs_fixture_init(&fixture);
    fs_fixture_open(&fixture);
    test_make_file(&fixture, "file");
    g_assert_cmpint(fs_fixture_lookup(&fixture, FUSE_ROOT_ID, "file", &entry), ==, -EIO);

    for (unsigned i = 0; i < 3; i++) {
        fs_fixture_send_init(&fixture, &out);
        g_assert_cmpuint(fs_inodes_count(fixture.share.inodes), ==, 1);
        g_assert_cmpuint(fs_handles_count(fixture.share.handles), ==, 0);
        g_assert_cmpint(fs_fixture_lookup(&fixture, FUSE_ROOT_ID, "file", &entry), ==, 0);
        g_assert_cmpint(fs_fixture_call(&fixture, FUSE_OPEN, entry.nodeid, &open_in,
                                        sizeof(open_in), NULL, 0, &open_out, sizeof(open_out)),
                        ==, sizeof(open_out));
        g_assert_cmpuint(fs_inodes_count(fixture.share.inodes), ==, 2);
        g_assert_cmpuint(fs_handles_count(fixture.share.handles), ==, 1);
    }
    fs_fixture_send_init(&fixture, &out);
    g_assert_cmpint(fs_fixture_call(&fixture, FUSE_GETATTR, entry.nodeid, &getattr, sizeof(getattr),
                                    NULL, 0, &attr, sizeof(attr)),
                    ==, -ESTALE);
    getattr = (struct fuse_getattr_in){.getattr_flags = FUSE_GETATTR_FH, .fh = open_out.fh};
    g_assert_cmpint(fs_fixture_call(&fixture, FUSE_GETATTR, entry.nodeid, &getattr, sizeof(getattr),
                                    NULL, 0, &attr, sizeof(attr)),
                    ==, -EBADF);
    g_assert_cmpint(fs_fixture_call(&fixture, FUSE_DESTROY, 0, NULL, 0, NULL, 0, NULL, 0), ==, 0);
    g_assert_cmpint(fs_fixture_lookup(&fixture, FUSE_ROOT_ID, "file", &entry), ==, -EIO);
    fs_fixture_send_init(&fixture, &out);
    g_assert_cmpint(fs_fixture_lookup(&fixture, FUSE_ROOT_ID, "file", &entry), ==, 0);
    fs_fixture_finish(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/init/flags", test_flags);
    g_test_add_func("/init/option-flags", test_option_flags);
    g_test_add_func("/init/required", test_required);
    g_test_add_func("/init/optional", test_optional);
    g_test_add_func("/init/versions", test_versions);
    g_test_add_func("/init/again", test_again);
    return g_test_run();
}
