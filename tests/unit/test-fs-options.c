/* SPDX-License-Identifier: Apache-2.0 */
/* fs-options.h: command lines of the two other daemons, and what must not be taken silently. */
#include "virtiofsd/fs-options.h"

#include <string.h>

#include "vhost-user/daemon/sandbox.h"
#include "vhost-user/daemon/seccomp.h"
#include "vhost-user/log.h"
#include "virtiofsd/cache-mode.h"

/* Parses a line of words; the error's text, or NULL. */
static char *test_parse(struct fs_options *options, const char *line)
{
    struct vu_option_table tables[FS_N_OPTION_TABLES];
    g_autofree char *whole = g_strconcat("virtiofsd ", line, NULL);
    g_auto(GStrv) words = g_strsplit(whole, " ", -1);
    GError *error = NULL;
    char *text = NULL;

    fs_options_init(options);
    fs_options_tables(options, tables);
    if (!vu_options_parse(tables, FS_N_OPTION_TABLES, (int)g_strv_length(words), words, NULL,
                          &error) ||
        !fs_options_check(options, &error)) {
        text = g_strdup(error->message);
        g_error_free(error);
    }
    return text;
}

static void test_accepts(const char *line, struct fs_options *ret_options)
{
    g_autofree char *text = test_parse(ret_options, line);

    g_assert_cmpstr(text, ==, NULL);
}

/* The message must name what is wrong. */
static void test_refuses(const char *line, const char *names)
{
    struct fs_options options;
    g_autofree char *text = test_parse(&options, line);

    if (!text)
        g_error("accepted: %s", line);
    if (!strstr(text, names))
        g_error("\"%s\" does not name %s", text, names);
    fs_options_clear(&options);
}

static void test_c_style(void)
{
    struct fs_options options;

    test_accepts("-o source=/srv,cache=always,no_posix_lock,no_flock,no_xattr,writeback", &options);
    g_assert_false(options.posix_lock || options.flock);
    g_assert_cmpstr(options.source, ==, "/srv");
    g_assert_cmpint(options.cache, ==, FS_CACHE_ALWAYS);
    g_assert_cmpfloat(fs_cache_timeouts_of(&options).entry, ==, 86400);
    g_assert_true(fs_cache_is_writeback(&options));
    g_assert_true(options.readdirplus);
    g_assert_true(options.announce_submounts);
    fs_options_clear(&options);

    test_accepts("--thread-pool-size=3 -o source=/srv -o cache=none,no_readdirplus "
                 "-o no_announce_submounts",
                 &options);
    g_assert_cmpint(options.cache, ==, FS_CACHE_NEVER);
    g_assert_cmpfloat(fs_cache_timeouts_of(&options).attr, ==, 0);
    g_assert_cmpfloat(fs_cache_timeouts_of(&options).negative, ==, 0);
    g_assert_cmpint(options.max_helpers, ==, 3);
    g_assert_false(options.readdirplus);
    g_assert_false(options.announce_submounts);
    fs_options_clear(&options);

    test_accepts("-o source=/srv,cache=auto,timeout=2.5,posix_lock --flock", &options);
    g_assert_true(options.posix_lock && options.flock);
    g_assert_cmpfloat(fs_cache_timeouts_of(&options).entry, ==, 2.5);
    g_assert_cmpfloat(fs_cache_timeouts_of(&options).negative, ==, 1);
    g_assert_false(fs_cache_is_writeback(&options));
    fs_options_clear(&options);
}

static void test_rust_style(void)
{
    struct fs_options options;

    test_accepts("--shared-dir=/srv --tag myfs --cache metadata --sandbox none --seccomp=none "
                 "--inode-file-handles=never --announce-submounts --rlimit-nofile 1000 "
                 "--allow-mmap --num-request-queues=4",
                 &options);
    g_assert_cmpstr(options.source, ==, "/srv");
    g_assert_cmpstr(options.tag, ==, "myfs");
    g_assert_cmpint(options.cache, ==, FS_CACHE_METADATA);
    g_assert_cmpint(options.rlimit_nofile, ==, 1000);
    g_assert_cmpint(options.inode_handles, ==, FS_INODE_HANDLES_NEVER);
    g_assert_cmpint(options.n_request_queues, ==, 4);
    g_assert_true(options.allow_mmap);
    fs_options_clear(&options);
}

static void test_inode_handles(void)
{
    struct fs_options options;

    test_accepts("--shared-dir=/srv", &options);
    g_assert_cmpint(options.inode_handles, ==, FS_INODE_HANDLES_AUTO);
    fs_options_clear(&options);
    test_accepts("-o source=/srv,inode_file_handles=prefer", &options);
    g_assert_cmpint(options.inode_handles, ==, FS_INODE_HANDLES_PREFER);
    fs_options_clear(&options);
    test_accepts("--shared-dir=/srv --inode-file-handles mandatory", &options);
    g_assert_cmpint(options.inode_handles, ==, FS_INODE_HANDLES_MANDATORY);
    g_assert_false(options.nfs_export);
    fs_options_clear(&options);
    test_accepts("--shared-dir=/srv --nfs-export", &options);
    g_assert_true(options.nfs_export);
    fs_options_clear(&options);
}

/* What is kept for how long, in both spellings; what is about one kind comes first. */
static void test_caching(void)
{
    struct fs_cache_timeouts timeouts;
    struct fs_options options;

    test_accepts("--shared-dir=/srv --cache=always --attr-timeout=0.5 --writeback "
                 "--allow-direct-io --negative-timeout 30",
                 &options);
    timeouts = fs_cache_timeouts_of(&options);
    g_assert_cmpfloat(timeouts.entry, ==, 86400);
    g_assert_cmpfloat(timeouts.attr, ==, 0.5);
    g_assert_cmpfloat(timeouts.negative, ==, 30);
    g_assert_true(fs_cache_is_writeback(&options) && options.allow_direct_io);
    fs_options_clear(&options);

    test_accepts("-o source=/srv,timeout=7,entry_timeout=0,negative-timeout=0,no_writeback,"
                 "no_allow_direct_io",
                 &options);
    timeouts = fs_cache_timeouts_of(&options);
    g_assert_cmpfloat(timeouts.entry, ==, 0);
    g_assert_cmpfloat(timeouts.attr, ==, 7);
    g_assert_cmpfloat(timeouts.negative, ==, 0);
    g_assert_false(fs_cache_is_writeback(&options) || options.allow_direct_io);
    g_assert_false(fs_cache_wants_readdirplus(&options)); /* for names that are not kept */
    fs_options_clear(&options);

    /* No data is kept that could be written back. */
    test_accepts("--shared-dir=/srv --cache=metadata --writeback", &options);
    g_assert_false(fs_cache_is_writeback(&options));
    g_assert_true(fs_cache_wants_readdirplus(&options));
    fs_options_clear(&options);
    test_refuses("-o source=/srv,entry_timeout=x", "entry_timeout");
    test_refuses("--shared-dir=/srv --negative-timeout=-1", "--negative-timeout");
}

static void test_wrong(void)
{
    test_refuses("--cache=auto", "--shared-dir");
    test_refuses("--shared-dir=/srv --cache=sometimes", "--cache");
    test_refuses("-o source=/srv,cache=sometimes", "cache");
    test_refuses("-o source=/srv,timeout=-1", "timeout");
    test_refuses("-o source=/srv,timeout=nan", "timeout");
    test_refuses("-o source=/srv,timeout=1x", "timeout");
    test_refuses("--shared-dir=/srv --tag=0123456789012345678901234567890123456", "--tag");
    test_refuses("--shared-dir=/srv --tag=\xff", "--tag");
    test_refuses("--shared-dir=/srv --num-request-queues=0", "--num-request-queues");
    test_refuses("--shared-dir=/srv --num-request-queues=65", "--num-request-queues");
    test_refuses("--shared-dir=/srv --inode-file-handles=perhaps", "--inode-file-handles");
    test_refuses("--shared-dir=/srv --inode-file-handles=never --nfs-export", "--nfs-export");
    test_refuses("--shared-dir=/srv extra", "extra");
}

static void test_identity(void)
{
    struct fs_options options;

    test_accepts(
        "--shared-dir=/srv --readonly --preserve-noatime --translate-uid map:0:100000:65536 "
        "--translate-gid=squash-guest:0:107:4294967295 --translate-uid=forbid-guest:70000:1",
        &options);
    g_assert_true(options.readonly && options.preserve_noatime);
    g_assert_cmpuint(options.translate_uid.to_host.n, ==, 2);
    g_assert_cmpuint(options.translate_uid.to_guest.n, ==, 1);
    g_assert_cmpuint(options.translate_gid.to_host.n, ==, 1);
    fs_options_clear(&options);
    test_refuses("--shared-dir=/srv --translate-uid=map:0:1", "--translate-uid");
    test_refuses("--shared-dir=/srv --translate-gid=map:0:1:1 --translate-gid=guest:0:2:1",
                 "--translate-gid");
}

static void test_isolation(void)
{
    struct fs_options options;

    test_accepts("--shared-dir=/srv", &options);
    g_assert_cmpint(options.sandbox, ==, VU_SANDBOX_NAMESPACE);
    g_assert_cmpint(options.seccomp, ==, VU_SECCOMP_KILL);
    fs_options_clear(&options);

    test_accepts("-o source=/srv,sandbox=chroot,modcaps=+sys_admin:-chown", &options);
    g_assert_cmpint(options.sandbox, ==, VU_SANDBOX_CHROOT);
    g_assert_cmphex(options.modcaps.add, ==, VU_CAPABILITY(CAP_SYS_ADMIN));
    g_assert_cmphex(options.modcaps.drop, ==, VU_CAPABILITY(CAP_CHOWN));
    fs_options_clear(&options);

    test_accepts("--shared-dir=/srv --seccomp log --uid-map=:0:100000:65536: --gid-map ,5,6,7, "
                 "--uid-map=:65536:1:1:",
                 &options);
    g_assert_cmpint(options.seccomp, ==, VU_SECCOMP_LOG);
    g_assert_cmpuint(options.uid_map.n_ranges, ==, 2);
    g_assert_cmpuint(options.gid_map.n_ranges, ==, 1);
    g_assert_cmpuint(options.gid_map.ranges[0].outside, ==, 6);
    fs_options_clear(&options);

    test_refuses("--shared-dir=/srv --sandbox=jail", "--sandbox");
    test_refuses("--shared-dir=/srv --seccomp=maybe", "--seccomp");
    test_refuses("--shared-dir=/srv --modcaps=sys_admin", "--modcaps");
    test_refuses("-o source=/srv,modcaps=+all_of_them", "modcaps");
    test_refuses("--shared-dir=/srv --uid-map=0:0:1", "--uid-map");
    test_refuses("--shared-dir=/srv --sandbox=none --uid-map=:0:0:1:", "--uid-map");
}

static void test_xattr(void)
{
    struct fs_options options;

    test_accepts("-o source=/srv", &options);
    g_assert_false(fs_options_xattr(&options));
    g_assert_true(fs_options_killpriv(&options));
    fs_options_clear(&options);
    test_accepts("-o source=/srv,no_xattr,xattr,no_killpriv_v2", &options);
    g_assert_true(fs_options_xattr(&options));
    g_assert_false(fs_options_killpriv(&options));
    fs_options_clear(&options);
    test_accepts("-o source=/srv,xattr,no_xattr,no_posix_acl,no_security_label,killpriv_v2",
                 &options);
    g_assert_false(fs_options_xattr(&options));
    g_assert_true(fs_options_killpriv(&options));
    fs_options_clear(&options);
    test_accepts("--shared-dir=/srv --xattr --killpriv-v2 --no-killpriv-v2", &options);
    g_assert_true(fs_options_xattr(&options));
    g_assert_false(fs_options_killpriv(&options));
    fs_options_clear(&options);
    test_accepts("--shared-dir=/srv --posix-acl", &options);
    g_assert_true(fs_options_xattr(&options));
    fs_options_clear(&options);
    test_accepts("-o source=/srv,security_label", &options);
    g_assert_true(fs_options_xattr(&options));
    fs_options_clear(&options);
    test_accepts("-o source=/srv,xattrmap=:map::user.: -o xattrmap=:ok:all:::", &options);
    g_assert_true(fs_options_xattr(&options));
    g_assert_nonnull(options.xattrmap);
    fs_options_clear(&options);
    test_accepts("--shared-dir=/srv --posix-acl "
                 "--xattrmap=:ok:all:system.posix_acl_:system.posix_acl_::map::user.virtiofs.:",
                 &options);
    fs_options_clear(&options);

    test_refuses("--shared-dir=/srv --xattrmap=:map::user.", "--xattrmap");
    test_refuses("-o source=/srv,xattrmap=:map::user.", "-o xattrmap");
    test_refuses("--shared-dir=/srv --posix-acl --xattrmap=:map::user.virtiofs.:", "--posix-acl");
    test_refuses("--shared-dir=/srv --posix-acl -o no_xattr", "--posix-acl");
    test_refuses("--shared-dir=/srv --security-label -o no_xattr", "--security-label");
    test_refuses("--shared-dir=/srv --xattrmap=:ok:all::: -o no_xattr", "--xattrmap");
    test_refuses("-o source=/srv,xattr=1", "xattr");
}

static void test_state(void)
{
    struct fs_options options;

    test_accepts("--shared-dir=/usr --state=/usrx --inode-file-handles=prefer", &options);
    g_assert_cmpstr(options.state, ==, "/usrx");
    fs_options_clear(&options);
    test_accepts("--shared-dir=/usr --state=/usr/state --readonly", &options);
    fs_options_clear(&options);
    test_refuses("--shared-dir=/usr --state=/usr/state", "--state");
    test_refuses("--shared-dir=/usr/lib --state=/usr/lib/../lib/./state", "--state");
    test_refuses("--shared-dir=/ --state=/state", "--state");
    test_refuses("--shared-dir=/proc/self/cwd --state=state", "--state");
    test_refuses("--shared-dir=/usr --state=/tmp/state --posix-lock", "--posix-lock");
    test_refuses("--shared-dir=/usr --state=/tmp/state --flock", "--flock");
    test_refuses("--shared-dir=/usr --state=/tmp/state --inode-file-handles=never",
                 "--inode-file-handles");
}

/* Every row can be shown to a person. */
static void test_rows(void)
{
    struct vu_option_table tables[FS_N_OPTION_TABLES];

    fs_options_tables(NULL, tables);
    for (size_t t = 0; t < FS_N_OPTION_TABLES; t++)
        for (size_t i = 0; i < tables[t].n_rows; i++) {
            const struct vu_option *row = &tables[t].rows[i];

            g_assert_true(row->in_o_list || row->is_long);
            g_assert_nonnull(row->group);
            if (row->help) /* else a spelling that is not told of */
                g_assert_cmpint(row->help[strlen(row->help) - 1], ==, '.');
        }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    g_test_add_func("/fs-options/c-style", test_c_style);
    g_test_add_func("/fs-options/rust-style", test_rust_style);
    g_test_add_func("/fs-options/caching", test_caching);
    g_test_add_func("/fs-options/inode-handles", test_inode_handles);
    g_test_add_func("/fs-options/wrong", test_wrong);
    g_test_add_func("/fs-options/identity", test_identity);
    g_test_add_func("/fs-options/isolation", test_isolation);
    g_test_add_func("/fs-options/xattr", test_xattr);
    g_test_add_func("/fs-options/state", test_state);
    g_test_add_func("/fs-options/rows", test_rows);
    return g_test_run();
}
