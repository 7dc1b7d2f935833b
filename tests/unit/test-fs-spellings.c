/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every spelling that the two other daemons of this name take, and what it does here: one row each.
 * The C daemon's are those of QEMU 7.2 (and -o norace, -o cache=none of before), the Rust daemon's
 * those of 1.0 to 1.14.
 */
#include <string.h>

#include "vhost-user/daemon/daemon.h"
#include "vhost-user/daemon/sandbox.h"
#include "vhost-user/daemon/seccomp.h"
#include "vhost-user/log.h"
#include "virtiofsd/fs-options.h"

/* Both targets of a command line. */
struct parsed {
    struct fs_options fs;
    struct vu_daemon_options daemon;
    char *ignored;
};

enum field_type { FIELD_BOOL, FIELD_INT, FIELD_DOUBLE, FIELD_STRING, FIELD_IGNORED };

struct spelling {
    const char *words; /* beside a source and a socket, as far as they do not set these */
    enum field_type type;
    size_t offset; /* of the field in struct parsed */
    double number;
    const char *string; /* of a string field; of FIELD_IGNORED: how the option is told of */
};

#define FS(member)           offsetof(struct parsed, fs.member)
#define DAEMON(member)       offsetof(struct parsed, daemon.member)
#define IS_BOOL(field, n)    .type = FIELD_BOOL, .offset = (field), .number = (n)
#define IS_INT(field, n)     .type = FIELD_INT, .offset = (field), .number = (n)
#define IS_DOUBLE(field, n)  .type = FIELD_DOUBLE, .offset = (field), .number = (n)
#define IS_STRING(field, s)  .type = FIELD_STRING, .offset = (field), .string = (s)
#define IS_IGNORED(spelling) .type = FIELD_IGNORED, .string = (spelling)

/* clang-format off */
static const struct spelling c_spellings[] = {
    {"-h", IS_BOOL(DAEMON(help), 1)},
    {"--help", IS_BOOL(DAEMON(help), 1)},
    {"-V", IS_BOOL(DAEMON(version), 1)},
    {"--version", IS_BOOL(DAEMON(version), 1)},
    {"--print-capabilities", IS_BOOL(DAEMON(print_capabilities), 1)},
    {"-d", IS_INT(DAEMON(log_level), VU_LOG_DEBUG)},
    {"--debug", IS_INT(DAEMON(log_level), VU_LOG_DEBUG)},
    {"-o debug", IS_INT(DAEMON(log_level), VU_LOG_DEBUG)},
    {"--syslog", IS_BOOL(DAEMON(syslog), 1)},
    {"-f", IS_BOOL(DAEMON(foreground), 1)},
    {"--daemonize", IS_BOOL(DAEMON(background), 1)},
    {"--socket-path=/run/s", IS_STRING(DAEMON(socket_path), "/run/s")},
    {"--socket-group=kvm", IS_STRING(DAEMON(socket_group), "kvm")},
    {"--fd=7", IS_INT(DAEMON(fd), 7)},
    {"-o vhost_user_socket=/run/s", IS_STRING(DAEMON(socket_path), "/run/s")},
    {"--thread-pool-size=5", IS_INT(FS(max_helpers), 5)},
    {"--rlimit-nofile=4096", IS_INT(FS(rlimit_nofile), 4096)},
    {"--rlimit-nofile=0", IS_INT(FS(rlimit_nofile), 0)},
    {"-o source=/x", IS_STRING(FS(source), "/x")},
    {"-o source=/a\\,b,xattr", IS_STRING(FS(source), "/a,b")},
    {"-o source=/a\\040b", IS_STRING(FS(source), "/a b")},
    {"-o cache=none", IS_INT(FS(cache), FS_CACHE_NEVER)},
    {"-o cache=never", IS_INT(FS(cache), FS_CACHE_NEVER)},
    {"-o cache=auto", IS_INT(FS(cache), FS_CACHE_AUTO)},
    {"-o cache=always", IS_INT(FS(cache), FS_CACHE_ALWAYS)},
    {"-o flock", IS_BOOL(FS(flock), 1)},
    {"-o flock,no_flock", IS_BOOL(FS(flock), 0)},
    {"-o posix_lock", IS_BOOL(FS(posix_lock), 1)},
    {"-o posix_lock,no_posix_lock", IS_BOOL(FS(posix_lock), 0)},
    {"-o log_level=debug", IS_INT(DAEMON(log_level), VU_LOG_DEBUG)},
    {"-o log_level=info", IS_INT(DAEMON(log_level), VU_LOG_INFO)},
    {"-o log_level=warn", IS_INT(DAEMON(log_level), VU_LOG_WARNING)},
    {"-o log_level=err", IS_INT(DAEMON(log_level), VU_LOG_ERROR)},
    {"-o max_idle_threads=10", IS_IGNORED("-o max_idle_threads")},
    {"-o readdirplus", IS_BOOL(FS(readdirplus), 1)},
    {"-o no_readdirplus", IS_BOOL(FS(readdirplus), 0)},
    {"-o sandbox=namespace", IS_INT(FS(sandbox), VU_SANDBOX_NAMESPACE)},
    {"-o sandbox=chroot", IS_INT(FS(sandbox), VU_SANDBOX_CHROOT)},
    {"-o timeout=3.5", IS_DOUBLE(FS(timeout), 3.5)},
    {"-o writeback", IS_BOOL(FS(writeback), 1)},
    {"-o writeback,no_writeback", IS_BOOL(FS(writeback), 0)},
    {"-o xattr", IS_INT(FS(xattr), 1)},
    {"-o no_xattr", IS_INT(FS(xattr), 0)},
    {"-o xattrmap=:map::user.virtiofs.:", IS_INT(FS(xattr), -1)},
    {"-o modcaps=+sys_admin:-chown", IS_INT(FS(modcaps.add), VU_CAPABILITY(CAP_SYS_ADMIN))},
    {"-o allow_direct_io", IS_BOOL(FS(allow_direct_io), 1)},
    {"-o allow_direct_io,no_allow_direct_io", IS_BOOL(FS(allow_direct_io), 0)},
    {"-o announce_submounts", IS_BOOL(FS(announce_submounts), 1)},
    {"-o posix_acl", IS_INT(FS(posix_acl), FS_ALWAYS)},
    {"-o posix_acl,no_posix_acl", IS_INT(FS(posix_acl), FS_NEVER)},
    {"-o security_label", IS_INT(FS(security_label), FS_ALWAYS)},
    {"-o security_label,no_security_label", IS_INT(FS(security_label), FS_NEVER)},
    {"-o killpriv_v2", IS_INT(FS(killpriv_v2), 1)},
    {"-o no_killpriv_v2", IS_INT(FS(killpriv_v2), 0)},
    {"-o allow_root", IS_IGNORED("-o allow_root")},
    {"-o norace", IS_IGNORED("-o norace")},
    {"-o allow_other", IS_IGNORED("-o allow_other")},
    {"-o default_permissions", IS_IGNORED("-o default_permissions")},
    {"-o fsname=x", IS_IGNORED("-o fsname")},
    {"-o subtype=x", IS_IGNORED("-o subtype")},
    {"-o max_read=131072", IS_IGNORED("-o max_read")},
    {"-o max_write=131072", IS_IGNORED("-o max_write")},
};

static const struct spelling rust_spellings[] = {
    {"--shared-dir=/x", IS_STRING(FS(source), "/x")},
    {"--shared-dir /a,b\\c", IS_STRING(FS(source), "/a,b\\c")},
    {"--tag myfs", IS_STRING(FS(tag), "myfs")},
    {"--socket=/run/s", IS_STRING(DAEMON(socket_path), "/run/s")},
    {"--socket-path /run/s", IS_STRING(DAEMON(socket_path), "/run/s")},
    {"--socket-group kvm", IS_STRING(DAEMON(socket_group), "kvm")},
    {"--fd 3", IS_INT(DAEMON(fd), 3)},
    {"--thread-pool-size 0", IS_INT(FS(max_helpers), 0)},
    {"--thread-pool-size=65536", IS_INT(FS(max_helpers), 65536)},
    {"--xattr", IS_INT(FS(xattr), 1)},
    {"--posix-acl", IS_INT(FS(posix_acl), FS_ALWAYS)},
    {"--posix-acl=never", IS_INT(FS(posix_acl), FS_NEVER)},
    {"--posix-acl=auto", IS_INT(FS(posix_acl), FS_AUTO)},
    {"--posix-acl=always", IS_INT(FS(posix_acl), FS_ALWAYS)},
    {"--xattrmap=:map::user.virtiofs.:", IS_INT(FS(xattr), -1)},
    {"--sandbox=namespace", IS_INT(FS(sandbox), VU_SANDBOX_NAMESPACE)},
    {"--sandbox chroot", IS_INT(FS(sandbox), VU_SANDBOX_CHROOT)},
    {"--sandbox=None", IS_INT(FS(sandbox), VU_SANDBOX_NONE)},
    {"--readonly", IS_BOOL(FS(readonly), 1)},
    {"--seccomp=kill", IS_INT(FS(seccomp), VU_SECCOMP_KILL)},
    {"--seccomp=log", IS_INT(FS(seccomp), VU_SECCOMP_LOG)},
    {"--seccomp=trap", IS_INT(FS(seccomp), VU_SECCOMP_TRAP)},
    {"--seccomp none", IS_INT(FS(seccomp), VU_SECCOMP_NONE)},
    {"--announce-submounts", IS_BOOL(FS(announce_submounts), 1)},
    {"--no-announce-submounts", IS_BOOL(FS(announce_submounts), 0)},
    {"--inode-file-handles=never", IS_INT(FS(inode_handles), FS_INODE_HANDLES_NEVER)},
    {"--inode-file-handles prefer", IS_INT(FS(inode_handles), FS_INODE_HANDLES_PREFER)},
    {"--inode-file-handles=fallback", IS_INT(FS(inode_handles), FS_INODE_HANDLES_PREFER)},
    {"--inode-file-handles=mandatory", IS_INT(FS(inode_handles), FS_INODE_HANDLES_MANDATORY)},
    {"--cache=auto", IS_INT(FS(cache), FS_CACHE_AUTO)},
    {"--cache Always", IS_INT(FS(cache), FS_CACHE_ALWAYS)},
    {"--cache never", IS_INT(FS(cache), FS_CACHE_NEVER)},
    {"--cache=metadata", IS_INT(FS(cache), FS_CACHE_METADATA)},
    {"--allow-mmap", IS_BOOL(FS(allow_mmap), 1)},
    {"--no-readdirplus", IS_BOOL(FS(readdirplus), 0)},
    {"--writeback", IS_BOOL(FS(writeback), 1)},
    {"--allow-direct-io", IS_BOOL(FS(allow_direct_io), 1)},
    {"--print-capabilities", IS_BOOL(DAEMON(print_capabilities), 1)},
    {"--modcaps=+SYS_ADMIN:-chown", IS_INT(FS(modcaps.drop), VU_CAPABILITY(CAP_CHOWN))},
    {"--log-level=off", IS_INT(DAEMON(log_level), VU_LOG_OFF)},
    {"--log-level=error", IS_INT(DAEMON(log_level), VU_LOG_ERROR)},
    {"--log-level=WARN", IS_INT(DAEMON(log_level), VU_LOG_WARNING)},
    {"--log-level info", IS_INT(DAEMON(log_level), VU_LOG_INFO)},
    {"--log-level debug", IS_INT(DAEMON(log_level), VU_LOG_DEBUG)},
    {"--log-level=trace", IS_INT(DAEMON(log_level), VU_LOG_DEBUG)},
    {"--syslog", IS_BOOL(DAEMON(syslog), 1)},
    {"--rlimit-nofile 1000000", IS_INT(FS(rlimit_nofile), 1000000)},
    {"-o cache=metadata", IS_INT(FS(cache), FS_CACHE_METADATA)},
    {"-o loglevel=warn", IS_INT(DAEMON(log_level), VU_LOG_WARNING)},
    {"-o loglevel=err", IS_INT(DAEMON(log_level), VU_LOG_ERROR)},
    {"-d", IS_INT(DAEMON(log_level), VU_LOG_DEBUG)},
    {"-f", IS_BOOL(DAEMON(foreground), 1)},
    {"--killpriv-v2", IS_INT(FS(killpriv_v2), 1)},
    {"--no-killpriv-v2", IS_INT(FS(killpriv_v2), 0)},
    {"--security-label", IS_INT(FS(security_label), FS_ALWAYS)},
    {"--security-label=always", IS_INT(FS(security_label), FS_ALWAYS)},
    {"--security-label=never", IS_INT(FS(security_label), FS_NEVER)},
    {"--uid-map=:0:100000:65536: --uid-map=:65536:1000:1:", IS_INT(FS(uid_map.n_ranges), 2)},
    {"--gid-map :0:100000:65536:", IS_INT(FS(gid_map.n_ranges), 1)},
    {"--translate-uid=guest:0:1000:1", IS_INT(FS(translate_uid.to_host.n), 1)},
    {"--translate-uid=host:0:1000:1", IS_INT(FS(translate_uid.to_guest.n), 1)},
    {"--translate-uid=map:0:1000:1", IS_INT(FS(translate_uid.to_guest.n), 1)},
    {"--translate-uid=squash-guest:0:1000:5", IS_INT(FS(translate_uid.to_host.n), 1)},
    {"--translate-uid=squash-host:0:1000:5", IS_INT(FS(translate_uid.to_guest.n), 1)},
    {"--translate-uid=forbid-guest:0:5", IS_INT(FS(translate_uid.to_host.n), 1)},
    {"--translate-gid map:0:1000:1", IS_INT(FS(translate_gid.to_host.n), 1)},
    {"--preserve-noatime", IS_BOOL(FS(preserve_noatime), 1)},
    {"--migration-mode=find-paths", IS_IGNORED("--migration-mode")},
    {"--migration-mode file-handles", IS_IGNORED("--migration-mode")},
    {"--migration-on-error=abort", IS_IGNORED("--migration-on-error")},
    {"--migration-on-error guest-error", IS_IGNORED("--migration-on-error")},
    {"--migration-verify-handles", IS_IGNORED("--migration-verify-handles")},
    {"--migration-confirm-paths", IS_IGNORED("--migration-confirm-paths")},
    {"--help", IS_BOOL(DAEMON(help), 1)},
    {"--version", IS_BOOL(DAEMON(version), 1)},
};
/* clang-format on */

static void parsed_clear(struct parsed *parsed)
{
    fs_options_clear(&parsed->fs);
    vu_daemon_options_clear(&parsed->daemon);
    g_free(parsed->ignored);
}

/* What the words make of the defaults. */
static void parsed_init(struct parsed *parsed, const char *words)
{
    g_autofree char *line = g_strconcat("virtiofsd ", words, NULL);
    g_auto(GStrv) argv = g_strsplit(line, " ", -1);
    struct vu_option_table tables[FS_N_OPTION_TABLES + 1];
    g_autoptr(GError) error = NULL;

    parsed->ignored = NULL;
    fs_options_init(&parsed->fs);
    vu_daemon_options_init(&parsed->daemon);
    fs_options_tables(&parsed->fs, tables);
    tables[FS_N_OPTION_TABLES] =
        (struct vu_option_table){vu_daemon_option_rows, vu_daemon_n_option_rows, &parsed->daemon};
    if (!vu_options_parse_all(tables, FS_N_OPTION_TABLES + 1, (int)g_strv_length(argv), argv, NULL,
                              &parsed->ignored, &error))
        g_error("%s: %s", words, error->message);
}

static void test_spelling(const struct spelling *spelling)
{
    struct parsed parsed;
    const char *field = (const char *)&parsed + spelling->offset;

    parsed_init(&parsed, spelling->words);
    g_test_message("%s", spelling->words);
    if (spelling->type != FIELD_IGNORED)
        g_assert_cmpstr(parsed.ignored, ==, NULL);
    switch (spelling->type) {
    case FIELD_BOOL:
        g_assert_cmpint(*(const bool *)field, ==, (int)spelling->number);
        break;
    case FIELD_INT:
        g_assert_cmpint(*(const int *)field, ==, (int)spelling->number);
        break;
    case FIELD_DOUBLE:
        g_assert_cmpfloat(*(const double *)field, ==, spelling->number);
        break;
    case FIELD_STRING:
        g_assert_cmpstr(*(char *const *)field, ==, spelling->string);
        break;
    case FIELD_IGNORED:
        g_assert_cmpstr(parsed.ignored, ==, spelling->string);
        break;
    }
    parsed_clear(&parsed);
}

static void test_c(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(c_spellings); i++)
        test_spelling(&c_spellings[i]);
}

static void test_rust(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rust_spellings); i++)
        test_spelling(&rust_spellings[i]);
}

/* A map of attributes has no field to compare. */
static void test_xattrmap(void)
{
    struct parsed parsed;

    parsed_init(&parsed, "-o xattrmap=:map::user.virtiofs.:");
    g_assert_nonnull(parsed.fs.xattrmap);
    g_assert_true(fs_options_xattr(&parsed.fs));
    parsed_clear(&parsed);
}

/* What comes last counts, whichever form it has. */
static void test_last_counts(void)
{
    static const struct spelling spellings[] = {
        {"--cache=never -o cache=always", IS_INT(FS(cache), FS_CACHE_ALWAYS)},
        {"-o cache=always --cache never", IS_INT(FS(cache), FS_CACHE_NEVER)},
        {"--shared-dir=/a -o source=/b", IS_STRING(FS(source), "/b")},
        {"--no-announce-submounts -o announce_submounts", IS_BOOL(FS(announce_submounts), 1)},
        {"--announce-submounts --no-announce-submounts", IS_BOOL(FS(announce_submounts), 0)},
        {"--xattr -o no_xattr", IS_INT(FS(xattr), 0)},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(spellings); i++)
        test_spelling(&spellings[i]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fs-spellings/c", test_c);
    g_test_add_func("/fs-spellings/rust", test_rust);
    g_test_add_func("/fs-spellings/xattrmap", test_xattrmap);
    g_test_add_func("/fs-spellings/last-counts", test_last_counts);
    return g_test_run();
}
